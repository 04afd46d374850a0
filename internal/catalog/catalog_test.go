package catalog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

// demo renders the demo's catalog template, as the local stack does, into a
// folder with real keys.
func demo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"payments-ci", "builder", "tests", "source", "scanner"} {
		writeKey(t, filepath.Join(dir, "keys", name+".pub"), elliptic.P256())
	}
	source, err := os.ReadFile("../../deploy/demo/catalog/payments-api.yaml.tmpl")
	require.NoError(t, err)
	parsed, err := template.New("demo").Delims("[[", "]]").Option("missingkey=error").Parse(string(source))
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, parsed.Execute(&out, struct{ Registry, Cluster, KeysDir, Source, Builder string }{
		"127.0.0.1:5000", "local", "keys", "https://git.example/payments/payments-api", "https://ci.example/builders/payments/v1",
	}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "payments-api.yaml"), []byte(out.String()), 0o600))
	return dir
}

func writeKey(t *testing.T, path string, curve elliptic.Curve) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
}

// edit replaces the first occurrence of old in the catalog file.
func edit(t *testing.T, dir, old, replacement string) {
	t.Helper()
	path := filepath.Join(dir, "payments-api.yaml")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), old, replacement, 1)), 0o600))
}

// lineOf is the line of the catalog file in which text stands first.
func lineOf(t *testing.T, dir, text string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "payments-api.yaml"))
	require.NoError(t, err)
	before, _, found := strings.Cut(string(content), text)
	require.True(t, found)
	return strings.Count(before, "\n") + 1
}

func TestDemoCatalog(t *testing.T) {
	dir := demo(t)
	c, err := Load(dir)
	require.NoError(t, err)
	require.True(t, signals.ValidDigest(c.Digest()))

	prod, err := c.Entry("payments-api", "prod")
	require.NoError(t, err)
	require.Equal(t, 2, prod.Tier)
	require.Equal(t, c.Digest(), prod.Catalog)
	require.Equal(t, "payments-prod", prod.Target.Namespace)
	require.Equal(t, 4*time.Second, prod.Baseline.Duration.D())
	require.Len(t, prod.Steps, 4)
	require.Equal(t, signals.Step{Phase: signals.Canary, Weight: 5, Window: signals.Window{
		Duration: signals.Duration(8 * time.Second), Interval: signals.Duration(time.Second), WarmUp: signals.Duration(4 * time.Second), Extensions: 5,
	}}, prod.Steps[0])
	require.Equal(t, 2, prod.Approval.People())
	require.Equal(t, "payments-ci", prod.Trust.Signature[0].ID)
	require.Contains(t, prod.Trust.Tests[0].PEM, "BEGIN PUBLIC KEY")
	require.NotEqual(t, prod.Trust.Provenance[0].PEM, prod.Trust.Tests[0].PEM)
	require.Equal(t, "source", prod.Trust.Source[0].ID)
	require.Equal(t, "scanner", prod.Trust.Vulnerabilities[0].ID)
	require.NotEqual(t, prod.Trust.Source[0].PEM, prod.Trust.Vulnerabilities[0].PEM)
	require.Equal(t, "https://ci.example/builders/payments/v1", prod.Trust.Builder)

	staging, err := c.Entry("payments-api", "staging")
	require.NoError(t, err)
	require.Equal(t, 1, staging.Tier)
	require.Equal(t, prod.Checks, staging.Checks, "an anchor gives both the same checks")
	require.InDelta(t, 0.1, *staging.Checks[0].Max, 1e-9)
	require.Len(t, c.Entries(), 2)
}

func TestUnknownEntriesSayWhatIsKnown(t *testing.T) {
	c, err := Load(demo(t))
	require.NoError(t, err)
	_, err = c.Entry("payment-api", "prod")
	require.EqualError(t, err, `unknown service "payment-api"; did you mean "payments-api"? known: payments-api`)
	_, err = c.Entry("ledger", "prod")
	require.EqualError(t, err, `unknown service "ledger"; known: payments-api`)
	_, err = c.Entry("payments-api", "production")
	require.EqualError(t, err, `service "payments-api" has no environment "production"; known: prod, staging`)
	require.True(t, err.(interface{ BadRequest() bool }).BadRequest())
}

func TestDigestCoversFilesAndKeys(t *testing.T) {
	dir := demo(t)
	digest := func() string {
		c, err := Load(dir)
		require.NoError(t, err)
		return c.Digest()
	}
	first := digest()
	require.Equal(t, first, digest())
	edit(t, dir, "weight: 25", "weight: 26")
	second := digest()
	require.NotEqual(t, first, second)
	writeKey(t, filepath.Join(dir, "keys", "tests.pub"), elliptic.P256())
	require.NotEqual(t, second, digest())
}

func TestFaultsAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ old, replacement, says string }{
		"typo in a field":           {"readyWithin: 2m", "readyWitin: 2m", `: environments.staging.target: unknown field "readyWitin"; did you mean "readyWithin"? known: canary, canaryReplicas`},
		"field nobody knows":        {"owner:", "colour: red\nowner:", `unknown field "colour"; known: builder, environments`},
		"field twice":               {"owner: payments-leads", "owner: payments-leads\nowner: risk", `field "owner" stands twice`},
		"merge key":                 {"limits: {approval: 10m, queue: 30m}", "<<: {limits: {approval: 10m, queue: 30m}}", "merge keys (<<) are not read"},
		"number for text":           {"owner: payments-leads", "owner: 12", "owner: want text (put it in quotes), found 12"},
		"text for number":           {"port: 8080", "port: http", `target.port: want a whole number, found "http"`},
		"fraction for whole number": {"weight: 5,", "weight: 5.5,", "steps[0].weight: want a whole number, found 5.5"},
		"duration without unit":     {"queue: 30m", "queue: 30", `limits.queue: duration 30: want a string with a unit`},
		"list for fields":           {"baseline: {duration: 3s, interval: 1s, extensions: 5}", "baseline: [3s]", "baseline: want fields, found a list"},
		"fields for list":           {"images: [", "images: {a: [", "did not find expected"},
		"text for list":             {`images: ["127.0.0.1:5000/payments-api"]`, "images: app", `images: want a list, found "app"`},
		"second document":           {"environments:", "---\nenvironments:", "more than one document"},
		"threshold not a number":    {"max: 0.1", "max: .nan", "checks[0].max: want a number"},

		"service out of form":   {"service: payments-api", "service: Payments", "service: \"Payments\": want lower case"},
		"file of another name":  {"service: payments-api", "service: payments", "name it payments.yaml"},
		"owner missing":         {"owner: payments-leads\n", "", "owner: \"\": want the group"},
		"source not a URL":      {"source: https://git.example", "source: git.example", "source: \"git.example"},
		"image with tag":        {"5000/payments-api\"", "5000/payments-api:v1\"", "without tag or digest"},
		"image without host":    {"127.0.0.1:5000/payments-api", "payments-api", "want a repository with its host"},
		"no images":             {`images: ["127.0.0.1:5000/payments-api"]`, "images: []", "want at least one repository"},
		"no signature keys":     {`signature: [{id: payments-ci, publicKey: "keys/payments-ci.pub"}]`, "signature: []", "signers.signature: want at least one key"},
		"no provenance keys":    {`provenance: [{id: builder, publicKey: "keys/builder.pub"}]`, "provenance: []", "signers.provenance: "},
		"no test keys":          {`tests: [{id: tests, publicKey: "keys/tests.pub"}]`, "tests: []", "signers.tests: "},
		"no source keys":        {`source: [{id: source, publicKey: "keys/source.pub"}]`, "source: []", "signers.source: prod is of tier 2"},
		"no scanner's key":      {"keys/scanner.pub", "keys/scan.pub", "keys/scan.pub: no such file"},
		"no builder":            {"builder: https://ci.example/builders/payments/v1", "", "builder: "},
		"key file missing":      {"keys/tests.pub", "keys/test.pub", "keys/test.pub: no such file"},
		"key that is no key":    {"keys/tests.pub", "payments-api.yaml", "signers.tests[0].publicKey: want a PEM block PUBLIC KEY"},
		"key without id":        {"{id: tests,", "{", "signers.tests[0].id: \"\": want a name"},
		"key that ends at once": {"{id: tests,", "{id: tests, notBefore: 2026-02-01T00:00:00Z, notAfter: 2026-01-01T00:00:00Z,", "want a time after notBefore"},

		"tier missing":       {"tier: 1\n", "\n", "environments.staging.tier: want 0 (internal)"},
		"tier 3":             {"tier: 2", "tier: 3", "environments.prod.tier: want 0 (internal)"},
		"environment's name": {"  prod:", "  Prod:", "want lower case letters"},
		"namespace missing":  {"namespace: payments-prod", "namespace: \"\"", "target.namespace: \"\": want a Kubernetes name"},
		"canary is stable":   {"canary: payments-api-canary", "canary: payments-api", "want another Deployment than stable"},
		"port 0":             {"port: 8080", "port: 0", "target.port: 0"},
		"no canary pods":     {"canaryReplicas: 1", "canaryReplicas: 0", "want at least 1 pod"},
		"rollout in no time": {"readyWithin: 2m", "readyWithin: 0s", "readyWithin: 0s"},
		"same Deployment":    {"namespace: payments-staging", "namespace: payments-prod", "is prod/payments-api's already"},
		"no queue limit":     {"queue: 30m", "queue: 0s", "limits.queue: 0s"},
		"approvers in no time": {"limits: {approval: 10m, queue: 30m, recheck: 5s}", "limits: {queue: 30m, recheck: 5s}",
			"limits.approval: 0s"},

		"window of zero":           {"baseline: {duration: 3s,", "baseline: {duration: 0s,", "baseline.duration: 0s: want how long to watch"},
		"window missing":           {"baseline: {duration: 3s, interval: 1s, extensions: 5}", "", "baseline.duration: 0s"},
		"negative window":          {"bake: {duration: 4s,", "bake: {duration: -4s,", "bake.duration: -4s"},
		"interval of zero":         {"bake: {duration: 4s, interval: 1s", "bake: {duration: 4s, interval: 0s", "bake.interval: 0s"},
		"interval beyond duration": {"bake: {duration: 4s, interval: 1s", "bake: {duration: 4s, interval: 5s", "want at most the window's duration, 4s"},
		"too many samples":         {"bake: {duration: 4s, interval: 1s", "bake: {duration: 24h, interval: 1s", "makes 86400 samples in 24h0m0s; want at most 1000"},
		"all warm-up":              {"warmUp: 1s", "warmUp: 4s", "warmUp: 4s: leaves less than one sample"},
		"negative warm-up":         {"warmUp: 1s", "warmUp: -1s", "want no negative time"},
		"negative extensions":      {"extensions: 5", "extensions: -1", "want 0 to 100"},

		"weights fall":         {"weight: 50", "weight: 4", "steps[1].weight: 4: want more than the step before, which has 5"},
		"weight of zero":       {"weight: 5,", "weight: 0,", "steps[0].weight: 0: want a percentage"},
		"weight above all":     {"weight: 100", "weight: 101", "steps[2].weight: 101: want a percentage"},
		"last step not all":    {"weight: 100", "weight: 99", "steps[2].weight: 99: the last step must carry all"},
		"first step no canary": {"phase: canary", "phase: ramp", "the first step is the canary"},
		"canary after ramp": {"{phase: ramp, weight: 100", "{phase: canary, weight: 100",
			"steps[2].phase: canary after ramp"},
		"phase of no step": {"phase: ramp", "phase: bake", `"bake": want canary or ramp`},

		"one person at tier 2": {`        - {group: risk, count: 1, stepUp: {acr: ["urn:waybill:acr:mfa"], maxAge: 5m}}` + "\n", "", "tier 2 is approved by at least two people from two groups; found 1 from 1"},
		"one group at tier 2":  {"- {group: payments-leads, count: 1}\n        - {group: risk, count: 1,", "- {group: risk, count: 2,", "found 2 from 1"},
		"count of zero":        {"{group: risk, count: 1,", "{group: risk, count: 0,", "approval.groups[1].count: 0"},
		"negative count":       {"{group: risk, count: 1,", "{group: risk, count: -1,", "approval.groups[1].count: -1"},
		"group twice":          {"{group: risk,", "{group: payments-leads,", "stands twice"},

		"no checks":            {"checks: *checks", "checks: []", "environments.prod.checks: tier 2 wants at least one check"},
		"check twice":          {"name: latency-p99", "name: error-ratio", `checks[1].name: "error-ratio" stands twice`},
		"unknown kind":         {"kind: latency", "kind: speed", `checks[1].kind: "speed"`},
		"no bound":             {"max: 0.9\n", "\n", "checks[2]: want a bound"},
		"error ratio above 1":  {"max: 0.1", "max: 8", "checks[0].max: 8: want a ratio, 0 to 1"},
		"negative latency":     {"max: 2\n", "max: -0.5\n", "checks[1].max: -0.5: want no negative"},
		"latency of zero":      {"max: 2\n", "max: 0\n", "checks[1].max: 0: no latency is 0"},
		"min above max":        {"max: 0.9\n", "max: 0.9\n        min: 0.95\n", "checks[2].min: 0.95: above max 0.9"},
		"ratio of zero":        {"maxRatio: 2,", "maxRatio: 0,", "versusStable.maxRatio: want a number above 0"},
		"negative ratio":       {"minRatio: 0.98,", "minRatio: -1,", "versusStable.minRatio: want a number above 0"},
		"ratios crossed":       {"maxRatio: 2,", "maxRatio: 2, minRatio: 3,", "above maxRatio; nothing could pass"},
		"versus nothing":       {"{maxRatio: 2, slack: 0.06}", "{slack: 0.05}", "want maxRatio or minRatio"},
		"negative slack":       {"slack: 1.5", "slack: -1.5", "slack: -1.5"},
		"no samples":           {"minSamples: 20", "minSamples: 0", "checks[0].minSamples: 0: want how many"},
		"unknown consequence":  {"onOutage: rollback", "onOutage: ignore", `checks[0].onOutage: "ignore": want rollback or hold`},
		"consequence missing":  {"onInsufficient: rollback\n", "\n", `checks[0].onInsufficient: ""`},
		"unknown variable":     {"{{.Workload}}", "{{.Deployment}}", "known variables: {{.Service}}"},
		"template out of form": {"{{.Workload}}", "{{.Workload", "checks[0].query: template"},
		"PromQL out of form":   {"histogram_quantile(0.99,", "histogram_quantile(0.99", "checks[1].query: not PromQL: "},
		"PromQL function typo": {"sum(rate(", "sum(rte(", "unknown function with name \"rte\""},
		"query that's missing": {"        samples: >-\n          sum(count_over_time(payments_worker_pool_in_use{namespace=\"{{.Namespace}}\",workload=\"{{.Workload}}\"}[{{.Window}}]))\n", "", "checks[2].samples: want a PromQL template"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := demo(t)
			edit(t, dir, c.old, c.replacement)
			_, err := Load(dir)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "payments-api.yaml")
		})
	}
}

