package sigstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func email(address string) signals.Contributor { return signals.Contributor{Email: address} }

// review is an accepted source attestation about one commit.
func review(change func(*signals.SourceReview)) accepted {
	r := signals.SourceReview{
		Repository: wanted, Commit: "c1", Commits: 1,
		Authors: []signals.Contributor{email("developer@a.example")}, Committers: []signals.Contributor{email("developer@a.example")},
	}
	// What a signer says of its own signature counts for nothing.
	r.KeyID = "forged"
	change(&r)
	body, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return accepted{body: body, fact: signals.SignedFact{KeyID: "source", Form: "bundle", Digest: strconv.Itoa(r.Commits)}}
}

func same(*signals.SourceReview) {}

func TestSourceMustBeOfTheRepositoryAndTheCommit(t *testing.T) {
	for name, c := range map[string]struct {
		paper accepted
		says  []string
	}{
		"all well":       {review(same), nil},
		"git+ and .git":  {review(func(r *signals.SourceReview) { r.Repository = "git+" + wanted + ".git" }), nil},
		"another commit": {review(func(r *signals.SourceReview) { r.Commit = "c2" }), []string{"source: expected commit c1, found c2"}},
		"no commit":      {review(func(r *signals.SourceReview) { r.Commit = "" }), []string{"source: expected commit c1, found none"}},
		"a fork": {review(func(r *signals.SourceReview) { r.Repository = wanted + "-fork" }),
			[]string{"source: expected repository " + wanted + ", found " + wanted + "-fork"}},
		"no author": {review(func(r *signals.SourceReview) { r.Authors = nil }),
			[]string{"source: expected the authors of the change, found none; nobody could be kept from approving their own"}},
		"a name alone": {review(func(r *signals.SourceReview) { r.Merger = &signals.Contributor{Name: "Merge queue"} }),
			[]string{`source: expected everybody by e-mail address or login, found "Merge queue" with neither`}},
		"a crowd": {review(func(r *signals.SourceReview) {
			r.Reviewers = slices.Repeat([]signals.Contributor{email("a@a.example")}, 1000)
		}), []string{"source: names 1002 people; at most 1000 are read. Attest fewer commits, with a base that is closer"}},
		"no predicate": {accepted{body: []byte(`7`)}, []string{"source: not a source attestation: json: cannot unmarshal number into Go value of type signals.SourceReview"}},
	} {
		t.Run(name, func(t *testing.T) {
			fact, refusals := judgeSource([]accepted{c.paper}, wanted, "c1")
			require.Equal(t, c.says, refusals)
			if len(c.says) == 0 {
				require.Equal(t, "source", fact.KeyID)
			}
		})
	}
	_, refusals := judgeSource([]accepted{review(same)}, wanted, "")
	require.Empty(t, refusals, "no commit is asked of a rollback's target")
}

// An attestation about fewer commits must not hide whom another one names.
func TestSourcesAreJoined(t *testing.T) {
	narrow := review(func(r *signals.SourceReview) { r.Merger = &signals.Contributor{Login: "merger-1"} })
	wide := review(func(r *signals.SourceReview) {
		r.Commits, r.Base = 3, "c0"
		r.Authors = []signals.Contributor{email("second@a.example"), email("developer@a.example")}
		r.Merger = &signals.Contributor{Login: "merger-2"}
		r.Reviewers = []signals.Contributor{{Login: "reviewer"}}
	})
	stray := review(func(r *signals.SourceReview) { r.Commit = "c9" })
	for _, order := range [][]accepted{{narrow, wide, stray}, {stray, wide, narrow}} {
		fact, refusals := judgeSource(order, wanted, "c1")
		require.Empty(t, refusals)
		require.Equal(t, "c0", fact.Base)
		require.Equal(t, 3, fact.Commits)
		require.Equal(t, "3", fact.Digest, "what is named is the attestation about more commits")
		require.ElementsMatch(t, []signals.Contributor{email("developer@a.example"), email("second@a.example")}, fact.Authors)
		require.Equal(t, []signals.Contributor{{Login: "reviewer"}}, fact.Reviewers)
		people := append(slices.Clone(fact.Committers), *fact.Merger)
		require.Contains(t, people, signals.Contributor{Login: "merger-1"})
		require.Contains(t, people, signals.Contributor{Login: "merger-2"})
	}
	fact, refusals := judgeSource([]accepted{stray}, wanted, "c1")
	require.Len(t, refusals, 1)
	require.Equal(t, "c9", fact.Commit, "what was found is kept for the record")
}

// Whatever papers lie beside it, whom a good attestation names stays named.
func TestNobodyIsLostByJoining(t *testing.T) {
	person := rapid.Custom(func(t *rapid.T) signals.Contributor { return email(rapid.StringMatching(`[a-c]@a`).Draw(t, "email")) })
	rapid.Check(t, func(t *rapid.T) {
		var papers []accepted
		named := map[signals.Contributor]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "papers") {
			papers = append(papers, review(func(r *signals.SourceReview) {
				r.Commits = rapid.IntRange(1, 3).Draw(t, "commits")
				r.Authors = rapid.SliceOfN(person, 1, 3).Draw(t, "authors")
				r.Committers = rapid.SliceOf(person).Draw(t, "committers")
				if rapid.Bool().Draw(t, "merged") {
					merger := person.Draw(t, "merger")
					r.Merger = &merger
					named[merger] = true
				}
				for _, p := range slices.Concat(r.Authors, r.Committers) {
					named[p] = true
				}
			}))
		}
		fact, refusals := judgeSource(papers, wanted, "c1")
		require.Empty(t, refusals)
		all := slices.Concat(fact.Authors, fact.Committers)
		if fact.Merger != nil {
			all = append(all, *fact.Merger)
		}
		for p := range named {
			require.Contains(t, all, p)
		}
	})
}

