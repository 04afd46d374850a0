package catalog

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

const ledger = `service: ledger
owner: ledger-leads
source: https://git.example/ledger
images: ["registry.example/ledger"]
signers:
  signature: [{id: ci, publicKey: keys/ci.pub}]
  provenance: [{id: builder, publicKey: keys/builder.pub}]
  tests: [{id: tests, publicKey: keys/tests.pub}]
  source: [{id: source, publicKey: ./keys/source.pub}]
builder: https://ci.example/builder
environments:
  prod:
    tier: 2
    target: {cluster: c, namespace: n, stable: s, canary: k, container: app, route: r, port: 80, canaryReplicas: 1, readyWithin: 1m}
    baseline: {duration: 5m, interval: 10s}
    steps:
      - {phase: canary, weight: 5, window: {duration: 5m, interval: 10s}}
      - {phase: ramp, weight: 100, window: {duration: 5m, interval: 10s}}
    bake: {duration: 1h, interval: 10s}
    approval:
      groups:
        - {group: ledger-leads, count: 1}
        - {group: risk, count: 1, stepUp: {acr: [phr], maxAge: 5m}}
    limits: {approval: 4h, queue: 30m, approvalValid: 24h, recheck: 30s}
    roles:
      release: [ci]
      operate: [ledger-oncall, ledger-leads]
    notify: {channel: "#ledger", escalation: C024BE91L, remind: [1h, 15m]}
    breakGlass:
      approval:
        groups: [{group: ledger-oncall, count: 1}, {group: risk, count: 1}]
      limits: {approval: 20m}
      baseline: {duration: 1m, interval: 10s}
      steps: [{phase: canary, weight: 10, window: {duration: 1m, interval: 10s}}, {phase: ramp, weight: 100, window: {duration: 1m, interval: 10s}}]
      bake: {duration: 5m, interval: 10s}
      reviewWithin: 24h
    checks:
      - {name: errors, kind: error-ratio, query: a, samples: b, max: 0.1, minSamples: 1, onInsufficient: rollback, onOutage: rollback}
`

// ledgerDir writes the catalog, with the first old replaced, and its keys.
func ledgerDir(t *testing.T, old, replacement string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"ci", "builder", "tests", "source"} {
		writeKey(t, filepath.Join(dir, "keys", name+".pub"), elliptic.P256())
	}
	require.Contains(t, ledger, old)
	writeFile(t, dir, "ledger.yaml", strings.Replace(ledger, old, replacement, 1))
	return dir
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func TestPeopleOfAnEnvironment(t *testing.T) {
	c, err := Load(ledgerDir(t, "", ""))
	require.NoError(t, err)
	prod, err := c.Entry("ledger", "prod")
	require.NoError(t, err)
	minute := signals.Duration(time.Minute)
	require.Equal(t, &signals.Roles{Release: []string{"ci"}, Operate: []string{"ledger-oncall", "ledger-leads"}}, prod.Roles)
	require.Equal(t, &signals.Notify{Channel: "#ledger", Escalation: "C024BE91L", Remind: []signals.Duration{60 * minute, 15 * minute}}, prod.Notify)
	require.Nil(t, prod.Approval.Groups[0].StepUp)
	require.Equal(t, &signals.StepUp{ACR: []string{"phr"}, MaxAge: 5 * minute}, prod.Approval.Groups[1].StepUp)
	require.Equal(t, signals.Limits{Approval: 240 * minute, Queue: 30 * minute, ApprovalValid: 1440 * minute, Recheck: minute / 2}, prod.Limits)
	require.Equal(t, 2, prod.BreakGlass.Approval.People())
	require.Equal(t, 20*minute, prod.BreakGlass.Limits.Approval)
	require.Equal(t, 1440*minute, prod.BreakGlass.ReviewWithin)
	require.Equal(t, int32(10), prod.BreakGlass.Steps[0].Weight)
	require.Equal(t, minute, prod.BreakGlass.Baseline.Duration)
	require.Empty(t, prod.ConfigAuthors)

	demoEntry, err := Load(demo(t))
	require.NoError(t, err)
	staging, err := demoEntry.Entry("payments-api", "staging")
	require.NoError(t, err)
	require.Nil(t, staging.BreakGlass, "what is left out stays out of the plan")
}

