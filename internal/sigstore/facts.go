package sigstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// resource is an in-toto resource descriptor.
type resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// provenance is the part of SLSA provenance v1 that is read.
type provenance struct {
	BuildDefinition struct {
		BuildType string `json:"buildType"`
		// ExternalParameters name the source in each builder's own way.
		ExternalParameters   map[string]json.RawMessage `json:"externalParameters"`
		ResolvedDependencies []resource                 `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata struct {
			InvocationID string `json:"invocationId"`
		} `json:"metadata"`
	} `json:"runDetails"`
}

// judgeProvenance picks the first provenance in which builder, source and
// commit are the expected ones. If none is, the first that could be read is
// returned beside the refusals, for the record.
func judgeProvenance(papers []accepted, in signals.VerifyInput) (*signals.Provenance, []string) {
	var first *signals.Provenance
	var refusals []string
	for _, paper := range papers {
		fact, faults := readProvenance(paper, in)
		if len(faults) == 0 {
			return fact, nil
		}
		refusals = append(refusals, faults...)
		if first == nil {
			first = fact
		}
	}
	return first, refusals
}

func readProvenance(paper accepted, in signals.VerifyInput) (*signals.Provenance, []string) {
	var p provenance
	if err := json.Unmarshal(paper.body, &p); err != nil {
		return nil, []string{fmt.Sprintf("provenance: not SLSA provenance v1: %v", err)}
	}
	source, commit := p.origin(in.Source)
	fact := &signals.Provenance{
		SignedFact: paper.fact, Builder: p.RunDetails.Builder.ID, BuildType: p.BuildDefinition.BuildType,
		Source: source, Commit: commit, Invocation: p.RunDetails.Metadata.InvocationID,
	}
	var faults []string
	expect := func(what, want, got string) {
		if want != got {
			faults = append(faults, fmt.Sprintf("provenance: expected %s %s, found %s", what, want, orNone(got)))
		}
	}
	expect("builder", in.Trust.Builder, fact.Builder)
	expect("source", repositoryURL(in.Source), source)
	if in.Commit != "" {
		expect("commit", in.Commit, commit)
	}
	return fact, faults
}

// origin is the repository and commit that the image was built from. A build
// may resolve several repositories: the commit counts of the one that is
// wanted, and only if the build's own parameters don't name another source.
func (p provenance) origin(wanted string) (source, commit string) {
	wanted = repositoryURL(wanted)
	for _, dependency := range p.BuildDefinition.ResolvedDependencies {
		from, at := repositoryURL(dependency.URI), gitCommit(dependency.Digest)
		if at != "" && (source == "" || from == wanted) {
			source, commit = from, at
		}
		if at != "" && from == wanted {
			break
		}
	}
	if declared := p.declaredSource(); declared != "" && declared != source {
		return declared, ""
	}
	return source, commit
}

// declaredSource is the source that the build was asked to build, "" if the
// parameters name none in a way that is known: a plain "source", as text or as a
// resource, and GitHub's workflow.
func (p provenance) declaredSource() string {
	parameters := p.BuildDefinition.ExternalParameters
	var text string
	var descriptor resource
	var workflow struct {
		Repository string `json:"repository"`
	}
	switch {
	case json.Unmarshal(parameters["source"], &text) == nil:
		return repositoryURL(text)
	case json.Unmarshal(parameters["source"], &descriptor) == nil:
		return repositoryURL(descriptor.URI)
	case json.Unmarshal(parameters["workflow"], &workflow) == nil:
		return repositoryURL(workflow.Repository)
	}
	return ""
}

// repositoryURL reduces the ways to write a repository to one: no "git+", no
// "@ref" or "#fragment" behind it, no ".git", no slash at the end.
func repositoryURL(uri string) string {
	uri = strings.TrimPrefix(uri, "git+")
	uri, _, _ = strings.Cut(uri, "#")
	if scheme := strings.Index(uri, "://"); scheme >= 0 {
		if path := strings.Index(uri[scheme+3:], "/"); path >= 0 {
			path += scheme + 3
			if at := strings.Index(uri[path:], "@"); at >= 0 {
				uri = uri[:path+at]
			}
		}
	}
	return strings.TrimSuffix(strings.TrimRight(uri, "/"), ".git")
}

// gitCommit is the commit id in a digest set, under the names in use.
func gitCommit(digest map[string]string) string {
	for _, algorithm := range []string{"gitCommit", "sha1"} {
		if commit, ok := digest[algorithm]; ok {
			return commit
		}
	}
	return ""
}

// testResult is the part of in-toto's test result v0.1 that is read.
type testResult struct {
	Result        string     `json:"result"`
	Configuration []resource `json:"configuration"`
	Passed        []string   `json:"passedTests"`
	Warned        []string   `json:"warnedTests"`
	Failed        []string   `json:"failedTests"`
}

// judgeTests reads every test result. One that failed stands against the image
// whatever others say: nothing trusted tells which came later, so a repeated
// run can't be told from a chosen one.
func judgeTests(papers []accepted, commit string) (facts []signals.TestResult, refusals []string) {
	for _, paper := range papers {
		var r testResult
		if err := json.Unmarshal(paper.body, &r); err != nil {
			refusals = append(refusals, fmt.Sprintf("tests: not an in-toto test result: %v", err))
			continue
		}
		fact := signals.TestResult{SignedFact: paper.fact, Result: r.Result, Suites: few(slices.Concat(r.Passed, r.Warned, r.Failed)), Failed: few(r.Failed)}
		commits := slices.Clone(paper.commits)
		for _, configuration := range r.Configuration {
			if at := gitCommit(configuration.Digest); at != "" {
				commits = append(commits, at)
			}
		}
		if len(commits) > 0 {
			fact.Commit = commits[0]
		}
		if commit != "" && slices.Contains(commits, commit) {
			fact.Commit = commit
		}
		facts = append(facts, fact)
		switch {
		case r.Result != "PASSED" && r.Result != "WARNED":
			failed := ""
			if len(r.Failed) > 0 {
				failed = ": " + strings.Join(fact.Failed, ", ")
			}
			refusals = append(refusals, fmt.Sprintf("tests: expected result PASSED, found %s%s", orNone(r.Result), failed))
		case commit != "" && fact.Commit != "" && fact.Commit != commit:
			refusals = append(refusals, fmt.Sprintf("tests: expected a result for commit %s, found one for %s", commit, fact.Commit))
		}
	}
	return facts, refusals
}

// maxNames bounds the names that are taken over from a paper: what is found goes
// into the release's history, and a suite may have thousands of tests.
const maxNames = 100

// few is the list, cut with a word on how many more there are.
func few(names []string) []string {
	if len(names) <= maxNames {
		return names
	}
	return append(slices.Clone(names[:maxNames]), fmt.Sprintf("and %d more", len(names)-maxNames))
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