func TestScansAreCountedAndNotJudged(t *testing.T) {
	const finished = `"metadata":{"scanFinishedOn":"2026-01-02T03:05:06Z"}`
	paper := func(body string) accepted {
		return accepted{body: []byte(body), fact: signals.SignedFact{KeyID: "scanner"}}
	}
	facts, refusals := judgeScans([]accepted{paper(`{"scanner":{"uri":"https://scanner.example","db":{"lastUpdate":"2026-01-01T00:00:00Z"},"result":[
		{"id":"1","severity":[{"method":"nvd","score":"medium"},{"method":"cvss","score":"9.9"}]},
		{"id":"2","severity":[{"method":"cvss","score":"5.0"},{"method":"cvss","score":"9.8"}]},
		{"id":"3","severity":[{"method":"cvss","score":"7.0"}]},{"id":"4","severity":[{"method":"cvss","score":"4"}]},
		{"id":"5","severity":[{"method":"cvss","score":"0.1"}]},{"id":"6","severity":[{"method":"cvss","score":"0"}]},
		{"id":"7"},{"id":"8","severity":[{"method":"nvd","score":"medium"}]}]},` + finished + `}`)})
	require.Empty(t, refusals)
	require.Equal(t, map[string]int{"medium": 2, "CRITICAL": 1, "HIGH": 1, "MEDIUM": 1, "LOW": 1, "NONE": 1, "UNKNOWN": 1}, facts[0].Found)
	require.Equal(t, "https://scanner.example", facts[0].Scanner)
	require.Equal(t, "scanner", facts[0].KeyID)
	require.Equal(t, "2026-01-02T03:05:06Z", facts[0].Finished.Format("2006-01-02T15:04:05Z07:00"))
	require.Equal(t, 2026, facts[0].Database.Year())

	facts, refusals = judgeScans([]accepted{paper(`{"scanner":{"uri":"u","result":[]},` + finished + `}`)})
	require.Empty(t, refusals)
	require.Empty(t, facts[0].Found, "a scan that found nothing")

	var many strings.Builder
	for i := range 21 {
		fmt.Fprintf(&many, `{"severity":[{"score":"s%d"}]},`, i)
	}
	for body, says := range map[string]string{
		`[]`: "cannot unmarshal array",
		`{"scanner":{"result":[]},` + finished + `}`:                                                         "scanner.uri is missing",
		`{"scanner":{"uri":"u"},` + finished + `}`:                                                           "scanner.result is missing",
		`{"scanner":{"uri":"u","result":[]}}`:                                                                "metadata.scanFinishedOn is missing",
		`{"scanner":{"uri":"u","result":[` + strings.TrimSuffix(many.String(), ",") + `]},` + finished + `}`: "more than 20 severities",
	} {
		facts, refusals := judgeScans([]accepted{paper(body)})
		require.Empty(t, facts)
		require.Len(t, refusals, 1)
		require.Contains(t, refusals[0], "vulnerabilities: not an in-toto vulnerability attestation v0.2: ")
		require.Contains(t, refusals[0], says)
	}
}

// Names go into the release's history: a suite of thousands must not.
func TestNamesOfTestsAreBounded(t *testing.T) {
	body, err := json.Marshal(testResult{Result: "FAILED", Passed: slices.Repeat([]string{"p"}, 5000), Failed: slices.Repeat([]string{"f"}, 101)})
	require.NoError(t, err)
	facts, refusals := judgeTests([]accepted{{body: body}}, "")
	require.Len(t, facts[0].Suites, 101)
	require.Equal(t, "and 5001 more", facts[0].Suites[100])
	require.Equal(t, "and 1 more", facts[0].Failed[100])
	require.Less(t, len(refusals[0]), 1000)
}

// FuzzPredicates gives facts or refusals for bytes of any kind, never a panic.
func FuzzPredicates(f *testing.F) {
	f.Add([]byte(`{"repository":"https://git.example/app","commit":"c1","authors":[{"email":"a@a"}]}`))
	f.Add([]byte(`{"scanner":{"uri":"u","result":[{"severity":[{"score":"NaN"}]}]},"metadata":{"scanFinishedOn":"2026-01-02T03:05:06Z"}}`))
	f.Add([]byte(`{"result":"PASSED"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		papers := []accepted{{body: body}, {body: body}}
		if review, refusals := judgeSource(papers, wanted, "c1"); len(refusals) == 0 {
			require.Equal(t, "c1", review.Commit)
			require.NotEmpty(t, review.Authors)
		}
		scans, refusals := judgeScans(papers)
		require.Len(t, papers, len(scans)+len(refusals))
		judgeTests(papers, "c1")
	})
}
