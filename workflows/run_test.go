package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/waybill-dev/waybill/signals"
)

// run is one release in the time-skipping environment.
type run struct {
	*testsuite.TestWorkflowEnvironment
	w        *world
	t        testing.TB
	commands int
}

func (w *world) start(tb testing.TB) *run {
	tb.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(20 * time.Second)
	env.SetStartWorkflowOptions(startOptions(releaseIn))
	env.RegisterWorkflow(Release)
	for name, fn := range map[string]any{
		"WatchStanding": w.WatchStanding, "Look": w.Look,
		"ResolvePlan": w.ResolvePlan, "VerifyArtifact": w.VerifyArtifact, "DecidePolicy": w.DecidePolicy, "Recheck": w.Recheck,
		"Acquire": w.Acquire, "Observe": w.Observe, "EnsureCanary": w.EnsureCanary, "SetWeight": w.SetWeight,
		"PromoteStable": w.PromoteStable, "RestoreStable": w.RestoreStable, "RemoveCanary": w.RemoveCanary,
		"Watch": w.Watch, "WriteRecord": w.WriteRecord,
	} {
		env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	return &run{TestWorkflowEnvironment: env, w: w, t: tb}
}

// execute runs the release to its end and returns its outcome.
func (r *run) execute(input string) signals.Outcome {
	r.ExecuteWorkflow(Release, rawInput(input))
	require.True(r.t, r.IsWorkflowCompleted())
	require.NoError(r.t, r.GetWorkflowError())
	var out signals.Outcome
	require.NoError(r.t, r.GetWorkflowResult(&out))
	r.check()
	return out
}

// check holds the world against what must be true at the end of any release
// that did not fail.
func (r *run) check() {
	require.Empty(r.t, r.w.breaches)
	require.False(r.t, r.w.canary, "canary left behind")
	require.Zero(r.t, r.w.weight, "weight left on the canary")
	require.Equal(r.t, signals.RecordManifest, r.w.kinds()[len(r.w.records)-1], "the manifest comes last")
	m := predicate[signals.ManifestPredicate](r.w, signals.RecordManifest)
	require.Equal(r.t, r.w.refs[:len(r.w.refs)-1], m.Records, "the manifest lists every record before it")
}

func (r *run) status() signals.Status {
	v, err := r.QueryWorkflow(signals.StatusQuery)
	require.NoError(r.t, err)
	var s signals.Status
	require.NoError(r.t, v.Get(&s))
	return s
}

func rawInput(s string) converter.RawValue {
	payload, err := converter.GetDefaultDataConverter().ToPayload(json.RawMessage(s))
	if err != nil {
		payload, _ = converter.GetDefaultDataConverter().ToPayload("")
		payload.Data = []byte(s)
	}
	return converter.NewRawValue(payload)
}

func person(id string, groups ...string) signals.Subject {
	return signals.Subject{Issuer: "https://id.example", ID: id, Name: id, Groups: groups}
}

// reply collects how an update was answered.
type reply struct {
	receipt  signals.Receipt
	err      error
	rejected bool
}

func (r *run) send(name string, e signals.Envelope) *reply {
	var out reply
	r.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) { out.err, out.rejected = err, true },
		OnComplete: func(v any, err error) {
			out.err = err
			if receipt, ok := v.(signals.Receipt); ok {
				out.receipt = receipt
			}
		},
	}, signals.Message{Envelope: e})
	return &out
}

// statement is an approval as the gateway would sign it; edit may spoil it.
func (r *run) statement(who signals.Subject, d signals.Decision, edit ...func(*signals.ApprovalStatement)) signals.ApprovalStatement {
	st := r.status()
	s := signals.ApprovalStatement{
		Binding: signals.Binding{
			Release: st.Release, Run: st.Run, PlanDigest: st.PlanDigest, Nonce: who.ID + string(d),
			IssuedAt: r.Now().UTC(), ExpiresAt: r.Now().UTC().Add(15 * time.Minute),
		},
		Decision: d, Reason: "read the plan, looks right", Approver: who,
	}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func (r *run) decide(who signals.Subject, d signals.Decision, edit ...func(*signals.ApprovalStatement)) *reply {
	return r.send(signals.ApprovalMessage, r.w.seal(signals.ApprovalPayload, r.statement(who, d, edit...)))
}

// command is an operator's command as the gateway would sign it; edit may spoil it.
func (r *run) command(who signals.Subject, kind signals.CommandKind, edit ...func(*signals.CommandStatement)) *reply {
	st := r.status()
	r.commands++
	s := signals.CommandStatement{
		Binding: signals.Binding{
			Release: st.Release, Run: st.Run, PlanDigest: st.PlanDigest, Nonce: fmt.Sprintf("%s-%d", kind, r.commands),
			IssuedAt: r.Now().UTC(), ExpiresAt: r.Now().UTC().Add(time.Minute),
		},
		Command: kind, Reason: "because", Operator: who,
	}
	for _, e := range edit {
		e(&s)
	}
	return r.send(signals.CommandMessage, r.w.seal(signals.CommandPayload, s))
}

var onCall = person("on-call", "payments-oncall")

func (r *run) abort(reason string) *reply {
	return r.command(onCall, signals.Abort, func(s *signals.CommandStatement) { s.Reason = reason })
}

// at does something at a time after the start.
func (r *run) at(after time.Duration, do func()) *run {
	r.RegisterDelayedCallback(do, after)
	return r
}

// approved has both approvers decide as soon as they are asked.
func (r *run) approved() *run {
	r.RegisterDelayedCallback(func() {
		r.decide(person("release-lead", "payments-leads"), signals.Approve)
		r.decide(person("risk-officer", "risk"), signals.Approve)
	}, time.Minute)
	return r
}

func permanent(kind string) func() error {
	return func() error { return temporal.NewNonRetryableApplicationError(kind+" happened", kind, nil) }
}

// times fails the first n calls.
func times(n int) func() error {
	return func() error {
		if n--; n >= 0 {
			return errors.New("passing fault")
		}
		return nil
	}
}
