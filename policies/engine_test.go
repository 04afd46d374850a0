package policies

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func load(t *testing.T, dir string) *Engine {
	t.Helper()
	engine, err := Load(t.Context(), dir)
	require.NoError(t, err)
	return engine
}

// good is a release at tier 2 in which all is as it should be.
func good() signals.PolicyInput {
	second := signals.Duration(time.Second)
	window := signals.Window{Duration: 10 * second, Interval: second}
	digest := "sha256:" + strings.Repeat("a", 64)
	signed := signals.SignedFact{KeyID: "key", Form: "bundle", Digest: "sha256:" + strings.Repeat("b", 64)}
	return signals.PolicyInput{
		PlanDigest: "sha256:" + strings.Repeat("c", 64),
		Plan: signals.Plan{
			Tier: 2, Owner: "payments-leads",
			Request:  signals.Request{Image: "registry.example/app@" + digest, Commit: "c1", Ticket: "CHG-1"},
			Artifact: signals.Artifact{Repository: "registry.example/app", Digest: digest},
			Baseline: window, Bake: window,
			Steps:    []signals.Step{{Phase: signals.Canary, Weight: 5, Window: window}, {Phase: signals.Ramp, Weight: 100, Window: window}},
			Checks:   []signals.Check{{Name: "error-ratio"}},
			Approval: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-leads", Count: 1}, {Group: "risk", Count: 1}}},
			Limits:   signals.Limits{Approval: 60 * second, Queue: 60 * second},
			Target:   signals.Target{ReadyWithin: 10 * second},
			Trust:    signals.Trust{Builder: "https://ci.example/builder"},
		},
		Requester: signals.RequesterView{Proven: true},
		Verification: signals.Verification{
			Digest: digest, Signatures: []signals.SignedFact{signed},
			Provenance: &signals.Provenance{SignedFact: signed, Builder: "https://ci.example/builder", Commit: "c1"},
			Tests:      []signals.TestResult{{SignedFact: signed, Result: "PASSED"}},
			Source:     &signals.SourceReview{SignedFact: signed, Commit: "c1", Commits: 1, Authors: []signals.Contributor{{Email: "developer@payments.example"}}},
		},
		Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestDecideOnTheRealBundle(t *testing.T) {
	engine := load(t, ".")
	output, err := engine.Decide(t.Context(), good())
	require.NoError(t, err)
	require.True(t, output.Result.Allow)
	require.Empty(t, output.Result.Reasons)
	require.Equal(t, good().Plan.Approval, output.Result.Approvals)
	require.Equal(t, []string{"SLSA_BUILD_LEVEL_1", "WAYBILL_SIGNED", "WAYBILL_SOURCE_ATTESTED", "WAYBILL_TESTED"}, output.Result.Levels)
	require.Equal(t, 3790*time.Second, output.Result.PermitFor.D(), "windows, waits, rollouts and the margin")
	require.Equal(t, engine.Digest(), output.Policy)
	want, err := json.Marshal(good())
	require.NoError(t, err)
	require.Equal(t, want, []byte(output.Input))

	in := good()
	in.Plan.Request.Ticket = ""
	in.Verification.Provenance = nil
	output, err = engine.Decide(t.Context(), in)
	require.NoError(t, err)
	require.False(t, output.Result.Allow)
	require.Equal(t, []signals.PolicyReason{
		{Rule: "change-ticket", Message: `tier 2 wants a change ticket of the form ^(CHG|INC)-[0-9]+$, found ""`},
		{Rule: "provenance", Message: "tier 2 wants SLSA provenance by a pinned key; attest it in the build"},
	}, output.Result.Reasons)
}

// An input that lacks everything is refused; nothing in it reads as a yes.
func TestEmptyInputIsNoYes(t *testing.T) {
	output, err := load(t, ".").Decide(t.Context(), signals.PolicyInput{})
	require.NoError(t, err)
	require.False(t, output.Result.Allow)
}

// Whatever the tier, what a lower tier refuses a higher tier refuses too, and
// the approvals are never fewer than the plan asks.
func TestTiersOnlyGrowStricter(t *testing.T) {
	engine := load(t, ".")
	rapid.Check(t, func(r *rapid.T) {
		in := good()
		if rapid.Bool().Draw(r, "no ticket") {
			in.Plan.Request.Ticket = ""
		}
		if rapid.Bool().Draw(r, "unsigned") {
			in.Verification.Signatures = nil
		}
		if rapid.Bool().Draw(r, "no provenance") {
			in.Verification.Provenance = nil
		}
		if rapid.Bool().Draw(r, "no tests") {
			in.Verification.Tests = nil
		}
		if rapid.Bool().Draw(r, "no source") {
			in.Verification.Source = nil
		}
		if rapid.Bool().Draw(r, "emergency") {
			in.Plan.BreakGlass = &signals.BreakGlassTerms{Reason: "payments are failing"}
		}
		in.Requester.Proven = rapid.Bool().Draw(r, "proven")
		in.Plan.Steps[0].Weight = rapid.Int32Range(1, 100).Draw(r, "weight")
		in.Plan.Approval.Groups = in.Plan.Approval.Groups[:rapid.IntRange(0, 2).Draw(r, "groups")]
		var before []string
		for tier := range 3 {
			in.Plan.Tier = tier
			output, err := engine.Decide(t.Context(), in)
			require.NoError(t, err)
			rules := map[string]bool{}
			for _, reason := range output.Result.Reasons {
				rules[reason.Rule] = true
			}
			for _, rule := range before {
				require.True(t, rules[rule], "tier %d drops rule %s", tier, rule)
			}
			before = slices.Collect(maps.Keys(rules))
			require.GreaterOrEqual(t, output.Result.Approvals.People(), in.Plan.Approval.People())
		}
	})
}

// write makes a bundle with one policy.
func write(t *testing.T, policy string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{".manifest": `{"roots":["waybill"]}`, "data.json": `{"waybill":{"n":1}}`, "waybill/release.rego": policy} {
		put(t, dir, name, content)
	}
	return dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

const yes = "package waybill.release\nresult := {\"allow\": true, \"reasons\": [], \"approvals\": {}, \"permitFor\": \"1h\"}\n"

func TestDigestIsOfTheBundleAlone(t *testing.T) {
	dir := write(t, yes)
	first := load(t, dir).Digest()
	put(t, dir, "waybill/release_test.rego", "package waybill.release_test\ntest_yes if true\n")
	put(t, dir, "engine.go", "package policies\n")
	require.Equal(t, first, load(t, dir).Digest(), "tests and code are no part of it")
	put(t, dir, "data.json", `{"waybill":{"n":2}}`)
	second := load(t, dir).Digest()
	require.NotEqual(t, first, second)
	put(t, dir, "waybill/more.rego", "package waybill.more\nx := 1\n")
	require.NotEqual(t, second, load(t, dir).Digest())
}

func TestAuthorsBesideTheBundle(t *testing.T) {
	dir := write(t, yes)
	plain := load(t, dir)
	require.Empty(t, plain.Authors())
	put(t, dir, "authors.json", `{"files": {"waybill/release.rego": [{"email": "b@a.example"}], "data.json": [{"email": "a@a.example"}, {"email": "b@a.example"}]}}`)
	engine := load(t, dir)
	require.Equal(t, []signals.Contributor{{Email: "a@a.example"}, {Email: "b@a.example"}}, engine.Authors())
	require.NotEqual(t, plain.Digest(), engine.Digest(), "a plan is made from them")
	output, err := engine.Decide(t.Context(), signals.PolicyInput{})
	require.NoError(t, err)
	require.True(t, output.Result.Allow, "no policy sees them")
	put(t, dir, "authors.json", `{"files": {"data.json": []}}`)
	_, err = Load(t.Context(), dir)
	require.ErrorContains(t, err, "authors.json: data.json has no author")
}

func TestBundlesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, content, says string }{
		"no manifest":          {".manifest", "", "EOF"},
		"policy out of form":   {"waybill/release.rego", "package waybill.release\nresult := {", "rego_parse_error"},
		"unknown function":     {"waybill/release.rego", "package waybill.release\nresult := f(1)", "undefined function f"},
		"unused variable":      {"waybill/release.rego", "package waybill.release\nresult := 1 if { x := 1 }", "assigned var x unused"},
		"data outside roots":   {"data.json", `{"other":1}`, "manifest roots"},
		"data that's not JSON": {"data.json", `{`, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, yes)
			put(t, dir, c.file, c.content)
			_, err := Load(t.Context(), dir)
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := Load(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "no .manifest there")
	_, err = Load(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
}

// A bundle that doesn't answer, or not in form, fails closed.
func TestAnswersThatAreNoAnswer(t *testing.T) {
	for name, c := range map[string]struct{ policy, says string }{
		"undefined":                {"package waybill.release\nresult := true if input.none", "is undefined"},
		"yes with reasons":         {strings.Replace(yes, `"reasons": []`, `"reasons": [{"rule": "a", "message": "b"}]`, 1), "says allow is true with 1 reasons"},
		"no without reasons":       {strings.Replace(yes, "true", "false", 1), "says allow is false with 0 reasons"},
		"field that nobody knows":  {strings.Replace(yes, "permitFor", "permit", 1), `unknown field "permit"`},
		"no object":                {"package waybill.release\nresult := true", "is not a policy result"},
		"builtin that goes astray": {"package waybill.release\nresult := time.parse_duration_ns(\"x\")", "invalid duration"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, write(t, c.policy)).Decide(t.Context(), signals.PolicyInput{})
			require.ErrorContains(t, err, c.says)
		})
	}
}
