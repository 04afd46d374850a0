package attest

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

// maxPeople is how many people one source attestation may name; verifiers read
// no more.
const maxPeople = 1000

// Source is the predicate of a source attestation, signals.SourceReviewType. It
// reads as signals.SourceReview does.
type Source struct {
	Repository string                `json:"repository"`
	Commit     string                `json:"commit"`
	Base       string                `json:"base,omitempty"`
	Commits    int                   `json:"commits"`
	Authors    []signals.Contributor `json:"authors"`
	Committers []signals.Contributor `json:"committers"`
	Merger     *signals.Contributor  `json:"merger,omitempty"`
	Reviewers  []signals.Contributor `json:"reviewers,omitempty"`
}

// SourceInput says which commits ship.
type SourceInput struct {
	Dir string // in the repository
	// Commit is the revision that is built; "" is HEAD.
	Commit string
	// Base is the revision that ran before; "" is the commit's first parent, which
	// makes it one commit, or all that a merge brought in.
	Base string
	// Repository is the URL as provenance names it; "" is that of remote origin.
	Repository string
	// Host is what the code host says of the change.
	Host HostFacts
}

// NewSource reads the commits after the base up to the commit and names
// everybody who had a hand in them.
func NewSource(in SourceInput) (Source, error) {
	repo, err := open(in.Dir)
	if err != nil {
		return Source{}, err
	}
	tip, err := resolve(repo, cmp.Or(in.Commit, "HEAD"))
	if err != nil {
		return Source{}, err
	}
	base, err := baseOf(repo, tip, in.Base)
	if err != nil {
		return Source{}, err
	}
	commits, err := since(repo, base, tip)
	if err != nil {
		return Source{}, err
	}
	if len(commits) == 0 {
		return Source{}, fmt.Errorf("no commit ships: %s has all that %s has; leave --base out for a release of an older commit", base.Hash, tip.Hash)
	}
	if in.Repository == "" {
		if in.Repository, err = originURL(repo); err != nil {
			return Source{}, err
		}
	}
	names, err := readMailmap(tip)
	if err != nil {
		return Source{}, err
	}
	found, err := peopleOf(commits, names)
	if err != nil {
		return Source{}, err
	}
	host := in.Host.of(tip.Hash.String())
	s := Source{
		Repository: in.Repository, Commit: tip.Hash.String(), Commits: len(commits),
		Authors: found.authors, Committers: catalog.MergeContributors(found.committers, host.Pushers),
		Merger: host.Merger, Reviewers: catalog.MergeContributors(host.Reviewers),
	}
	if base != nil {
		s.Base = base.Hash.String()
	}
	if n := len(s.Authors) + len(s.Committers) + len(s.Reviewers) + 1; n > maxPeople {
		return Source{}, fmt.Errorf("%d commits by %d people ship; at most %d people can be attested at once. Name a base that is closer", s.Commits, n, maxPeople)
	}
	return s, nil
}

func baseOf(repo *git.Repository, tip *object.Commit, revision string) (*object.Commit, error) {
	if revision == "" {
		return parent(tip)
	}
	return resolve(repo, revision)
}

// scpURL is Git's short form of an SSH address.
var scpURL = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+):([^/].*)$`)

// originURL is the repository's address without user, password and ".git", as
// https. What is in there besides must not get into an attestation.
func originURL(repo *git.Repository) (string, error) {
	remote, err := repo.Remote("origin")
	if err != nil {
		return "", fmt.Errorf("remote origin: %w; name the repository with --repository", err)
	}
	text := remote.Config().URLs[0]
	if parts := scpURL.FindStringSubmatch(text); parts != nil && !strings.Contains(text, "://") {
		text = "https://" + parts[1] + "/" + parts[2]
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "", errors.New("remote origin has no address that others could know; name the repository with --repository")
	}
	if u.Scheme == "ssh" || u.Scheme == "git" {
		u.Scheme, u.Host = "https", u.Hostname()
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), ".git"), nil
}
