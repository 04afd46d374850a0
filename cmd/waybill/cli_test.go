package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/signals"
)

// binary is the client as users get it; tests run it as a process.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "waybill-cli-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		defer apitest.StopTemporal()
		binary = filepath.Join(dir, "waybill")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the client: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// place is a gateway with the local issuer's accounts in front of it.
type place struct {
	t      *testing.T
	issuer *oidcissuer.Issuer
	*apitest.Gateway
	home string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	issuer, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	return &place{
		t: t, issuer: issuer, home: t.TempDir(),
		Gateway: apitest.Start(t, apitest.Options{Issuer: issuer.URL, ClientID: oidcissuer.ClientID}),
	}
}

type result struct {
	code        int
	out, errOut string
}

// command prepares the client to run as account; "" is nobody.
func (p *place) command(account string, args ...string) *exec.Cmd {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "WAYBILL_GATEWAY="+p.URL, "WAYBILL_HOME="+p.home, "WAYBILL_TOKEN=")
	if account != "" {
		token, err := p.issuer.Token(p.t.Context(), account)
		require.NoError(p.t, err)
		cmd.Env = append(cmd.Env, "WAYBILL_TOKEN="+token)
	}
	return cmd
}

func (p *place) run(account, stdin string, args ...string) result {
	p.t.Helper()
	return finish(p.t, p.command(account, args...), stdin)
}

