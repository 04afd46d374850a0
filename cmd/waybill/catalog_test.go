package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkCatalog runs `waybill catalog check` on a catalog of one file.
func checkCatalog(t *testing.T, output, content string) (text string, status int, err error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app.yaml"), []byte(content), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ci.pub"), []byte(ciKey), 0o600))
	var out bytes.Buffer
	cmd := newCatalogCommand(&app{out: &out, output: output})
	cmd.SetArgs([]string{"check", dir})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return out.String(), exitCode(err), err
}

const ciKey = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

const appCatalog = `
service: app
owner: team
source: https://git.example/app
images: [registry.example/app]
signers: {signature: [{id: ci, publicKey: ci.pub}]}
environments:
  dev:
    tier: 0
    target: {cluster: local, namespace: app, stable: app, canary: app-canary, container: app, route: app, port: 80, canaryReplicas: 1, readyWithin: 1m}
    baseline: {duration: 1m, interval: 10s}
    steps:
      - {phase: canary, weight: 50, window: {duration: 1m, interval: 10s}}
      - {phase: ramp, weight: 100, window: {duration: 1m, interval: 10s}}
    bake: {duration: 1m, interval: 10s}
    limits: {queue: 30m}
`

func TestCatalogCheck(t *testing.T) {
	text, status, err := checkCatalog(t, outputTable, appCatalog)
	require.NoError(t, err)
	require.Zero(t, status)
	require.Regexp(t, `catalog sha256:\w{12}… is valid`, text)
	require.Regexp(t, `app\s+dev\s+0\s+50 100\s+0\s+0`, text)

	text, _, err = checkCatalog(t, outputJSON, appCatalog)
	require.NoError(t, err)
	var report catalogReport
	require.NoError(t, json.Unmarshal([]byte(text), &report))
	require.True(t, report.Valid)
	require.Equal(t, []catalogEntry{{Service: "app", Environment: "dev", Weights: []int32{50, 100}}}, report.Entries)
}

func TestCatalogCheckListsFaults(t *testing.T) {
	faulty := "colour: red\nsize: 1\n"
	_, status, err := checkCatalog(t, outputTable, faulty)
	require.Equal(t, exitUsage, status)
	require.ErrorContains(t, err, `app.yaml:1: unknown field "colour"`)
	require.ErrorContains(t, err, `app.yaml:2: unknown field "size"`)

	text, status, err := checkCatalog(t, outputJSON, faulty)
	require.Equal(t, exitUsage, status)
	require.Empty(t, err.Error(), "what there is to say has been said")
	var report catalogReport
	require.NoError(t, json.Unmarshal([]byte(text), &report))
	require.False(t, report.Valid)
	require.Len(t, report.Faults, 2)
}