func TestFaultsAboutPeople(t *testing.T) {
	for name, c := range map[string]struct{ old, replacement, says string }{
		"channel without #":      {`"#ledger"`, "ledger", `ledger.yaml:28: environments.prod.notify.channel: "ledger": want a channel's name with #`},
		"channel missing":        {`channel: "#ledger", `, "", `notify.channel: ""`},
		"channel in capitals":    {`"#ledger"`, `"#Ledger"`, `notify.channel: "#Ledger"`},
		"escalation out of form": {"C024BE91L", "somewhere", `notify.escalation: "somewhere"`},
		"reminder of no time":    {"15m]", "0s]", "notify.remind[1]: 0s: want how long before"},
		"reminder too early":     {"[1h,", "[4h,", "notify.remind[0]: 4h0m0s: want less than limits.approval, 4h0m0s"},
		"reminders backwards":    {"[1h, 15m]", "[15m, 1h]", "notify.remind[1]: 1h0m0s: want less than the one before"},
		"step-up of no age":      {"acr: [phr], maxAge: 5m", "acr: [phr]", "ledger.yaml:23: environments.prod.approval.groups[1].stepUp.maxAge: 0s: want how old"},
		"empty acr":              {"[phr]", `[""]`, "stepUp.acr[0]: want the name"},
		"unknown step-up field":  {"acr:", "amr:", `stepUp: unknown field "amr"; did you mean "acr"?`},
		"role out of form":       {"release: [ci]", `release: ["c i"]`, `roles.release[0]: "c i": want a group's name`},
		"role twice":             {"[ledger-oncall, ledger-leads]", "[ledger-oncall, ledger-oncall]", `roles.operate[1]: "ledger-oncall" stands twice`},
		"negative validity":      {"approvalValid: 24h", "approvalValid: -1h", "limits.approvalValid: -1h0m0s"},
		"recheck without pause":  {"recheck: 30s", "recheck: 10ms", "limits.recheck: 10ms: want at least 1s"},

		"emergency by one person":     {"{group: ledger-oncall, count: 1}, ", "", "breakGlass.approval: an emergency is approved by at least two people from two groups; found 1 from 1"},
		"emergency by one group":      {"[{group: ledger-oncall, count: 1}, {group: risk, count: 1}]", "[{group: risk, count: 2}]", "found 2 from 1"},
		"emergency group twice":       {"[{group: ledger-oncall,", "[{group: risk,", `breakGlass.approval.groups[1].group: "risk" stands twice`},
		"emergency without end":       {"limits: {approval: 20m}", "limits: {}", "breakGlass.limits.approval: 0s: want how long"},
		"emergency that lasts longer": {"limits: {approval: 20m}", "limits: {approval: 5h}", "breakGlass.limits.approval: 5h0m0s: want at most the ordinary limits.approval, 4h0m0s"},
		"emergency unwatched":         {"baseline: {duration: 1m, ", "baseline: {duration: 0s, ", "breakGlass.baseline.duration: 0s"},
		"emergency all at once":       {"weight: 10,", "weight: 100,", "breakGlass.steps[1].weight: 100: want more than the step before"},
		"emergency without bake":      {"      bake: {duration: 5m, interval: 10s}\n", "", "breakGlass.bake.duration: 0s"},
		"emergency without review":    {"      reviewWithin: 24h\n", "", "breakGlass.reviewWithin: 0s: want when the review is due"},
		"emergency queue":             {"limits: {approval: 20m}", "limits: {approval: 20m, queue: 1m}", `breakGlass.limits: unknown field "queue"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(ledgerDir(t, c.old, c.replacement))
			require.ErrorContains(t, err, c.says)
		})
	}
}

const authors = `{"files": {
  "ledger.yaml": [{"name": "Release lead", "email": "release-lead@ledger.example"}, {"email": "developer@ledger.example", "login": "developer"}],
  "keys/source.pub": [{"login": "ci-admin"}, {"email": "developer@ledger.example", "login": "developer"}],
  "other.yaml": [{"login": "somebody"}]
}}`

func TestAuthorsOfTheConfiguration(t *testing.T) {
	dir := ledgerDir(t, "", "")
	before, err := Load(dir)
	require.NoError(t, err)
	writeFile(t, dir, AuthorsFile, authors)
	c, err := Load(dir)
	require.NoError(t, err)
	entry, err := c.Entry("ledger", "prod")
	require.NoError(t, err)
	require.Equal(t, []signals.Contributor{
		{Login: "ci-admin"},
		{Email: "developer@ledger.example", Login: "developer"},
		{Name: "Release lead", Email: "release-lead@ledger.example"},
	}, entry.ConfigAuthors, "of the entry and of the keys that it names")

	require.NotEqual(t, before.Digest(), c.Digest())
	writeFile(t, dir, AuthorsFile, strings.Replace(authors, "Release lead", "Lead", 1))
	other, err := Load(dir)
	require.NoError(t, err)
	require.NotEqual(t, c.Digest(), other.Digest())
}

func TestAuthorsFilesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"not JSON":      {"{", "unexpected EOF; make it again with: waybill attest authors"},
		"unknown field": {`{"file": {}}`, `unknown field "file"`},
		"more data":     {authors + authors, "data after the JSON object"},
		"nobody":        {`{"files": {"ledger.yaml": []}}`, "ledger.yaml has no author"},
		"name alone":    {`{"files": {"ledger.yaml": [{"name": "Lead"}]}}`, `author "Lead" has neither e-mail address nor login`},
		"file left out": {`{"files": {}}`, "authors.json names no author of it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := ledgerDir(t, "", "")
			writeFile(t, dir, AuthorsFile, c.text)
			_, err := Load(dir)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// FuzzParseAuthors gives authors that keep somebody out, or an error.
func FuzzParseAuthors(f *testing.F) {
	f.Add([]byte(authors))
	f.Add([]byte(`{"files": {"a": [{}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseAuthors(text)
		if err != nil {
			return
		}
		for file := range a.Files {
			require.NotEmpty(t, a.Of(file))
		}
		for _, c := range a.All() {
			require.NotEmpty(t, c.Email+c.Login)
		}
	})
}