func finish(t *testing.T, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

const commit = "4f1c0d2e3b4a59687766554433221100ffeeddcc"

func startArgs(reason string, more ...string) []string {
	return append([]string{"start", "--service", "payments-api", "--environment", "prod", "--image", "registry.example/payments-api:v2",
		"--commit", commit, "--ticket", "CHG-1042", "--reason", reason}, more...)
}

func (p *place) start(reason string) string {
	p.t.Helper()
	r := p.run("ci", "", startArgs(reason)...)
	require.Equal(p.t, 0, r.code, r.errOut)
	return strings.TrimSpace(r.out)
}

func TestBadInputHasAClearErrorAndItsExitStatus(t *testing.T) {
	p := newPlace(t)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	foreign := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	running := p.start("wait")
	taken := "taken-" + auth.Nonce()
	require.Equal(t, 0, p.run("ci", "", startArgs("wait", "--id", taken)...).code)

	for name, tc := range map[string]struct {
		account, stdin string
		args           []string
		code           int
		says           string
	}{
		"malformed JSON":        {"ci", `{"service":`, []string{"start", "-f", "-"}, 2, "not valid JSON"},
		"empty input":           {"ci", ``, []string{"start", "-f", "-"}, 2, "it is empty"},
		"unknown field":         {"ci", `{"servce":"payments-api"}`, []string{"start", "-f", "-"}, 2, `unknown field "servce"`},
		"file missing":          {"ci", "", []string{"start", "-f", "/nowhere.json"}, 2, "no such file"},
		"bad commit":            {"ci", "", append(startArgs("x"), "--commit", "abc"), 2, "want the full Git commit id"},
		"flags missing":         {"ci", "", []string{"start", "--service", "payments-api"}, 2, "--commit is needed"},
		"file and flags":        {"ci", "", []string{"start", "-f", "-", "--service", "x"}, 2, "can't be given together"},
		"unknown flag":          {"ci", "", []string{"start", "--colour"}, 2, "unknown flag"},
		"unknown command":       {"ci", "", []string{"lanch"}, 2, "unknown command"},
		"release not given":     {"ci", "", []string{"status"}, 2, "accepts 1 arg"},
		"bad output":            {"ci", "", []string{"list", "-o", "xml"}, 2, "want table or json"},
		"bad filter":            {"ci", "", []string{"list", "--outcome", "great"}, 2, "outcome"},
		"two starts at once":    {"ci", "", startArgs("wait", "--id", taken), 5, taken + " exists already"},
		"bad id":                {"ci", "", startArgs("wait", "--id", "a/b"), 2, `id "a/b"`},
		"gateway is down":       {"ci", "", []string{"list", "--gateway", dead.URL}, 7, "gateway can't be reached"},
		"not a gateway":         {"ci", "", []string{"list", "--gateway", foreign.URL}, 4, "404"},
		"gateway is no URL":     {"ci", "", []string{"list", "--gateway", "waybill"}, 2, "want a URL"},
		"not logged in":         {"", "", []string{"list"}, 3, "waybill login"},
		"token file missing":    {"ci", "", []string{"list", "--token-file", "/nowhere"}, 3, "no such file"},
		"no such release":       {"ci", "", []string{"status", "nothing"}, 4, `no release "nothing"`},
		"watch no such release": {"ci", "", []string{"watch", "nothing"}, 4, `no release "nothing"`},
		"no such lane":          {"ci", "", []string{"lane", "prod", "nothing"}, 4, "no such lane"},
		"approve without why":   {"release-lead", "", []string{"approve", running}, 2, "--reason is needed"},
		"approve unseen":        {"release-lead", "y\n", []string{"approve", running, "--reason", "ok"}, 2, "no terminal"},
		"another plan":          {"release-lead", "", []string{"approve", running, "--reason", "ok", "--plan-digest", signals.Digest(nil)}, 5, "not " + signals.Digest(nil)},
		"not an approver":       {"developer", "", []string{"approve", running, "--reason", "ok", "--yes"}, 3, "not in payments-leads"},
		"not an operator":       {"developer", "", []string{"abort", running, "--reason", "no"}, 3, "may not abort"},
		"abort without why":     {"on-call", "", []string{"abort", running}, 2, "--reason is needed"},
		"nothing to retry":      {"on-call", "", []string{"retry", running, "--reason", "again"}, 5, "no undo has failed"},
		"extend by nothing":     {"on-call", "", []string{"extend", running, "--reason", "x"}, 2, "--by is needed"},
		"pause without why":     {"on-call", "", []string{"pause", running}, 2, "--reason is needed"},
		"withdraw without why":  {"release-lead", "", []string{"withdraw", running}, 2, "--reason is needed"},
		"freeze by nobody":      {"developer", "", []string{"lane", "freeze", "prod", "payments-api", "--reason", "x"}, 3, "may not freeze"},
		"freeze into the past":  {"on-call", "", []string{"lane", "freeze", "prod", "payments-api", "--reason", "x", "--for", "-1h"}, 2, "--for"},
		"review of nothing":     {"on-call", "", []string{"lane", "close-review", "prod", "payments-api", "--reason", "x"}, 2, "--release is needed"},
		"freeze half a lane":    {"on-call", "", []string{"lane", "freeze", "prod", "--reason", "x"}, 2, "accepts 2 arg"},
		"emergency in a file":   {"ci", "", []string{"start", "-f", "-", "--break-glass", "x"}, 2, "can't be given together"},
		"status while running":  {"ci", "", []string{"status", running, "--exit-code"}, 1, "still running"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.run(tc.account, tc.stdin, tc.args...)
			assert.Equal(t, tc.code, r.code, r.errOut)
			assert.Contains(t, r.errOut, tc.says)
			assert.NotContains(t, r.errOut, "goroutine")
		})
	}
}

func TestATokenOfAnotherIssuerIsRefused(t *testing.T) {
	p := newPlace(t)
	other, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	token, err := other.Token(t.Context(), "ci")
	require.NoError(t, err)
	cmd := p.command("", "list")
	cmd.Env = append(cmd.Env, "WAYBILL_TOKEN="+token)
	r := finish(t, cmd, "")
	assert.Equal(t, 3, r.code)
	assert.Contains(t, r.errOut, "not among the accepted issuers")
}

