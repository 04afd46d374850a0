package apitest

import (
	"context"
	"slices"
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
	// ReasonStepUp demands a fresh login of the kind StepUpACR for an approval.
	ReasonStepUp = "ask for a fresh login"
	// ReasonReplan changes the plan once somebody has paused the release.
	ReasonReplan = "change the plan on pause"
)

// Approvers is the group whose members may decide.
const Approvers = "payments-leads"

// StepUpACR is the kind of login that ReasonStepUp demands.
const StepUpACR = "urn:waybill:acr:mfa"

// PlanDigest is the digest of the plan of every release here, until it changes
// to OtherPlan.
var (
	PlanDigest = signals.Digest([]byte("plan"))
	OtherPlan  = signals.Digest([]byte("another plan"))
)

// release is a release reduced to what a gateway has to do with: it believes
// envelopes of the keys that it pinned, keeps a status and ends as told.
type release struct {
	keys    []signals.PublicKey
	status  signals.Status
	reason  string
	decided signals.OutcomeKind
	by      string
	nonces  map[string]bool
}

// register adds the Release, Lane and Journal workflows, and the Watch activity,
// to w.
func register(w worker.Worker) {
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (signals.Outcome, error) {
		keys, err := pinned(ctx)
		if err != nil {
			return signals.Outcome{}, err
		}
		return (&release{keys: keys, nonces: map[string]bool{}}).run(ctx, input.Payload().GetData())
	}, workflow.RegisterOptions{Name: signals.ReleaseWorkflow})
	w.RegisterWorkflowWithOptions(lane, workflow.RegisterOptions{Name: signals.LaneWorkflow})
	w.RegisterWorkflowWithOptions(journal, workflow.RegisterOptions{Name: signals.JournalWorkflow})
	w.RegisterActivityWithOptions(watch, activity.RegisterOptions{Name: "Watch"})
}

func (r *release) run(ctx workflow.Context, raw []byte) (signals.Outcome, error) {
	request, err := signals.ParseRequest(raw)
	if err != nil {
		return signals.Outcome{Kind: signals.Rejected, Reasons: []string{err.Error()}}, nil //nolint:nilerr // a bad request is an outcome
	}
	if request.Reason == ReasonFail {
		return signals.Outcome{}, temporal.NewNonRetryableApplicationError("stable could not be restored", signals.ErrUndo, nil)
	}
	r.reason = request.Reason
	r.begin(ctx, request)
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
		PlanDigest: r.status.PlanDigest, Phase: signals.Approving, By: r.by, EndedAt: workflow.Now(ctx).UTC(),
	}
	return *r.status.Outcome, nil
}

// begin fills in what people are shown.
func (r *release) begin(ctx workflow.Context, request signals.Request) {
	info := workflow.GetInfo(ctx)
	needed := signals.Quorum{Groups: []signals.GroupQuorum{{Group: Approvers, Count: 1}}}
	if request.Reason == ReasonStepUp {
		needed.Groups[0].StepUp = &signals.StepUp{ACR: []string{StepUpACR}, MaxAge: signals.Duration(5 * time.Minute)}
	}
	approval := signals.ApprovalStatus{Needed: needed, Missing: needed, Expires: workflow.Now(ctx).UTC().Add(4 * time.Hour)}
	artifact := signals.Artifact{Repository: "registry.example/payments-api", Digest: signals.Digest([]byte("image"))}
	r.status = signals.Status{
		Release: info.WorkflowExecution.ID, Run: info.OriginalRunID, Service: request.Service, Environment: request.Environment, Tier: 2,
		Artifact: artifact, PlanDigest: PlanDigest, Phase: signals.Approving, Doing: "waiting for 1 of " + Approvers, Since: workflow.Now(ctx).UTC(),
		Commit: request.Commit, Ticket: request.Ticket, Requester: r.requester(ctx, request), Approval: approval,
		Excluded: []signals.Exclusion{{Identity: "developer@payments.example", As: "author"}},
	}
	r.status.About = &signals.Announcement{
		Release: r.status.Release, Run: r.status.Run, Service: request.Service, Environment: request.Environment, Tier: 2, Owner: Approvers,
		Artifact: artifact, Commit: request.Commit, Compare: "https://git.example/payments/payments-api/compare/1a2b...4f1c",
		Ticket: request.Ticket, Reason: request.Reason, Requester: r.status.Requester, PlanDigest: PlanDigest,
		Tests: "passed: unit, contract (412 tests)", Scans: "no critical, 1 medium", Policy: []string{"allowed; no rule says no"},
		Steps: []signals.Step{
			{Phase: signals.Canary, Weight: 5, Window: signals.Window{Duration: signals.Duration(10 * time.Minute)}},
			{Phase: signals.Ramp, Weight: 50, Window: signals.Window{Duration: signals.Duration(10 * time.Minute)}},
		},
		Radius: []string{"5 % of prod's traffic for 10m0s", "all of it after 20m0s at the earliest"},
		LKG:    signals.Digest([]byte("old image")), LKGRelease: "payments-api-prod-0", Approval: approval, Excluded: r.status.Excluded,
		Phase: signals.Approving, Doing: r.status.Doing,
	}
}

