package attest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func tested(t *testing.T, files ...string) (TestResult, error) {
	t.Helper()
	in := TestInput{Repository: "https://git.example/payments", Commit: "c1", URL: "https://ci.example/runs/1"}
	for _, text := range files {
		in.Files = append(in.Files, file(t, text))
	}
	return NewTestResult(in)
}

func TestResultsOfJUnit(t *testing.T) {
	r, err := tested(t,
		`<?xml version="1.0" encoding="UTF-8"?>
		<testsuites tests="4" failures="0" errors="0"><testsuite name="unit" failures="0">
			<properties><property name="go" value="1.26"/></properties>
			<testcase classname="payments" name="TestPay" time="0.1"/><testcase name="TestRefund"/>
			<testcase classname="payments" name="TestLater"><skipped message="later"/></testcase>
		</testsuite></testsuites>`,
		`<testsuite name="integration"><testsuite name="inner"><testcase classname="db" name="TestWrite"><system-out>x</system-out></testcase></testsuite></testsuite>`)
	require.NoError(t, err)
	require.Equal(t, "PASSED", r.Result)
	require.Equal(t, []string{"payments.TestPay", "TestRefund", "db.TestWrite"}, r.Passed)
	require.Equal(t, "3 passed, 0 flaky, 0 failed", r.Counts())
	body, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"result": "PASSED", "url": "https://ci.example/runs/1",
		"configuration": [{"uri": "git+https://git.example/payments", "digest": {"gitCommit": "c1"}}],
		"passedTests": ["payments.TestPay", "TestRefund", "db.TestWrite"]}`, string(body))
}

func TestWhatMakesAResultFail(t *testing.T) {
	const pass = `<testcase name="ok"/>`
	for name, c := range map[string]struct {
		xml, result string
		failed      []string
	}{
		"failure":             {`<testsuite>` + pass + `<testcase name="bad"><failure message="m">text</failure></testcase></testsuite>`, "FAILED", []string{"bad"}},
		"error":               {`<testsuite>` + pass + `<testcase name="bad"><error/></testcase></testsuite>`, "FAILED", []string{"bad"}},
		"skipped and failed":  {`<testsuite>` + pass + `<testcase name="bad"><skipped/><failure/></testcase></testsuite>`, "FAILED", []string{"bad"}},
		"declared by a suite": {`<testsuite name="s" errors="1"><properties/>` + pass + `</testsuite>`, "FAILED", []string{`suite "s": 1 failures and errors declared, 0 found`}},
		"declared for all":    {`<testsuites failures="2"><testsuite>` + pass + `</testsuite></testsuites>`, "FAILED", []string{`suite "": 2 failures and errors declared, 0 found`}},
		"declared in words":   {`<testsuite name="s" failures="many">` + pass + `</testsuite>`, "FAILED", []string{`suite "s": 1 failures and errors declared, 0 found`}},
		"declared and found":  {`<testsuites failures="1"><testsuite failures="1"><testcase name="bad"><failure/></testcase></testsuite></testsuites>`, "FAILED", []string{"bad"}},
		"passed when rerun":   {`<testsuite failures="0"><testcase name="flaky"><flakyFailure/></testcase></testsuite>`, "WARNED", nil},
		"another encoding":    {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite><testcase name=\"\xe9t\xe9\"><failure/></testcase></testsuite>", "FAILED", []string{"été"}},
	} {
		r, err := tested(t, c.xml)
		require.NoError(t, err, name)
		require.Equal(t, c.result, r.Result, name)
		require.Equal(t, c.failed, r.Failed, name)
	}
	r, err := tested(t, `<testsuite><testcase name="ok"/></testsuite>`, `<testsuite><testcase name="bad"><error/></testcase></testsuite>`)
	require.NoError(t, err)
	require.Equal(t, "FAILED", r.Result, "one file is enough")
}

func TestFilesThatProveNothing(t *testing.T) {
	for xml, says := range map[string]string{
		`<testsuite/>`: "no test ran",
		`<testsuite><testcase name="a"><skipped/></testcase></testsuite>`: "no test ran",
		`<html/>`:               `root element "html"`,
		`<testsuite><testcase>`: "unexpected EOF",
		``:                      "EOF",
		`<?xml version="1.0" encoding="klingon"?><testsuite/>`: "unsupported charset",
	} {
		_, err := tested(t, xml)
		require.ErrorContains(t, err, says, xml)
	}
	_, err := NewTestResult(TestInput{Files: []string{"/none.xml"}})
	require.ErrorContains(t, err, "no such file")
	_, err = NewTestResult(TestInput{})
	require.ErrorContains(t, err, "no test ran")
}

func TestListsAreBounded(t *testing.T) {
	var xml strings.Builder
	xml.WriteString("<testsuite>")
	for i := range 1000 {
		fmt.Fprintf(&xml, `<testcase name="%d%s"/>`, i, strings.Repeat("é", 400))
	}
	xml.WriteString("</testsuite>")
	r, err := tested(t, xml.String())
	require.NoError(t, err)
	require.Len(t, r.Passed, maxNames+1)
	require.Equal(t, "and 800 more", r.Passed[maxNames])
	require.Equal(t, "1000 passed, 0 flaky, 0 failed", r.Counts())
	for _, name := range r.Passed {
		require.LessOrEqual(t, len(name), maxNameBytes+len("…"))
	}
}

// FuzzJUnit gives a result or an error for bytes of any kind.
func FuzzJUnit(f *testing.F) {
	f.Add([]byte(`<testsuites failures="1"><testsuite><testcase name="a"><failure/></testcase></testsuite></testsuites>`))
	f.Add([]byte(`<testsuite failures="9223372036854775807" errors="9223372036854775807"/>`))
	f.Add([]byte(`<?xml version="1.0" encoding="utf-16"?><testsuite errors="-1"/>`))
	f.Fuzz(func(t *testing.T, content []byte) {
		suite, err := parseJUnit(content)
		if err != nil {
			return
		}
		var sum tally
		sum.add(suite)
		if count(suite.Failures)+count(suite.Errors) > 0 {
			require.NotEmpty(t, sum.failed)
		}
	})
}
