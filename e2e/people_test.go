package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// TestThreat20BreakGlassAbuse tries every way to use the emergency path for what
// it isn't for: nobody behind it, one person behind it, no review after it.
func TestThreat20BreakGlassAbuse(t *testing.T) {
	v := image(t, "v2")
	// Nobody proves who asks.
	forged := "forged-" + time.Now().UTC().Format("150405")
	r := temporal(t, "workflow", "start", "--type=Release", "--task-queue="+signals.ReleaseQueue, "--workflow-id="+forged,
		`--input={"service":"payments-api","environment":"prod","image":"`+v.Image+`","commit":"`+v.Commit+`","ticket":"INC-20","requestedBy":"on-call","breakGlass":"payments are failing"}`)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, signals.Rejected, outcome(t, forged).Kind)
	refusedByRelease(t, "prod", forged, "who asks")

	release := emergency(t, "on-call", v)
	t.Cleanup(func() {
		abortIfRunning(t, release)
		if t.Failed() { // or nobody else would get the lane
			waybill(t, "second-lead", "lane", "close-review", "prod", "payments-api", "--release="+release, "--reason=The test failed")
		}
	})
	asked := await(t, release, "being asked for approvals", func(s signals.Status) bool {
		return s.Phase == signals.Approving && s.Approval.Missing.People() == 2
	})
	require.WithinDuration(t, time.Now().Add(5*time.Minute), asked.Approval.Expires, time.Minute, "its time is short")
	// Who asks is in one of the groups, and doesn't count.
	r = waybill(t, "on-call", "approve", release, "--reason=I asked for it", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	refusedByRelease(t, "prod", release, "asked for this release")
	// One person does not fill both places.
	r = waybill(t, "release-lead", "approve", release, "--reason=Payments are failing", "--yes")
	require.Zero(t, r.code, r.stderr)
	r = waybill(t, "release-lead", "approve", release, "--reason=Once more", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	require.Equal(t, 1, status(t, release).Approval.Missing.People())
	r = waybill(t, "on-call-deputy", "approve", release, "--reason=Payments are failing", "--yes")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, signals.Promoted, outcome(t, release).Kind)
	escalated := false
	for _, m := range messages(t, "on-call", "") {
		escalated = escalated || m.Event["release"] == release && strings.Contains(m.Says, "Emergency")
	}
	require.True(t, escalated, "the people on call were told")

	// The review is due: nothing ordinary begins, and those who did it can't
	// close it.
	next := start(t, "prod", "v2")
	approve(t, next)
	s := await(t, next, "being kept out", func(s signals.Status) bool {
		return s.Phase == signals.Queueing && strings.Contains(s.Doing, "review")
	})
	require.Contains(t, s.Doing, release)
	began := time.Now().Add(-time.Second)
	for _, account := range []string{"on-call", "release-lead"} {
		r = waybill(t, account, "lane", "close-review", "prod", "payments-api", "--release="+release, "--reason=All is well")
		require.Equal(t, 3, r.code, r.stdout+r.stderr)
	}
	refusedByGateway(t, "review", began)
	r = waybill(t, "second-lead", "lane", "close-review", "prod", "payments-api", "--release="+release, "--reason=The fix was right; the alert is tuned")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, signals.Promoted, outcome(t, next).Kind)
	record(t, "break-glass", release)
	record(t, "lane-review", signals.LaneID("prod", "payments-api"))
	record(t, "journal", signals.JournalID)
}

