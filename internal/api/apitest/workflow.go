package apitest

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// What a test's request can ask for as its Reason. Any other waits for one
// approval or command.
const (
	ReasonPromote = "promote at once"
	ReasonFail    = "fail the workflow"
	ReasonWatch   = "watch until told to stop"
)

// Approvers is the group whose members may decide.
const Approvers = "payments-leads"

// PlanDigest is the digest of the plan of every release here.
var PlanDigest = signals.Digest([]byte("plan"))

// release is a release reduced to what a gateway has to do with: it believes
// envelopes of one key only, keeps a status and ends as told.
type release struct {
	key     signals.PublicKey
	status  signals.Status
	decided signals.OutcomeKind
	by      string
}

// register adds the Release and Lane workflows, and the Watch activity, to w.
func register(w worker.Worker, gateway signals.PublicKey) {
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (signals.Outcome, error) {
		return (&release{key: gateway}).run(ctx, input.Payload().GetData())
	}, workflow.RegisterOptions{Name: signals.ReleaseWorkflow})
	w.RegisterWorkflowWithOptions(lane, workflow.RegisterOptions{Name: signals.LaneWorkflow})
	w.RegisterActivityWithOptions(watch, activity.RegisterOptions{Name: "Watch"})
}

func (r *release) run(ctx workflow.Context, raw []byte) (signals.Outcome, error) {
	info := workflow.GetInfo(ctx)
	request, err := signals.ParseRequest(raw)
	if err != nil {
		return signals.Outcome{Kind: signals.Rejected, Reasons: []string{err.Error()}}, nil //nolint:nilerr // a bad request is an outcome
	}
	if request.Reason == ReasonFail {
		return signals.Outcome{}, temporal.NewNonRetryableApplicationError("stable could not be restored", signals.ErrUndo, nil)
	}
	r.status = signals.Status{
		Release: info.WorkflowExecution.ID, Run: info.OriginalRunID, Service: request.Service, Environment: request.Environment, Tier: 2,
		Artifact:   signals.Artifact{Repository: "registry.example/payments-api", Digest: signals.Digest([]byte("image"))},
		PlanDigest: PlanDigest, Phase: signals.Approving, Doing: "waiting for 1 of " + Approvers, Since: workflow.Now(ctx).UTC(),
		Commit: request.Commit, Ticket: request.Ticket, Requester: r.requester(ctx, request),
		Approval: signals.ApprovalStatus{Needed: signals.Quorum{Groups: []signals.GroupQuorum{{Group: Approvers, Count: 1}}}},
	}
	_ = workflow.UpsertTypedSearchAttributes(ctx, signals.AttrTier.ValueSet(2), signals.AttrPhase.ValueSet(string(r.status.Phase)))
	if err := r.handle(ctx); err != nil {
		return signals.Outcome{}, err
	}
	switch request.Reason {
	case ReasonPromote:
		r.decided = signals.Promoted
	case ReasonWatch:
		r.status.Phase = signals.Canary
		watching := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, HeartbeatTimeout: 2 * time.Second,
		})
		workflow.ExecuteActivity(watching, "Watch")
	}
	if err := workflow.Await(ctx, func() bool { return r.decided != "" && workflow.AllHandlersFinished(ctx) }); err != nil {
		return signals.Outcome{}, err
	}
	_ = workflow.UpsertTypedSearchAttributes(ctx, signals.AttrOutcome.ValueSet(string(r.decided)), signals.AttrPhase.ValueSet(string(signals.Settled)))
	r.status.Phase = signals.Settled
	r.status.Outcome = &signals.Outcome{
		Kind: r.decided, Release: r.status.Release, Run: r.status.Run, Service: request.Service, Environment: request.Environment,
		PlanDigest: PlanDigest, Phase: signals.Approving, By: r.by, EndedAt: workflow.Now(ctx).UTC(),
	}
	return *r.status.Outcome, nil
}

// requester is who the gateway vouches for, "not proven" if it doesn't.
func (r *release) requester(ctx workflow.Context, request signals.Request) string {
	var statement signals.RequestStatement
	if request.Envelope == nil || request.Envelope.OpenInto(signals.RequestPayload, []signals.PublicKey{r.key}, workflow.Now(ctx), &statement) != nil ||
		statement.Release != r.status.Release && statement.Release != workflow.GetInfo(ctx).WorkflowExecution.ID {
		return "not proven"
	}
	return statement.Requester.Display()
}

func (r *release) handle(ctx workflow.Context) error {
	refuse := func(kind string, err string) error { return temporal.NewNonRetryableApplicationError(err, kind, nil) }
	keys := []signals.PublicKey{r.key}
	approval := func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
		var s signals.ApprovalStatement
		if err := m.Envelope.OpenInto(signals.ApprovalPayload, keys, workflow.Now(ctx), &s); err != nil {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, err.Error())
		}
		switch {
		case r.decided != "":
			return signals.Receipt{}, refuse(signals.ErrNotNow, "it is decided already")
		case s.Release != r.status.Release || s.Run != r.status.Run || s.PlanDigest != PlanDigest:
			return signals.Receipt{}, refuse(signals.ErrUntrusted, "it was signed for something else")
		case !strings.Contains(strings.Join(s.Approver.Groups, " "), Approvers):
			return signals.Receipt{}, refuse(signals.ErrNotAllowed, s.Approver.Display()+" is not in "+Approvers)
		}
		r.decided, r.by = signals.Promoted, s.Approver.Key()
		if s.Decision == signals.Deny {
			r.decided = signals.Denied
		}
		return signals.Receipt{Accepted: true, Message: "approved; the quorum is complete"}, nil
	}
	command := func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
		var s signals.CommandStatement
		if err := m.Envelope.OpenInto(signals.CommandPayload, keys, workflow.Now(ctx), &s); err != nil {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, err.Error())
		}
		r.decided, r.by = signals.Aborted, s.Operator.Key()
		return signals.Receipt{Accepted: true, Message: "aborting; whatever was changed is put back"}, nil
	}
	if err := workflow.SetUpdateHandler(ctx, signals.ApprovalMessage, approval); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandler(ctx, signals.CommandMessage, command); err != nil {
		return err
	}
	return workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) { return r.status, nil })
}

// watch heartbeats as the real watch does, until it is told to stop.
func watch(ctx context.Context) error {
	value := 0.002
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for taken := 1; ; taken++ {
		activity.RecordHeartbeat(ctx, signals.WatchProgress{
			Phase: signals.Canary, Weight: 5, Taken: taken,
			Checks:   []signals.CheckResult{{Check: "errors", Verdict: signals.Pass, Canary: &value, Bound: "≤ 1%"}},
			Readings: []signals.Reading{{Check: "errors", Track: signals.TrackCanary, Value: &value}},
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lane answers the status query until it is cancelled.
func lane(ctx workflow.Context, in signals.LaneInput) error {
	if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.LaneStatus, error) {
		return signals.LaneStatus{LaneInput: in}, nil
	}); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}