func TestAllFaultsAreListedWithTheirLines(t *testing.T) {
	dir := demo(t)
	edit(t, dir, "weight: 50", "weight: 4")
	edit(t, dir, "group: risk, count: 1", "group: risk, count: 0")
	edit(t, dir, "max: 0.1", "max: 8")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ledger.yaml"), []byte("service: ledger\ncolour: red\n"), 0o600))
	_, err := Load(dir)
	for _, want := range []string{
		fmt.Sprintf("payments-api.yaml:%d: environments.staging.steps[1].weight", lineOf(t, dir, "weight: 4,")),
		"environments.prod.approval.groups[1].count",
		"environments.staging.checks[0].max",
		`ledger.yaml:2: unknown field "colour"`,
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestCatalogsThatAreNone(t *testing.T) {
	_, err := Load(t.TempDir())
	require.ErrorContains(t, err, "no .yaml files there")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty.yaml"), nil, 0o600))
	_, err = Load(dir)
	require.ErrorContains(t, err, "empty.yaml: it is empty")
}

func TestKeysOfOtherKindsAreRefused(t *testing.T) {
	dir := demo(t)
	writeKey(t, filepath.Join(dir, "keys", "tests.pub"), elliptic.P384())
	_, err := Load(dir)
	require.ErrorContains(t, err, "signers.tests[0].publicKey: want a key of ECDSA P-256")
}

// Whatever the steps are, those that pass give a ramp that only rises to 100.
func TestValidStepsRiseToAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		second := signals.Duration(time.Second)
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) signals.Step {
			return signals.Step{
				Phase:  rapid.SampledFrom([]signals.Phase{signals.Canary, signals.Ramp, signals.Bake}).Draw(t, "phase"),
				Weight: rapid.SampledFrom([]int32{-1, 0, 5, 25, 50, 100, 101}).Draw(t, "weight"),
				Window: signals.Window{Duration: second, Interval: second},
			}
		}), 0, 4).Draw(t, "steps")
		d := &document{name: "test", lines: map[string]int{}}
		d.validateSteps("steps", steps)
		valid := len(steps) > 0 && steps[0].Phase == signals.Canary && steps[len(steps)-1].Weight == 100
		for i, s := range steps {
			valid = valid && s.Weight >= 1 && s.Weight <= 100 && (s.Phase == signals.Canary || s.Phase == signals.Ramp)
			if i > 0 {
				valid = valid && s.Weight > steps[i-1].Weight && (s.Phase != signals.Canary || steps[i-1].Phase == signals.Canary)
			}
		}
		require.Equal(t, valid, len(d.faults) == 0, "%v: %v", steps, d.faults)
	})
}

// Bytes of any kind give a catalog or an error, never a panic.
func FuzzLoad(f *testing.F) {
	f.Add("service: a\nimages: &x [*x]\n")
	f.Add("a: &a [*a, *a]\n")
	f.Add("? {a: b}\n: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		var s service
		d := decodeStrict("fuzz.yaml", []byte(text), &s)
		if len(d.faults) == 0 {
			d.validateService("fuzz.yaml", s)
		}
	})
}