func TestStartWaitsAndExitsByOutcome(t *testing.T) {
	p := newPlace(t)
	for _, tc := range []struct {
		name string
		act  []string // account and its command, run once the release waits
		code int
	}{
		{"promoted", []string{"release-lead", "approve"}, 0},
		{"denied", []string{"release-lead", "deny"}, 12},
		{"aborted", []string{"on-call", "abort"}, 14},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := tc.name + "-" + auth.Nonce()
			cmd := p.command("ci", startArgs("wait", "--id", id, "--wait", "-o", "json")...)
			var out bytes.Buffer
			cmd.Stdout = &out
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool { return p.run("ci", "", "status", id).code == 0 }, 20*time.Second, 100*time.Millisecond)
			act := p.run(tc.act[0], "", append([]string{tc.act[1], id, "--reason", "as the test says"}, yes(tc.act[1])...)...)
			require.Equal(t, 0, act.code, act.errOut)
			_ = cmd.Wait()
			assert.Equal(t, tc.code, cmd.ProcessState.ExitCode())
			var ended wire.Ended
			require.NoError(t, json.Unmarshal(out.Bytes(), &ended), out.String())
			assert.Equal(t, signals.OutcomeKind(tc.name), ended.Outcome.Kind)
			assert.Equal(t, tc.code, p.run("ci", "", "status", id, "--exit-code").code)
			assert.Equal(t, tc.code, p.run("ci", "", "watch", id).code)
		})
	}
	failed := p.run("ci", "", startArgs(apitest.ReasonFail, "--wait")...)
	assert.Equal(t, signals.ExitFailed, failed.code)
	assert.Contains(t, failed.out, "stable could not be restored")
}

func yes(verb string) []string {
	if verb == "abort" {
		return nil
	}
	return []string{"--yes"}
}

func TestOperatorsCommandAndSomebodyElseApproves(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	for _, step := range []struct {
		account string
		args    []string
		says    string
	}{
		{"on-call", []string{"pause", id, "--reason", "lunch"}, "paused before the next step"},
		{"ci", []string{"status", id}, "paused by on-call: lunch"},
		{"on-call", []string{"resume", id, "--reason", "back"}, "goes on"},
		{"on-call", []string{"extend", id, "--by", "10m", "--reason", "look longer"}, "10m0s longer"},
		{"on-call", []string{"skip", id, "--reason", "known noise"}, "waybill approve " + id + " --command "},
		{"ci", []string{"status", id}, "waits for approval: skip by on-call: “known noise”"},
	} {
		r := p.run(step.account, "", step.args...)
		require.Equal(t, 0, r.code, r.errOut)
		require.Contains(t, r.out, step.says)
	}
	var status wire.Release
	require.NoError(t, json.Unmarshal([]byte(p.run("ci", "", "status", id, "-o", "json").out), &status))
	require.Len(t, status.Pending, 1)
	r := p.run("release-lead", "", "approve", id, "--command", status.Pending[0].ID, "--reason", "agreed", "--yes")
	require.Equal(t, 0, r.code, r.errOut)
	assert.Contains(t, r.out, "the command is approved")
	assert.Contains(t, r.errOut, "known noise", "what is approved is shown")
	r = p.run("release-lead", "", "withdraw", id, "--reason", "on second thoughts", "--yes")
	require.Equal(t, 0, r.code, r.errOut)
	r = p.run("on-call", "", "rollback", id, "--reason", "bad")
	require.Equal(t, 0, r.code, r.errOut)
	assert.Equal(t, 10, p.run("ci", "", "watch", id).code)
}

func TestALaneIsFrozenAndThawed(t *testing.T) {
	p := newPlace(t)
	service := "svc-" + auth.Nonce()[:8]
	r := p.run("on-call", "", "lane", "freeze", "prod", service, "--for", "2h", "--reason", "quarter end")
	require.Equal(t, 0, r.code, r.errOut)
	assert.Regexp(t, `frozen by on-call until 2\d{3}-.*“quarter end”`, p.run("ci", "", "lane", "prod", service).out)
	require.Equal(t, 0, p.run("on-call", "", "lane", "unfreeze", "prod", service, "--reason", "over").code)
	assert.NotContains(t, p.run("ci", "", "lane", "prod", service).out, "frozen")
	r = p.run("on-call", "", "lane", "close-review", "prod", service, "--release", "r-1", "--reason", "read it")
	assert.Equal(t, 5, r.code)
	assert.Contains(t, r.errOut, "no review of r-1 is due")
}

