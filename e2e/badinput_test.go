package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// Exit statuses of the client; docs/cli.md has them all.
const (
	exitBadInput = 2
	exitConflict = 5
	exitRejected = 11
)

// startOf starts a release of a service under any name and returns its id.
func startOf(t *testing.T, service, environment, tag string) string {
	t.Helper()
	v := image(t, tag)
	var started struct {
		Release string `json:"release"`
	}
	r := waybill(t, "ci", "start", "--service="+service, "--environment="+environment, "--image="+v.Image, "--commit="+v.Commit,
		"--ticket=CHG-2002", "--output=json")
	require.Zero(t, r.code, r.stderr)
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &started), r.stdout)
	return started.Release
}

// TestBadRequests sends requests that must not ship, each by the client with
// --wait, as CI would. Whatever got as far as a release leaves a refusal in the
// bucket.
func TestBadRequests(t *testing.T) {
	good := image(t, "v2")
	repository, _, _ := strings.Cut(good.Image, "@")
	request := func(edit ...string) string {
		m := map[string]string{
			"service": "payments-api", "environment": "prod", "image": good.Image, "commit": good.Commit, "ticket": "CHG-2003",
		}
		for i := 0; i < len(edit); i += 2 {
			if m[edit[i]] = edit[i+1]; edit[i+1] == "" {
				delete(m, edit[i])
			}
		}
		b, err := json.Marshal(m)
		require.NoError(t, err)
		return string(b)
	}
	cases := map[string]struct {
		in   string
		code int
		says string
	}{
		"malformed JSON":                  {`{"service": "payments-api",`, exitBadInput, "JSON"},
		"unknown field":                   {request("tciket", "CHG-1"), exitBadInput, "tciket"},
		"short commit":                    {request("commit", "4f1c"), exitBadInput, "commit"},
		"unknown service":                 {request("service", "payment-api"), exitRejected, "payments-api"},
		"unknown environment":             {request("environment", "production"), exitRejected, "prod"},
		"tag where a digest is demanded":  {request("image", repository+":v2"), exitRejected, good.Digest},
		"tag without digest":              {request("image", repository+":v99", "environment", "staging"), exitRejected, "v99"},
		"digest not in the registry":      {request("image", repository+"@sha256:"+strings.Repeat("0", 64)), exitRejected, "sha256:0000"},
		"repository of somebody else":     {request("image", "registry.example/other@"+good.Digest), exitRejected, "registry.example/other"},
		"ticket missing":                  {request("ticket", ""), exitRejected, "ticket"},
		"ticket out of form":              {request("ticket", "please"), exitRejected, "please"},
		"commit of another build":         {request("commit", strings.Repeat("a", 40)), exitRejected, strings.Repeat("a", 40)},
		"provenance that does not fit it": {request("commit", image(t, "v1").Commit), exitRejected, good.Commit},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := waybillWith(t, "ci", c.in, "start", "--file=-", "--wait")
			require.Equal(t, c.code, r.code, "%s%s", r.stdout, r.stderr)
			require.Contains(t, r.stdout+r.stderr, c.says)
		})
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	v := image(t, "v2")
	args := []string{"start", "--service=payments-api", "--environment=prod", "--image=" + v.Image, "--commit=" + v.Commit,
		"--ticket=CHG-2004", "--id=payments-api-prod-twice-" + time.Now().UTC().Format("150405")}
	require.Zero(t, waybill(t, "ci", args...).code)
	second := waybill(t, "ci", args...)
	require.Equal(t, exitConflict, second.code, second.stderr)
	require.Contains(t, second.stderr, "payments-api-prod-twice")

	// A release of another id in the same lane waits its turn.
	first := start(t, "staging", "v1")
	enter(t, first, signals.Canary)
	queued := start(t, "staging", "v2")
	s := awaitPhase(t, queued, signals.Queueing)
	if s.Phase == signals.Queueing && s.Doing != "asking for the lane" {
		require.Contains(t, s.Doing, first)
	}
	require.Equal(t, signals.Promoted, outcome(t, first).Kind)
	require.Equal(t, signals.Promoted, outcome(t, queued).Kind)
}

// TestBadCatalog holds `waybill catalog check` against faults in the real file.
func TestBadCatalog(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(stack.dir, "catalog", "payments-api.yaml"))
	require.NoError(t, err)
	cases := map[string]struct{ replace, with, says string }{
		"typo in a field":             {"readyWithin:", "redyWithin:", "redyWithin"},
		"window of zero":              {"window: {duration: 4s", "window: {duration: 0s", "duration"},
		"threshold that can't be met": {"max: 0.1", "max: -0.01", "max"},
		"threshold nothing exceeds":   {"max: 0.1", "max: 1.5", "max"},
		"no unit":                     {"duration: 5s", "duration: 5", "unit"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.Contains(t, string(good), c.replace)
			require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(stack.dir, "catalog"))))
			file := filepath.Join(dir, "payments-api.yaml")
			require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(good), c.replace, c.with)), 0o600))
			r := waybill(t, "", "catalog", "check", dir)
			require.Equal(t, exitBadInput, r.code, "%s%s", r.stdout, r.stderr)
			require.Contains(t, r.stdout+r.stderr, c.says)
		})
	}
}
