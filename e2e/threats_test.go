package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// The threats of docs/threat-model.md that people could use, each mounted by its
// number against the running gateway and workflow, each defeated, and each
// leaving a refusal in the bucket.

// waiting starts a release in prod that waits for approvals, and ends it with the
// test.
func waitingRelease(t *testing.T) (release string, s signals.Status) {
	t.Helper()
	release = start(t, "prod", "v2")
	s = await(t, release, "being asked for approvals", func(s signals.Status) bool {
		return s.Phase == signals.Approving && len(s.Approval.Missing.Groups) > 0
	})
	t.Cleanup(func() { abortIfRunning(t, release) })
	return release, s
}

// abortIfRunning frees the lane for the next test.
func abortIfRunning(t *testing.T, release string) {
	t.Helper()
	r := waybill(t, "on-call", "abort", release, "--reason=The test is over")
	if r.code != exitConflict {
		require.Zero(t, r.code, r.stderr)
	}
	outcomeOfAnyRun(t, release)
}

func about(release string, s signals.Status, decision signals.Decision) map[string]string {
	return map[string]string{"release": release, "run": s.Run, "planDigest": s.PlanDigest, "decision": string(decision)}
}

// nobodyApproved holds that an attack has not counted.
func nobodyApproved(t *testing.T, release string) {
	t.Helper()
	s := status(t, release)
	require.Equal(t, signals.Approving, s.Phase)
	require.Empty(t, s.Approval.Given)
}

func TestThreat1ForgedSlackRequest(t *testing.T) {
	release, s := waitingRelease(t)
	began := time.Now().Add(-time.Second)
	secret := signingSecret(t)
	body := submission(t, "release-lead", "V0FORGED", about(release, s, signals.Approve), "looks good")

	require.Equal(t, http.StatusUnauthorized, postToSlackEndpoint(t, "/slack/interactions", body, "guessed", time.Now()))
	refusedByGateway(t, "not by the app's signing secret", began)
	require.Equal(t, http.StatusUnauthorized, postSigned(t, "/slack/interactions", body, strconv.FormatInt(time.Now().Unix(), 10), ""))
	refusedByGateway(t, "it is not signed", began)
	// Signed as it should be, and then changed: an approval made out of a denial.
	denial := submission(t, "release-lead", "V0FORGED", about(release, s, signals.Deny), "looks bad")
	require.Equal(t, http.StatusUnauthorized, postSigned(t, "/slack/interactions", body, strconv.FormatInt(time.Now().Unix(), 10), signatureOf(secret, denial, time.Now())))
	// Slack's signature does not make up for a foreign workspace or another app.
	foreign := strings.ReplaceAll(body, "T0PAYMENTS", "T0PARTNER")
	require.Equal(t, http.StatusForbidden, postToSlackEndpoint(t, "/slack/interactions", foreign, secret, time.Now()))
	refusedByGateway(t, "T0PARTNER", began)
	another := strings.ReplaceAll(body, "A0WAYBILL", "A0ANOTHER")
	require.Equal(t, http.StatusForbidden, postToSlackEndpoint(t, "/slack/interactions", another, secret, time.Now()))
	refusedByGateway(t, "A0ANOTHER", began)
	nobodyApproved(t, release)
}

func TestThreat2ReplayedClick(t *testing.T) {
	release, s := waitingRelease(t)
	began := time.Now().Add(-time.Second)
	secret := signingSecret(t)
	// What somebody overheard: a genuine click of the release lead.
	body := submission(t, "release-lead", "V0OVERHEARD", about(release, s, signals.Approve), "I have read it")
	require.Equal(t, http.StatusOK, postToSlackEndpoint(t, "/slack/interactions", body, secret, time.Now()))
	await(t, release, "one approval", func(s signals.Status) bool { return len(s.Approval.Given) == 1 })
	// The person thinks better of it; the click is sent once more.
	r := waybill(t, "release-lead", "withdraw", release, "--reason=I want to look again", "--yes")
	require.Zero(t, r.code, r.stderr)
	postToSlackEndpoint(t, "/slack/interactions", body, secret, time.Now())
	refusedByRelease(t, "prod", release, "nonce was used before")
	// An old one isn't even looked at.
	require.Equal(t, http.StatusUnauthorized, postToSlackEndpoint(t, "/slack/interactions", body, secret, time.Now().Add(-6*time.Minute)))
	refusedByGateway(t, "it is taken for at most 5m0s", began)
	s = status(t, release)
	require.Equal(t, 2, s.Approval.Missing.People(), "nothing counts after all that")
}

