package attest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/html/charset"
)

// TestResultType is the predicate type of in-toto test results.
const TestResultType = "https://in-toto.io/attestation/test-result/v0.1"

const (
	maxJUnitBytes = 64 << 20
	// maxNames and maxNameBytes bound what an attestation lists: a release's
	// evidence wants the verdict and what failed, not every test of a suite.
	maxNames     = 200
	maxNameBytes = 300
)

// TestResult is the predicate of an in-toto test result v0.1.
type TestResult struct {
	Result        string     `json:"result"` // PASSED, WARNED, FAILED
	Configuration []Resource `json:"configuration"`
	URL           string     `json:"url,omitempty"`
	Passed        []string   `json:"passedTests,omitempty"`
	Warned        []string   `json:"warnedTests,omitempty"`
	Failed        []string   `json:"failedTests,omitempty"`

	counts string
}

// Resource is an in-toto resource descriptor.
type Resource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// TestInput says what was tested and where the results lie.
type TestInput struct {
	Files      []string // JUnit XML
	Repository string
	Commit     string
	URL        string // of the test run, if it has one
}

// NewTestResult reads JUnit files. Everything that failed, or is declared to
// have failed, makes the result FAILED; a test that passed only when it was run
// again makes it WARNED. Files in which no test ran prove nothing and are an
// error.
func NewTestResult(in TestInput) (TestResult, error) {
	var t tally
	for _, path := range in.Files {
		content, err := readFile(path, maxJUnitBytes)
		if err != nil {
			return TestResult{}, fmt.Errorf("JUnit: %w", err)
		}
		suite, err := parseJUnit(content)
		if err != nil {
			return TestResult{}, fmt.Errorf("JUnit %s: %w", path, err)
		}
		t.add(suite)
	}
	if len(t.passed)+len(t.warned)+len(t.failed) == 0 {
		return TestResult{}, errors.New("JUnit: no test ran by these files; a result of nothing proves nothing")
	}
	r := TestResult{
		Result: "PASSED", URL: in.URL, Passed: bounded(t.passed), Warned: bounded(t.warned), Failed: bounded(t.failed),
		counts:        fmt.Sprintf("%d passed, %d flaky, %d failed", len(t.passed), len(t.warned), len(t.failed)),
		Configuration: []Resource{{URI: "git+" + in.Repository, Digest: map[string]string{"gitCommit": in.Commit}}},
	}
	switch {
	case len(t.failed) > 0:
		r.Result = "FAILED"
	case len(t.warned) > 0:
		r.Result = "WARNED"
	}
	return r, nil
}

// Counts says in words how many tests passed and failed.
func (r TestResult) Counts() string { return r.counts }

// junitSuite is a testsuites or testsuite element.
type junitSuite struct {
	XMLName  xml.Name
	Name     string       `xml:"name,attr"`
	Failures string       `xml:"failures,attr"`
	Errors   string       `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
	Cases    []junitCase  `xml:"testcase"`
}

type junitCase struct {
	Name      string     `xml:"name,attr"`
	Classname string     `xml:"classname,attr"`
	Failures  []struct{} `xml:"failure"`
	Errors    []struct{} `xml:"error"`
	Skipped   *struct{}  `xml:"skipped"`
	// Surefire's words for a test that failed before it passed.
	FlakyFailures []struct{} `xml:"flakyFailure"`
	FlakyErrors   []struct{} `xml:"flakyError"`
}

func parseJUnit(content []byte) (junitSuite, error) {
	var suite junitSuite
	decoder := xml.NewDecoder(bytes.NewReader(content))
	decoder.CharsetReader = charset.NewReaderLabel
	if err := decoder.Decode(&suite); err != nil {
		return suite, err
	}
	if name := suite.XMLName.Local; name != "testsuites" && name != "testsuite" {
		return suite, fmt.Errorf("root element %q: want testsuites or testsuite", name)
	}
	return suite, nil
}

// tally sorts tests by how they went.
type tally struct {
	passed, warned, failed []string
}

func (t *tally) add(s junitSuite) {
	before := len(t.failed)
	for _, c := range s.Cases {
		name := strings.Trim(c.Classname+"."+c.Name, ".")
		switch {
		case len(c.Failures)+len(c.Errors) > 0:
			t.failed = append(t.failed, name)
		case c.Skipped != nil:
		case len(c.FlakyFailures)+len(c.FlakyErrors) > 0:
			t.warned = append(t.warned, name)
		default:
			t.passed = append(t.passed, name)
		}
	}
	for _, inner := range s.Suites {
		t.add(inner)
	}
	// A suite that broke off declares failures that are no test's.
	if declared := count(s.Failures) + count(s.Errors); declared > len(t.failed)-before {
		t.failed = append(t.failed, fmt.Sprintf("suite %q: %d failures and errors declared, %d found", s.Name, declared, len(t.failed)-before))
	}
}

// count reads a number of failures. One that can't be read counts as one: not
// knowing is no pass.
func count(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 1
	}
	return min(n, maxJUnitBytes) // two of them must not overflow
}

// bounded cuts the list and its names to what an attestation lists.
func bounded(names []string) []string {
	more := len(names) - maxNames
	var list []string
	for _, name := range names[:min(len(names), maxNames)] {
		if len(name) > maxNameBytes {
			name = strings.ToValidUTF8(name[:maxNameBytes], "") + "…"
		}
		list = append(list, name)
	}
	if more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return list
}
