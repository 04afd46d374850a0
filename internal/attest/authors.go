package attest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

// AuthorsInput says whose changes to a folder count.
type AuthorsInput struct {
	Dir string
	// Base is the revision whose authors count no more; "" to go by Within.
	Base string
	// Within is how far back from the newest commit changes count.
	Within time.Duration
}

// NewAuthors names who changed each file of the folder, as it is in HEAD: in
// every commit since the base, and in any case in the last that changed it. A
// file that differs from HEAD is an error, since nobody stands for it yet.
func NewAuthors(in AuthorsInput) (catalog.Authors, error) {
	none := catalog.Authors{}
	repo, err := open(in.Dir)
	if err != nil {
		return none, err
	}
	head, err := resolve(repo, "HEAD")
	if err != nil {
		return none, err
	}
	files, err := folderOf(repo, head, in.Dir)
	if err != nil {
		return none, err
	}
	base, err := files.baseOf(in)
	if err != nil {
		return none, err
	}
	names, err := readMailmap(head)
	if err != nil {
		return none, err
	}
	changes, err := files.changedSince(base)
	if err != nil {
		return none, err
	}
	authors := catalog.Authors{Files: map[string][]signals.Contributor{}}
	for name := range files.blobs {
		if len(changes[name]) == 0 {
			last, err := files.lastChange(base, name)
			if err != nil {
				return none, err
			}
			changes[name] = []*object.Commit{last}
		}
		found, err := peopleOf(changes[name], names)
		if err != nil {
			return none, err
		}
		authors.Files[name] = catalog.MergeContributors(found.authors, found.committers)
	}
	return authors, nil
}

// WriteAuthors writes the authors file into the folder and returns its path.
func WriteAuthors(dir string, a catalog.Authors) (string, error) {
	content, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return "", fmt.Errorf("authors: %w", err)
	}
	path := filepath.Join(dir, catalog.AuthorsFile)
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil { //nolint:gosec // holds what Git holds, for a daemon of another user to read
		return "", fmt.Errorf("authors: %w", err)
	}
	return path, nil
}

// folder is a folder as a commit has it: its files' paths in it and contents.
type folder struct {
	repo  *git.Repository
	head  *object.Commit
	path  string // in the repository, "" for its root
	blobs map[string]plumbing.Hash
}

func folderOf(repo *git.Repository, head *object.Commit, dir string) (folder, error) {
	f := folder{repo: repo, head: head}
	worktree, err := repo.Worktree()
	if err != nil {
		return f, fmt.Errorf("%s: %w", dir, err)
	}
	if f.path, err = within(worktree.Filesystem.Root(), dir); err != nil {
		return f, err
	}
	tree, err := f.tree(head)
	if err != nil {
		return f, err
	}
	if f.blobs, err = files(tree); err != nil {
		return f, err
	}
	if len(f.blobs) == 0 {
		return f, fmt.Errorf("%s: HEAD has no file in it; commit it first", dir)
	}
	for name, committed := range f.blobs {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return f, err
		}
		if plumbing.ComputeHash(plumbing.BlobObject, content) != committed {
			return f, fmt.Errorf("%s: %s has changes that are not committed; commit them, so that it is known whose they are", dir, name)
		}
	}
	return f, nil
}

// within is dir relative to root, with slashes and "" for root itself.
func within(root, dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	path, err := filepath.Rel(root, absolute)
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if path == "." {
		return "", nil
	}
	return filepath.ToSlash(path), nil
}

// tree is the folder in a commit, nil if the commit doesn't have it.
func (f folder) tree(commit *object.Commit) (*object.Tree, error) {
	tree, err := commit.Tree()
	if err == nil && f.path != "" {
		tree, err = tree.Tree(f.path)
	}
	if errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	return tree, nil
}

// files lists a tree's files by path, the authors file aside.
func files(tree *object.Tree) (map[string]plumbing.Hash, error) {
	blobs := map[string]plumbing.Hash{}
	if tree == nil {
		return blobs, nil
	}
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for {
		name, entry, err := walker.Next()
		if errors.Is(err, io.EOF) {
			return blobs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("tree %s: %w", tree.Hash, err)
		}
		if entry.Mode.IsFile() && name != catalog.AuthorsFile {
			blobs[name] = entry.Hash
		}
	}
}

// changed lists the folder's files in which a commit differs from each of its
// parents, so that a merge counts for what it made of them itself.
func (f folder) changed(commit *object.Commit) ([]string, error) {
	tree, err := f.tree(commit)
	if err != nil {
		return nil, err
	}
	var parents []*object.Tree
	same := false
	err = commit.Parents().ForEach(func(p *object.Commit) error {
		before, err := f.tree(p)
		parents = append(parents, before)
		same = same || (tree == nil && before == nil) || (tree != nil && before != nil && tree.Hash == before.Hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("parents of commit %s: %w", commit.Hash, err)
	}
	if same {
		return nil, nil
	}
	return f.differing(tree, parents)
}

// differing lists the folder's files that are in tree otherwise than in each of
// the trees before.
func (f folder) differing(tree *object.Tree, before []*object.Tree) ([]string, error) {
	now, err := files(tree)
	if err != nil {
		return nil, err
	}
	differs := map[string]bool{}
	for name := range f.blobs {
		_, there := now[name]
		differs[name] = there || len(before) > 0
	}
	for _, other := range before {
		was, err := files(other)
		if err != nil {
			return nil, err
		}
		for name := range f.blobs {
			differs[name] = differs[name] && now[name] != was[name]
		}
	}
	var names []string
	for name, yes := range differs {
		if yes {
			names = append(names, name)
		}
	}
	return names, nil
}

// baseOf is the commit up to which changes don't count: the one that is named,
// or else the newest on the branch itself behind which nothing is younger than
// the time that is asked for. A date that somebody puts back on a commit of
// their own therefore hides nothing. It is nil if all of the history counts.
func (f folder) baseOf(in AuthorsInput) (*object.Commit, error) {
	if in.Base != "" {
		return resolve(f.repo, in.Base)
	}
	limit := f.head.Committer.When.Add(-in.Within)
	var base *object.Commit
	for at := f.head; at != nil; {
		if !at.Committer.When.Before(limit) {
			base = nil
		} else if base == nil {
			base = at
		}
		next, err := parent(at)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return base, nil
}

// changedSince lists by file the commits after base that changed it.
func (f folder) changedSince(base *object.Commit) (map[string][]*object.Commit, error) {
	commits, err := since(f.repo, base, f.head)
	if err != nil {
		return nil, err
	}
	changes := map[string][]*object.Commit{}
	for _, commit := range commits {
		names, err := f.changed(commit)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			changes[name] = append(changes[name], commit)
		}
	}
	return changes, nil
}

// errFound ends a walk.
var errFound = errors.New("found")

// lastChange is the newest commit that changed the file, up to base.
func (f folder) lastChange(base *object.Commit, name string) (*object.Commit, error) {
	var last *object.Commit
	from := cmp.Or(base, f.head)
	err := object.NewCommitIterCTime(from, nil, nil).ForEach(func(commit *object.Commit) error {
		names, err := f.changed(commit)
		if err != nil {
			return err
		}
		if slices.Contains(names, name) {
			last = commit
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	if last == nil {
		return nil, fmt.Errorf("%s: no commit is found that wrote it; is the whole history here (fetch-depth: 0)?", name)
	}
	return last, nil
}