// emergency starts a break-glass release of the version in prod.
func emergency(t *testing.T, account string, v version) string {
	t.Helper()
	r := waybill(t, account, "start", "--service=payments-api", "--environment=prod", "--image="+v.Image, "--commit="+v.Commit,
		"--ticket=INC-20", "--break-glass=payments are failing", "--output=json")
	require.Zero(t, r.code, r.stderr)
	var started struct {
		Release string `json:"release"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &started), r.stdout)
	return started.Release
}

// TestSlackIsCutOff takes Slack away in the middle of a release: it is approved
// through the API and ships; and when Slack is back, its one message tells how it
// ended, with nothing told twice.
func TestSlackIsCutOff(t *testing.T) {
	release, _ := waitingRelease(t)
	messageOf(t, release, "buttons", asksToDecide)
	slack := workspace()
	require.NoError(t, slack.Faults(t.Context(), slackemu.Faults{Down: signals.Duration(10 * time.Minute)}))
	t.Cleanup(func() { require.NoError(t, slack.Faults(context.WithoutCancel(t.Context()), slackemu.Faults{})) })
	approve(t, release)
	require.Equal(t, signals.Promoted, outcome(t, release).Kind, "nothing waited for Slack")
	require.NoError(t, slack.Faults(t.Context(), slackemu.Faults{LoseAnswers: 2, RateLimitEvery: 5}))
	m := messageOf(t, release, "its outcome", func(m slackemu.Message) bool { return strings.Contains(m.Says, "promoted") })
	require.NotContains(t, m.Buttons, buttonApprove)
	events := eventually(t, "outcome in the thread", func() (map[string]int, bool) {
		told := eventsTold(t, m)
		return told, told["outcome"] > 0
	})
	count := 0
	for _, other := range messages(t, releasesChannel, "") {
		if other.Thread == "" && other.Event["release"] == release {
			count++
		}
	}
	require.Equal(t, 1, count, "one message per release")
	require.Greater(t, len(events), 3, "what happened meanwhile was told later: %v", events)
	for event, n := range events {
		require.Equal(t, 1, n, "%s is told once", event)
	}
}

// eventsTold counts the events that were told below a release's message.
func eventsTold(t *testing.T, m slackemu.Message) map[string]int {
	t.Helper()
	told := map[string]int{}
	for _, reply := range messages(t, releasesChannel, m.TS) {
		var events []string
		if list, ok := reply.Event["events"].(string); ok {
			require.NoError(t, json.Unmarshal([]byte(list), &events))
		}
		for _, event := range events {
			told[event]++
		}
	}
	return told
}

// TestApproverLeaves voids the approval of somebody who leaves the group while
// the release waits for others.
func TestApproverLeaves(t *testing.T) {
	release, _ := waitingRelease(t)
	r := waybill(t, "release-lead", "approve", release, "--reason=Read and understood", "--yes")
	require.Zero(t, r.code, r.stderr)
	amend(t, "release-lead", oidcissuer.Standing{Groups: []string{}})
	t.Cleanup(func() {
		amend(t, "release-lead", oidcissuer.Standing{Groups: []string{"payments-leads"}})
		time.Sleep(6 * time.Second) // the stack's daemons believe the directory's last answer for 5 s
	})
	s := await(t, release, "the approval to fall", func(s signals.Status) bool {
		return len(s.Approval.Given) == 1 && s.Approval.Given[0].Void != ""
	})
	require.Contains(t, s.Approval.Given[0].Void, "no longer in group payments-leads")
	require.Equal(t, 2, s.Approval.Missing.People())
	void := predicatesWhenThere[signals.VoidPredicate](t, "prod", release, signals.RecordVoid)
	require.Contains(t, void[0].Changes[0].Reason, "payments-leads")
	for _, account := range []string{"second-lead", "risk-officer"} {
		decide(t, account, release)
	}
	awaitPhase(t, release, signals.Baseline)
	require.Equal(t, signals.Promoted, outcome(t, release).Kind)
	record(t, "approval-void", release)
}

// amend changes how an account stands at the local issuer's directory.
func amend(t *testing.T, account string, to oidcissuer.Standing) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(stack.dir, "keys", "issuer.json"))
	require.NoError(t, err)
	var secrets oidcissuer.Secrets
	require.NoError(t, json.Unmarshal(raw, &secrets))
	require.NoError(t, oidcissuer.Amend(context.WithoutCancel(t.Context()), stack.Issuer, secrets.Admin, account, to))
}

// TestOperatorsCommands pauses, resumes, extends, skips and rolls back a release
// as people on call would.
func TestOperatorsCommands(t *testing.T) {
	release, _ := waitingRelease(t)
	r := waybill(t, "on-call", "rollback", release, "--reason=Too early")
	require.Equal(t, exitConflict, r.code, "nothing was changed yet: %s", r.stderr)
	require.Contains(t, r.stderr, "approval", "the state is named")
	r = waybill(t, "developer", "pause", release, "--reason=I am no operator")
	require.Equal(t, 3, r.code, r.stderr)
	r = waybill(t, "on-call", "pause", release, "--reason=A deploy freeze nearby")
	require.Zero(t, r.code, r.stderr)
	approve(t, release)
	await(t, release, "being held", func(s signals.Status) bool { return s.Paused != "" && s.Approval.Missing.People() == 0 })
	r = waybill(t, "on-call", "resume", release, "--reason=It is over")
	require.Zero(t, r.code, r.stderr)
	await(t, release, "a window of the canary", func(s signals.Status) bool {
		n := len(s.Windows)
		return n > 0 && s.Windows[n-1].Phase == signals.Canary && s.Windows[n-1].Verdict == ""
	})
	r = waybill(t, "on-call", "extend", release, "--by=5s", "--reason=One more look")
	require.Zero(t, r.code, r.stderr)
	r = waybill(t, "on-call", "skip", release, "--reason=Seen enough", "--output=json")
	require.Zero(t, r.code, r.stderr)
	var receipt signals.Receipt
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &receipt))
	require.NotEmpty(t, receipt.Pending, "at tier 2 it takes two")
	r = waybill(t, "on-call", "approve", release, "--command="+receipt.Pending, "--reason=I approve myself", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	r = waybill(t, "release-lead", "approve", release, "--command="+receipt.Pending, "--reason=The window tells nothing more", "--yes")
	require.Zero(t, r.code, r.stderr)
	enter(t, release, signals.Ramp)
	r = waybill(t, "on-call", "rollback", release, "--reason=A partner calls")
	require.Zero(t, r.code, r.stderr)
	ended := outcome(t, release)
	require.Equal(t, signals.RolledBack, ended.Kind)
	require.Equal(t, "operator", ended.Rollback.Trigger)
	record(t, "operated", release)
	v := evidence(t, "verify")
	require.Zero(t, v.code, v.stdout+v.stderr)
}

// TestSlashCommands freezes a lane from Slack and asks what is under way.
func TestSlashCommands(t *testing.T) {
	release, _ := waitingRelease(t)
	typed := func(member, text string) string {
		seen, err := workspace().Type(t.Context(), slackemu.Slash{User: member, Channel: releasesChannel, Text: text})
		require.NoError(t, err)
		return said(seen)
	}
	require.Contains(t, typed("developer", "/waybill list"), release)
	require.Contains(t, typed("developer", "/waybill status "+release), "approval")
	require.Contains(t, typed("developer", "/waybill freeze payments-api staging for 2h I want to"), "may not")
	t.Cleanup(func() { // or no other test would get the lane
		waybill(t, "on-call", "lane", "unfreeze", "staging", "payments-api", "--reason=The test is over")
	})
	require.Contains(t, typed("on-call", "/waybill freeze payments-api staging for 2h A launch next door"), "no ordinary release begins")
	r := waybill(t, "ci", "lane", "staging", "payments-api")
	require.Contains(t, r.stdout, "A launch next door")
	typed("on-call", "/waybill unfreeze payments-api staging The launch is over")
	r = waybill(t, "ci", "lane", "staging", "payments-api")
	require.NotContains(t, r.stdout, "A launch next door")
}

// TestApprovedThroughSocketMode has a tier-2 release approved where no ingress is
// open: the gateway fetches clicks through a socket that it opened itself.
func TestApprovedThroughSocketMode(t *testing.T) {
	file := filepath.Join(stack.dir, "gateway.yaml")
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(before), "mode: http")
	slack := workspace()
	use := func(config string, sockets bool) {
		require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
		killGateway(t)
		require.NoError(t, slack.SocketMode(context.WithoutCancel(t.Context()), sockets))
	}
	use(strings.Replace(string(before), "mode: http", "mode: socket", 1), true)
	t.Cleanup(func() { use(string(before), false) })
	eventually(t, "socket", func() (slackemu.App, bool) {
		app, err := slack.App(t.Context())
		require.NoError(t, err)
		return app, app.Sockets > 0
	})
	release, _ := waitingRelease(t)
	require.Contains(t, said(decideInSlack(t, "release-lead", release, buttonApprove, "Read through a socket")), "approved")
	// Slack asks its apps to connect anew from time to time.
	require.NoError(t, slack.Disconnect(t.Context()))
	decide(t, "risk-officer", release)
	require.Equal(t, signals.Promoted, outcome(t, release).Kind)
	approvals := predicates[signals.ApprovalPredicate](t, "v1/prod/payments-api/"+release+"/", signals.RecordApproval)
	require.Equal(t, "slack", approvals[0].Statement.Authn.Channel)
}
