package sigstore

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/signals"
)

// maxContributors bounds the people of one source attestation: they go into the
// release's history. A change by more hands can't be held against an approver.
const maxContributors = 1000

// judgeSource joins the source attestations that are about the repository and
// the commit, so that one about fewer commits can't hide whom another one names.
// If none is, the refusals say why; the first that could be read is returned
// beside them, for the record. An empty commit leaves that unchecked.
func judgeSource(papers []accepted, repository, commit string) (*signals.SourceReview, []string) {
	var joined, first *signals.SourceReview
	var refusals []string
	for _, paper := range papers {
		review, faults := readSource(paper, repository, commit)
		if first == nil {
			first = review
		}
		switch {
		case len(faults) > 0:
			refusals = append(refusals, faults...)
		case joined == nil:
			joined = review
		default:
			join(joined, *review)
		}
	}
	if joined != nil {
		return joined, nil
	}
	return first, refusals
}

func readSource(paper accepted, repository, commit string) (*signals.SourceReview, []string) {
	var r signals.SourceReview
	if err := json.Unmarshal(paper.body, &r); err != nil {
		return nil, []string{fmt.Sprintf("source: not a source attestation: %v", err)}
	}
	r.SignedFact = paper.fact
	people := slices.Concat(r.Authors, r.Committers, r.Reviewers)
	if r.Merger != nil {
		people = append(people, *r.Merger)
	}
	if len(people) > maxContributors {
		return nil, []string{fmt.Sprintf("source: names %d people; at most %d are read. Attest fewer commits, with a base that is closer", len(people), maxContributors)}
	}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "source: "+fmt.Sprintf(format, args...)) }
	if found := repositoryURL(r.Repository); found != repositoryURL(repository) {
		fault("expected repository %s, found %s", repositoryURL(repository), orNone(found))
	}
	if commit != "" && r.Commit != commit {
		fault("expected commit %s, found %s", commit, orNone(r.Commit))
	}
	if len(r.Authors) == 0 {
		fault("expected the authors of the change, found none; nobody could be kept from approving their own")
	}
	for _, person := range people {
		if person.Email == "" && person.Login == "" {
			fault("expected everybody by e-mail address or login, found %q with neither", person.Name)
			break
		}
	}
	return &r, faults
}

// join adds the people of another attestation about the same commit. What can
// be said once only is that of the attestation about more commits.
func join(into *signals.SourceReview, other signals.SourceReview) {
	if other.Commits > into.Commits {
		into.SignedFact, into.Base, into.Commits = other.SignedFact, other.Base, other.Commits
	}
	into.Authors = union(into.Authors, other.Authors)
	into.Committers = union(into.Committers, other.Committers)
	into.Reviewers = union(into.Reviewers, other.Reviewers)
	switch {
	case into.Merger == nil:
		into.Merger = other.Merger
	case other.Merger != nil && *other.Merger != *into.Merger:
		into.Committers = union(into.Committers, []signals.Contributor{*other.Merger})
	}
}

func union(a, b []signals.Contributor) []signals.Contributor {
	all := slices.Clone(a)
	for _, person := range b {
		if !slices.Contains(all, person) {
			all = append(all, person)
		}
	}
	return all
}