func TestThreat3SecondAccount(t *testing.T) {
	release, _ := waitingRelease(t)
	began := time.Now().Add(-time.Second)
	// The author of the commit has a second account, in the group that approves.
	seen := decideInSlack(t, "developer-second", release, buttonApprove, "I am somebody else")
	require.Contains(t, said(seen), "wrote the change")
	refusedByRelease(t, "prod", release, "wrote the change")
	r := waybill(t, "developer-second", "approve", release, "--reason=By the API, then", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	// Accounts that are nobody's.
	for member, says := range map[string]string{
		"contractor": "guest", "left-company": "deactivated", "unconfirmed": "confirmed", "stranger": "workspace", "build-bot": "bot",
	} {
		m := messageOf(t, release, "buttons", asksToDecide)
		seen, err := workspace().Click(t.Context(), slackemu.Click{User: member, Channel: m.Channel, TS: m.TS, Button: buttonApprove})
		require.NoError(t, err, member)
		require.True(t, seen.View == nil || len(seen.View.Inputs) == 0, "%s gets nothing to decide with: %+v", member, seen.View)
		refusedByGateway(t, says, began)
	}
	nobodyApproved(t, release)
}

func TestThreat4SlackAccountTakenOver(t *testing.T) {
	release, s := waitingRelease(t)
	// Slack shows the risk officer a link and no button; whoever has the account
	// makes the request by hand.
	body := submission(t, "risk-officer", "V0TAKEN", about(release, s, signals.Approve), "trust me")
	require.Equal(t, http.StatusOK, postToSlackEndpoint(t, "/slack/interactions", body, signingSecret(t), time.Now()))
	refusedByRelease(t, "prod", release, "login")
	// Nor does a login without the second factor do.
	r := waybill(t, "risk-officer", "approve", release, "--reason=With the password alone", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	require.Contains(t, r.stderr, "/decide/"+release, "it says where to go")
	nobodyApproved(t, release)
}

func TestThreat5TagMovedAfterVerification(t *testing.T) {
	good, unsigned := image(t, "v2"), image(t, "v5")
	repository, _, _ := strings.Cut(good.Image, "@")
	tag := repository + ":threat5"
	retag := func(v version) {
		require.NoError(t, crane.Copy(v.Image, tag, crane.Insecure, crane.WithContext(t.Context())))
	}
	retag(good)
	input := fmt.Sprintf(`{"service":"payments-api","environment":"staging","image":%q,"commit":%q,"ticket":"CHG-2050"}`, tag, good.Commit)
	code, answer := api(t, "ci", http.MethodPost, "/v1/releases?id=threat5-"+time.Now().UTC().Format("150405"), input)
	require.Equal(t, http.StatusAccepted, code, "%s", answer)
	var started struct {
		Release string `json:"release"`
	}
	require.NoError(t, json.Unmarshal(answer, &started))
	awaitPhase(t, started.Release, signals.Baseline)
	retag(unsigned)
	ended := outcome(t, started.Release)
	require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
	require.Equal(t, good.Digest, ended.Artifact.Digest)
	require.Contains(t, stableImage(t, "staging"), good.Digest, "what was verified is what runs")
	// What the tag names now does not get in.
	code, answer = api(t, "ci", http.MethodPost, "/v1/releases?id=threat5b-"+time.Now().UTC().Format("150405"), input)
	require.Equal(t, http.StatusAccepted, code, "%s", answer)
	require.NoError(t, json.Unmarshal(answer, &started))
	require.Equal(t, signals.Rejected, outcome(t, started.Release).Kind)
	refusedByRelease(t, "staging", started.Release, "signature")
}

func TestThreat6PlanChangedAfterApproval(t *testing.T) {
	release, s := waitingRelease(t)
	other, o := waitingRelease(t)
	began := time.Now().Add(-time.Second)
	// An approval of another plan, by the API and by a click.
	code, answer := api(t, "release-lead", http.MethodPost, "/v1/releases/"+release+"/approvals",
		fmt.Sprintf(`{"decision":"approve","reason":"I read another plan","planDigest":%q}`, o.PlanDigest))
	require.Equal(t, http.StatusConflict, code, "%s", answer)
	refusedByGateway(t, "plan", began)
	mixed := about(release, s, signals.Approve)
	mixed["planDigest"] = o.PlanDigest
	postToSlackEndpoint(t, "/slack/interactions", submission(t, "release-lead", "V0MIXED", mixed, "the other one"), signingSecret(t), time.Now())
	nobodyApproved(t, release)
	// A genuine envelope for one release, carried over to another.
	r := waybill(t, "release-lead", "approve", other, "--reason=This one only", "--yes")
	require.Zero(t, r.code, r.stderr)
	await(t, other, "its approval", func(s signals.Status) bool { return len(s.Approval.Given) == 1 })
	genuine := predicatesWhenThere[signals.ApprovalPredicate](t, "prod", other, signals.RecordApproval)[0].Envelope
	deliver(t, release, genuine)
	refusedByRelease(t, "prod", release, "it was signed for release")
	nobodyApproved(t, release)
}

func TestThreat7SentStraightToTemporal(t *testing.T) {
	release, s := waitingRelease(t)
	statement := signals.ApprovalStatement{
		Binding: signals.Binding{
			Release: release, Run: s.Run, PlanDigest: s.PlanDigest, Nonce: "made-up", IssuedAt: time.Now().UTC(), ExpiresAt: time.Now().Add(time.Hour).UTC(),
		},
		Decision: signals.Approve, Reason: "I can write to the namespace",
		Approver: signals.Subject{Issuer: stack.Issuer, ID: "release-lead", Groups: []string{"payments-leads"}},
		Authn:    signals.Authentication{Method: "oidc", Channel: "api"},
	}
	payload, err := json.Marshal(statement)
	require.NoError(t, err)
	deliver(t, release, signals.Envelope{
		PayloadType: signals.ApprovalPayload, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []signals.EnvelopeSignature{{KeyID: "gateway-1", Sig: base64.StdEncoding.EncodeToString([]byte("not a signature"))}},
	})
	refusedByRelease(t, "prod", release, "does not verify")
	r := temporal(t, "workflow", "signal", "--workflow-id="+release, "--name=approval", `--input={"approved": true, "by": "release-lead"}`)
	require.Zero(t, r.code, r.stderr)
	refusedByRelease(t, "prod", release, "no signature")
	nobodyApproved(t, release)
}

// TestThreat8ResetReplaysApprovals resets a release that has one of its two
// approvals, so that what was approved would count in another run as well. That a
// release reset in the middle of its delivery ships nothing is
// TestResetReleaseDoesNotShipOnOldApprovals.
func TestThreat8ResetReplaysApprovals(t *testing.T) {
	before := stableImage(t, "prod")
	release, s := waitingRelease(t)
	r := waybill(t, "release-lead", "approve", release, "--reason=This run", "--yes")
	require.Zero(t, r.code, r.stderr)
	approval := predicatesWhenThere[signals.ApprovalPredicate](t, "prod", release, signals.RecordApproval)[0]
	require.Equal(t, s.Run, approval.Statement.Run, "it is bound to the run")
	r = temporal(t, "workflow", "reset", "--workflow-id="+release, "--type=LastWorkflowTask", "--reason=drill")
	require.Zero(t, r.code, r.stderr)
	refusedByRelease(t, "prod", release, "the workflow was reset")
	void := predicatesWhenThere[signals.VoidPredicate](t, "prod", release, signals.RecordVoid)
	require.Contains(t, void[0].Nonces, approval.Statement.Nonce, "the approval fell with its run")
	require.NotEqual(t, signals.Promoted, outcomeOfAnyRun(t, release))
	require.Equal(t, before, stableImage(t, "prod"))
}

// outcomeOfAnyRun waits for the end of whatever run a release's id names now; ""
// if it failed.
func outcomeOfAnyRun(t *testing.T, release string) signals.OutcomeKind {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	var ended signals.Outcome
	_ = dial(t).GetWorkflow(ctx, release, "").Get(ctx, &ended)
	require.NoError(t, ctx.Err(), "it does not end")
	return ended.Kind
}

// deliver sends an envelope as anybody with write access to the namespace can.
func deliver(t *testing.T, release string, envelope signals.Envelope) {
	t.Helper()
	require.NoError(t, dial(t).SignalWorkflow(t.Context(), release, "", signals.ApprovalMessage, signals.Message{Envelope: envelope}))
}

// predicatesWhenThere waits until a release has records of the kind.
func predicatesWhenThere[T any](t *testing.T, environment, release string, kind signals.RecordKind) []T {
	t.Helper()
	return eventually(t, "record of kind "+string(kind), func() ([]T, bool) {
		found := predicates[T](t, "v1/"+environment+"/payments-api/"+release+"/", kind)
		return found, len(found) > 0
	})
}
