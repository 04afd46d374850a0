package sigstore

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func TestRepositoryURLIsOneForAllWaysToWriteIt(t *testing.T) {
	for _, written := range []string{
		"https://git.example/payments/api",
		"https://git.example/payments/api/",
		"https://git.example/payments/api.git",
		"git+https://git.example/payments/api",
		"git+https://git.example/payments/api@refs/heads/main",
		"git+https://git.example/payments/api.git@v1.2#sub/dir",
	} {
		require.Equal(t, "https://git.example/payments/api", repositoryURL(written), written)
	}
	require.Equal(t, "ssh://git@git.example/api", repositoryURL("git+ssh://git@git.example/api.git@main"), "a user is no ref")
	require.Equal(t, "https://git.example", repositoryURL("https://git.example"))
	require.Empty(t, repositoryURL(""))
}

func TestRepositoryURLIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once := repositoryURL("https://git.example/" + rapid.StringMatching(`[a-z]{1,8}(/[a-z]{1,8})?`).Draw(t, "path"))
		require.Equal(t, once, repositoryURL(once))
		require.Equal(t, once, repositoryURL("git+"+once+".git@"+rapid.StringMatching(`[a-z/]{1,8}`).Draw(t, "ref")))
	})
}

const wanted = "https://git.example/app"

func TestOriginOfABuild(t *testing.T) {
	for name, c := range map[string]struct{ definition, source, commit string }{
		"plain source": {`{"externalParameters":{"source":"https://git.example/app"},
			"resolvedDependencies":[{"uri":"git+https://git.example/app@main","digest":{"gitCommit":"c1"}}]}`, wanted, "c1"},
		"source as resource": {`{"externalParameters":{"source":{"uri":"git+https://git.example/app"}},
			"resolvedDependencies":[{"uri":"git+https://git.example/app","digest":{"sha1":"c1"}}]}`, wanted, "c1"},
		"GitHub's workflow": {`{"externalParameters":{"workflow":{"repository":"https://git.example/app","ref":"main"}},
			"resolvedDependencies":[{"uri":"git+https://git.example/app@main","digest":{"gitCommit":"c1"}}]}`, wanted, "c1"},
		"workflow of another kind": {`{"externalParameters":{"workflow":"release.yml"},
			"resolvedDependencies":[{"uri":"git+https://git.example/app@main","digest":{"gitCommit":"c1"}}]}`, wanted, "c1"},
		"several repositories": {`{"resolvedDependencies":[{"uri":"https://git.example/lib","digest":{"gitCommit":"c0"}},
			{"uri":"https://files.example/tool","digest":{"sha256":"f"}},{"uri":"https://git.example/app","digest":{"gitCommit":"c1"}},
			{"uri":"https://git.example/app","digest":{"gitCommit":"c2"}}]}`, wanted, "c1"},
		"another repository": {`{"resolvedDependencies":[{"uri":"https://git.example/fork","digest":{"gitCommit":"c1"}}]}`, "https://git.example/fork", "c1"},
		// The wanted repository is only a dependency of what was built.
		"dependency passed off as source": {`{"externalParameters":{"source":"https://git.example/fork"},
			"resolvedDependencies":[{"uri":"https://git.example/app","digest":{"gitCommit":"c1"}}]}`, "https://git.example/fork", ""},
		"nothing": {`{}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var p provenance
			require.NoError(t, json.Unmarshal([]byte(c.definition), &p.BuildDefinition))
			source, commit := p.origin(wanted + ".git")
			require.Equal(t, c.source, source)
			require.Equal(t, c.commit, commit)
		})
	}
}

func TestOneGoodProvenanceIsEnough(t *testing.T) {
	paper := func(commit string) accepted {
		return accepted{body: []byte(`{"buildDefinition":{"resolvedDependencies":[{"uri":"` + wanted + `","digest":{"gitCommit":"` + commit + `"}}]},"runDetails":{"builder":{"id":"b"}}}`)}
	}
	in := signals.VerifyInput{Source: wanted, Commit: "c2", Trust: signals.Trust{Builder: "b"}}
	fact, refusals := judgeProvenance([]accepted{paper("c1"), paper("c2")}, in)
	require.Empty(t, refusals)
	require.Equal(t, "c2", fact.Commit)

	fact, refusals = judgeProvenance([]accepted{paper("c1"), {body: []byte(`[]`)}}, in)
	require.Equal(t, "c1", fact.Commit, "what was found is kept for the record")
	require.Len(t, refusals, 2)

	in.Commit = ""
	_, refusals = judgeProvenance([]accepted{paper("c1")}, in)
	require.Empty(t, refusals, "no commit is asked of a rollback's target")
}

func TestJudgeTests(t *testing.T) {
	result := func(verdict, commit string) accepted {
		return accepted{body: []byte(`{"result":"` + verdict + `","configuration":[{"digest":{"gitCommit":"` + commit + `"}}],"passedTests":["unit"],"failedTests":["load"]}`)}
	}
	for name, c := range map[string]struct {
		papers []accepted
		says   []string
	}{
		"passed":                      {[]accepted{result("PASSED", "c1")}, nil},
		"warned":                      {[]accepted{result("WARNED", "c1")}, nil},
		"no commit named":             {[]accepted{{body: []byte(`{"result":"PASSED"}`)}}, nil},
		"failed":                      {[]accepted{result("FAILED", "c1")}, []string{"tests: expected result PASSED, found FAILED: load"}},
		"failed once, passed another": {[]accepted{result("PASSED", "c1"), result("FAILED", "c1")}, []string{"tests: expected result PASSED, found FAILED: load"}},
		"another commit":              {[]accepted{result("PASSED", "c2")}, []string{"tests: expected a result for commit c1, found one for c2"}},
		"no result":                   {[]accepted{{body: []byte(`{}`)}}, []string{"tests: expected result PASSED, found none"}},
		"no predicate":                {[]accepted{{body: []byte(`7`)}}, []string{"tests: not an in-toto test result: json: cannot unmarshal number into Go value of type sigstore.testResult"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, refusals := judgeTests(c.papers, "c1")
			require.Equal(t, c.says, refusals)
		})
	}
	facts, _ := judgeTests([]accepted{result("PASSED", "c1")}, "")
	require.Equal(t, []string{"unit", "load"}, facts[0].Suites)
}
