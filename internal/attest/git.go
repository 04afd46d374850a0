package attest

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// find opens the repository that path lies in.
func find(path string) (*git.Repository, error) {
	repo, err := git.PlainOpenWithOptions(path, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("git repository %s: %w", path, err)
	}
	return repo, nil
}

// open finds the repository that path lies in. A shallow clone is refused: whom
// it leaves out would be missing without a trace.
func open(path string) (*git.Repository, error) {
	repo, err := find(path)
	if err != nil {
		return nil, err
	}
	shallow, err := repo.Storer.Shallow()
	if err != nil {
		return nil, fmt.Errorf("git repository %s: %w", path, err)
	}
	if len(shallow) > 0 {
		return nil, fmt.Errorf("git repository %s is a shallow clone, which lacks commits whose authors must be named; "+
			"set fetch-depth: 0 for actions/checkout, or run git fetch --unshallow", path)
	}
	return repo, nil
}

// Revision finds the full id of the commit that a revision names ("" for HEAD)
// in the repository that dir lies in, and the URL of that repository's origin
// unless repository names another. A shallow clone will do.
func Revision(dir, revision, repository string) (commit, url string, err error) {
	repo, err := find(dir)
	if err != nil {
		return "", "", err
	}
	at, err := resolve(repo, cmp.Or(revision, "HEAD"))
	if err != nil {
		return "", "", err
	}
	if repository == "" {
		repository, err = originURL(repo)
	}
	return at.Hash.String(), repository, err
}

// resolve finds the commit that a revision names.
func resolve(repo *git.Repository, revision string) (*object.Commit, error) {
	hash, err := repo.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return nil, fmt.Errorf("revision %q: %w; is it fetched?", revision, err)
	}
	commit, err := repo.CommitObject(*hash)
	if err != nil {
		return nil, fmt.Errorf("revision %q: %w", revision, err)
	}
	return commit, nil
}

// since lists the commits that tip has and base has not, as git log base..tip
// does. Without a base it is the whole history of tip.
func since(repo *git.Repository, base, tip *object.Commit) ([]*object.Commit, error) {
	known := map[plumbing.Hash]bool{}
	if base != nil {
		if _, err := walk(repo, base, known); err != nil {
			return nil, err
		}
	}
	return walk(repo, tip, known)
}

// walk lists the commits that from reaches without passing one that is seen, and
// marks them as seen.
func walk(repo *git.Repository, from *object.Commit, seen map[plumbing.Hash]bool) ([]*object.Commit, error) {
	var found []*object.Commit
	for todo := []plumbing.Hash{from.Hash}; len(todo) > 0; {
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[hash] {
			continue
		}
		seen[hash] = true
		commit, err := repo.CommitObject(hash)
		if err != nil {
			return nil, fmt.Errorf("commit %s: %w; fetch the whole history (fetch-depth: 0)", hash, err)
		}
		found = append(found, commit)
		todo = append(todo, commit.ParentHashes...)
	}
	return found, nil
}

// parent is the first parent, nil for a root commit.
func parent(commit *object.Commit) (*object.Commit, error) {
	first, err := commit.Parent(0)
	if errors.Is(err, object.ErrParentNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("parent of commit %s: %w", commit.Hash, err)
	}
	return first, nil
}