func TestAStepUpLeadsToThePage(t *testing.T) {
	p := newPlace(t)
	id := p.start(apitest.ReasonStepUp)
	r := p.run("release-lead", "", "approve", id, "--reason", "read it", "--yes")
	assert.Equal(t, 3, r.code)
	assert.Contains(t, r.errOut, p.URL+"/decide/"+id)
	assert.Contains(t, r.errOut, "fresh login")
}

func TestApproveShowsWhatShips(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	r := p.run("release-lead", "", "approve", id, "--reason", "read it", "--plan-digest", apitest.PlanDigest)
	require.Equal(t, 0, r.code, r.errOut)
	for _, want := range []string{apitest.PlanDigest, signals.PlainDigest(apitest.PlanDigest), "developer@payments.example (author)", commit, "registry.example/payments-api@sha256:", "CHG-1042"} {
		assert.Contains(t, r.errOut, want)
	}
}

func TestWatchTellsInLinesWithoutATerminal(t *testing.T) {
	p := newPlace(t)
	id := p.start(apitest.ReasonWatch)
	cmd := p.command("ci", "watch", id)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var seen []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), "errors pass") {
			require.Equal(t, 0, p.run("on-call", "", "abort", id, "--reason", "seen enough").code)
		}
	}
	_ = cmd.Wait()
	assert.Equal(t, 14, cmd.ProcessState.ExitCode(), strings.Join(seen, "\n"))
	assert.Contains(t, strings.Join(seen, "\n"), "aborted")
}

func TestWatchOutlivesAWorkerThatIsReplaced(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	cmd := p.command("ci", "watch", id)
	var errs bytes.Buffer
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p.StopWorker()
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		errs.WriteString(lines.Text())
		if strings.Contains(lines.Text(), "waiting for it to come back") {
			break
		}
	}
	p.StartWorker(t)
	// A decision is not repeated by the client: until the new worker answers, it
	// says that nobody does.
	require.Eventually(t, func() bool {
		return p.run("release-lead", "", "approve", id, "--reason", "back", "--yes").code == 0
	}, time.Minute, 100*time.Millisecond)
	_ = cmd.Wait()
	assert.Equal(t, 0, cmd.ProcessState.ExitCode(), errs.String())
}

func TestLoginKeepsATokenThatOnlyItsOwnerCanRead(t *testing.T) {
	p := newPlace(t)
	cmd := p.command("", "login", "-o", "json")
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	code := regexp.MustCompile(`the code (\S+)`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := code.FindStringSubmatch(lines.Text()); m != nil {
			require.NoError(t, p.issuer.ApproveDevice(ctx, m[1], "release-lead"))
		}
	}
	require.NoError(t, cmd.Wait())
	var who wire.Whoami
	require.NoError(t, json.Unmarshal(out.Bytes(), &who))
	assert.Equal(t, "release-lead", who.Subject.ID)
	assert.Equal(t, "cli", who.Authn.Channel)

	info, err := os.Stat(filepath.Join(p.home, "credentials.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	r := p.run("", "", "whoami")
	assert.Equal(t, 0, r.code, r.errOut)
	assert.Contains(t, r.out, "payments-leads")
	require.Equal(t, 0, p.run("", "", "logout").code)
	assert.Equal(t, 3, p.run("", "", "whoami").code)
	left, err := os.ReadFile(filepath.Join(p.home, "credentials.json"))
	require.NoError(t, err)
	assert.NotContains(t, string(left), "access_token")
}

func TestListAndVersionInBothForms(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	require.Eventually(t, func() bool { return strings.Contains(p.run("ci", "", "list", "--service", "payments-api").out, id) }, 20*time.Second, 200*time.Millisecond)
	var page wire.List
	require.NoError(t, json.Unmarshal([]byte(p.run("ci", "", "list", "-o", "json").out), &page))
	assert.NotEmpty(t, page.Releases)
	var v map[string]string
	require.NoError(t, json.Unmarshal([]byte(p.run("", "", "version", "-o", "json").out), &v))
	assert.NotEmpty(t, v["version"])
}