// requester is who the gateway vouches for, "not proven" if it doesn't.
func (r *release) requester(ctx workflow.Context, request signals.Request) string {
	var statement signals.RequestStatement
	if request.Envelope == nil || request.Envelope.OpenInto(signals.RequestPayload, r.keys, workflow.Now(ctx), &statement) != nil ||
		statement.Release != workflow.GetInfo(ctx).WorkflowExecution.ID {
		return "not proven"
	}
	return statement.Requester.Display()
}

func refuse(kind, text string) error {
	return temporal.NewNonRetryableApplicationError(text, kind, nil)
}

// take judges what every message is judged by.
func (r *release) take(b signals.Binding) error {
	switch {
	case r.decided != "":
		return refuse(signals.ErrNotNow, "it is decided already")
	case b.Release != r.status.Release || b.Run != r.status.Run || b.PlanDigest != r.status.PlanDigest:
		return refuse(signals.ErrUntrusted, "it was signed for something else")
	case r.nonces[b.Nonce]:
		return refuse(signals.ErrReplayed, "its nonce was used before")
	}
	return nil
}

func (r *release) handle(ctx workflow.Context) error {
	approval := func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
		var s signals.ApprovalStatement
		if err := m.Envelope.OpenInto(signals.ApprovalPayload, r.keys, workflow.Now(ctx), &s); err != nil {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, err.Error())
		}
		if err := r.take(s.Binding); err != nil {
			return signals.Receipt{}, err
		}
		return r.approve(s, workflow.Now(ctx).UTC())
	}
	command := func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
		var s signals.CommandStatement
		if err := m.Envelope.OpenInto(signals.CommandPayload, r.keys, workflow.Now(ctx), &s); err != nil {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, err.Error())
		}
		if err := r.take(s.Binding); err != nil {
			return signals.Receipt{}, err
		}
		return r.obey(s, workflow.Now(ctx).UTC())
	}
	if err := workflow.SetUpdateHandler(ctx, signals.ApprovalMessage, approval); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandler(ctx, signals.CommandMessage, command); err != nil {
		return err
	}
	return workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) { return r.status, nil })
}

func (r *release) approve(s signals.ApprovalStatement, at time.Time) (signals.Receipt, error) {
	stepUp := r.status.Approval.Needed.Groups[0].StepUp
	switch {
	case !slices.Contains(s.Approver.Groups, Approvers):
		return signals.Receipt{}, refuse(signals.ErrNotAllowed, s.Approver.Display()+" is not in "+Approvers)
	case stepUp != nil && s.Decision == signals.Approve && !slices.Contains(stepUp.ACR, s.Authn.ACR):
		return signals.Receipt{}, refuse(signals.ErrStepUp, "members of "+Approvers+" decide here after a fresh login")
	}
	r.nonces[s.Nonce] = true
	view := signals.ApprovalView{Decision: s.Decision, By: s.Approver.Display(), Subject: s.Approver.Key(), Reason: s.Reason, At: at}
	r.status.Approval.Given = append(r.status.Approval.Given, view)
	r.status.About.Approval.Given = r.status.Approval.Given
	r.by = s.Approver.Key()
	switch {
	case s.Command != "":
		r.status.Pending, r.status.About.Pending = nil, nil
		return signals.Receipt{Accepted: true, Message: "the command is approved and takes effect"}, nil
	case s.Decision == signals.Withdraw:
		return signals.Receipt{Accepted: true, Message: "withdrawn"}, nil
	case s.Decision == signals.Deny:
		r.decided = signals.Denied
		return signals.Receipt{Accepted: true, Message: "denied; the release ends"}, nil
	}
	r.decided = signals.Promoted
	return signals.Receipt{Accepted: true, Message: "approved; the quorum is complete"}, nil
}

func (r *release) obey(s signals.CommandStatement, at time.Time) (signals.Receipt, error) {
	r.nonces[s.Nonce] = true
	switch s.Command {
	case signals.Pause:
		r.status.Paused = s.Operator.Display() + ": " + s.Reason
		if r.reason == ReasonReplan {
			r.status.PlanDigest, r.status.About.PlanDigest = OtherPlan, OtherPlan
		}
		return signals.Receipt{Accepted: true, Message: "paused before the next step"}, nil
	case signals.Resume:
		if r.status.Paused == "" {
			return signals.Receipt{}, refuse(signals.ErrNotNow, "the release is not paused")
		}
		r.status.Paused = ""
		return signals.Receipt{Accepted: true, Message: "goes on"}, nil
	case signals.Extend:
		return signals.Receipt{Accepted: true, Message: "watched for " + s.By.String() + " longer"}, nil
	case signals.Skip:
		r.status.Pending = []signals.PendingCommand{{ID: s.Nonce, Command: s.Command, By: s.Operator.Display(), Reason: s.Reason, At: at}}
		r.status.About.Pending = r.status.Pending
		return signals.Receipt{Accepted: true, Message: "waits for somebody else's approval", Pending: s.Nonce}, nil
	case signals.RetryUndo:
		return signals.Receipt{}, refuse(signals.ErrNotNow, "no undo has failed; the release is in phase "+string(r.status.Phase))
	case signals.RollBackNow:
		r.decided = signals.RolledBack
	default:
		r.decided = signals.Aborted
	}
	r.by = s.Operator.Key()
	return signals.Receipt{Accepted: true, Message: "aborting; whatever was changed is put back"}, nil
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
