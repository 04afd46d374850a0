package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// intake reads the request and resolves it to a plan. A request that can't be
// tied to a lane leaves its papers in the intake lane.
func (r *release) intake(ctx workflow.Context) error {
	r.enter(signals.Intake, "reading the request")
	info := workflow.GetInfo(ctx)
	if id := info.WorkflowExecution.ID; id != r.papers.release {
		return r.refuseRequest(ctx, fmt.Sprintf("workflow id %q can't name a release: use letters, digits, dots, dashes and underscores, at most 127", id))
	}
	request, err := signals.ParseRequest(r.raw)
	if err != nil {
		return r.refuseRequest(ctx, strings.Split(err.Error(), "\n")...)
	}
	r.request = request
	r.now("resolving the image and the catalog entry", time.Time{})
	plan, err := call[signals.Plan](ctx, reading("resolve "+request.Image), intake.ResolvePlan, signals.ResolveInput{
		Request: request, Release: r.papers.release, Run: r.papers.run, Now: workflow.Now(ctx).UTC(),
	})
	if bad := applicationError(err, signals.ErrBadRequest); bad != nil {
		return r.refuseRequest(ctx, strings.Split(bad.Message(), "\n")...)
	} else if err != nil {
		return err
	}
	if r.digest, err = plan.Digest(); err != nil {
		return err
	}
	r.plan = plan
	r.papers.environment, r.papers.service = plan.Environment, plan.Service
	r.papers.subjects = []signals.RecordSubject{{Name: plan.Artifact.Repository, Digest: plan.Artifact.Digest}}
	if err := workflow.UpsertTypedSearchAttributes(ctx,
		signals.AttrService.ValueSet(plan.Service), signals.AttrEnvironment.ValueSet(plan.Environment),
		signals.AttrTier.ValueSet(int64(plan.Tier)), signals.AttrDigest.ValueSet(plan.Artifact.Digest)); err != nil {
		return err
	}
	if err := r.identify(workflow.Now(ctx).UTC()); err != nil {
		return r.refuseRequest(ctx, err.Error())
	}
	if no := mayStart(plan, r.requester); no != "" {
		return r.refuseRequest(ctx, no)
	}
	if _, err := r.record(ctx, signals.RecordRequest, r.requestRecord()); err != nil {
		return err
	}
	canonical, err := plan.Canonical()
	if err != nil {
		return err
	}
	if _, err = r.record(ctx, signals.RecordPlan, signals.PlanPredicate{PlanDigest: r.digest, Plan: canonical}); err != nil {
		return err
	}
	r.gate(passed, fmt.Sprintf("image %s, plan %s", short(plan.Artifact.Digest), short(r.digest)))
	return r.breakGlass(ctx)
}

// identify establishes who asks. A request without an envelope is accepted, its
// requester is not believed; one with an envelope that does not hold is refused.
func (r *release) identify(now time.Time) error {
	r.requester = signals.RequesterView{Claimed: r.request.RequestedBy}
	if r.request.Envelope == nil {
		return nil
	}
	var s signals.RequestStatement
	if err := r.request.Envelope.OpenInto(signals.RequestPayload, r.plan.Trust.Gateway, now, &s); err != nil {
		return fmt.Errorf("the request's envelope: %w", err)
	}
	if err := boundTo(s.Binding, r.papers.release, "", "", now); err != nil {
		return fmt.Errorf("the request's envelope: %w", err)
	}
	asked := r.request
	asked.Envelope = nil
	if s.Request != asked {
		return errors.New("the request's envelope was signed for another request than the one it came with")
	}
	r.requester.Proven, r.requester.Subject, r.authn = true, &s.Requester, &s.Authn
	return nil
}

func (r *release) requestRecord() signals.RequestPredicate {
	return signals.RequestPredicate{Raw: string(r.raw), Requester: r.requester, Envelope: r.request.Envelope, Authn: r.authn}
}

// refuseRequest ends a release that never became a plan.
func (r *release) refuseRequest(ctx workflow.Context, reasons ...string) error {
	if _, err := r.record(ctx, signals.RecordRequest, r.requestRecord()); err != nil {
		return err
	}
	return r.refuse(ctx, "request", reasons)
}

// refuse records a no of Waybill itself and ends the release as rejected.
func (r *release) refuse(ctx workflow.Context, what string, reasons []string) error {
	r.gate(failed, joinReasons(reasons))
	if _, err := r.record(ctx, signals.RecordRefusal, signals.RefusalPredicate{
		PlanDigest: r.digest, Phase: r.phase, What: what, Reasons: reasons,
	}); err != nil {
		return err
	}
	return stopped(signals.Rejected, what, reasons...)
}

// verify checks signature, provenance and tests of the pinned digest.
func (r *release) verify(ctx workflow.Context) error {
	r.enter(signals.Verifying, "checking signature, provenance and test results")
	v, err := call[signals.Verification](ctx, reading("verify "+short(r.plan.Artifact.Digest)), intake.VerifyArtifact, signals.VerifyInput{
		Artifact: r.plan.Artifact, Commit: r.request.Commit, Source: r.plan.Source, Trust: r.plan.Trust,
	})
	if err != nil {
		return err
	}
	r.verification = v
	if _, err := r.record(ctx, signals.RecordVerification, signals.VerificationPredicate{PlanDigest: r.digest, Verification: v}); err != nil {
		return err
	}
	if len(v.Refusals) > 0 {
		return r.refuse(ctx, "artifact", v.Refusals)
	}
	r.gate(passed, fmt.Sprintf("%d signature(s), built from %s, %d test result(s)", len(v.Signatures), short(r.request.Commit), len(v.Tests)))
	return nil
}

// decide asks the policy.
func (r *release) decide(ctx workflow.Context) error {
	r.enter(signals.Deciding, "asking the policy")
	out, err := call[signals.PolicyOutput](ctx, reading("policy "+short(r.plan.Policy)), intake.DecidePolicy, signals.PolicyInput{
		Plan: r.plan, PlanDigest: r.digest, Requester: r.requester, Verification: r.verification, Now: workflow.Now(ctx).UTC(),
	})
	if err != nil {
		return err
	}
	r.decision = out.Result
	if _, err := r.record(ctx, signals.RecordDecision, signals.DecisionPredicate{
		PlanDigest: r.digest, Policy: out.Policy, Input: out.Input, Result: out.Result,
	}); err != nil {
		return err
	}
	if out.Policy != r.plan.Policy {
		return r.refuse(ctx, "policy", []string{fmt.Sprintf("the policy changed between plan (%s) and decision (%s): start again", short(r.plan.Policy), short(out.Policy))})
	}
	if !out.Result.Allow {
		reasons := make([]string, 0, len(out.Result.Reasons))
		for _, reason := range out.Result.Reasons {
			reasons = append(reasons, reason.Rule+": "+reason.Message)
		}
		if len(reasons) == 0 {
			reasons = []string{"the policy does not allow it and gives no reason; ask the platform team"}
		}
		return r.refuse(ctx, "policy", reasons)
	}
	r.gate(passed, "allowed by "+short(out.Policy))
	return nil
}

// acquire waits for the lane, looks at what it runs, and obtains the permit.
func (r *release) acquire(ctx workflow.Context) error {
	r.enter(signals.Queueing, "asking for the lane")
	asked := workflow.Now(ctx)
	grant, err := r.claim(ctx, signals.LaneEnvironment, r.plan.Limits.Queue.D())
	if err != nil {
		return err
	}
	r.grant = grant
	observed, err := call[signals.Snapshot](ctx, changing(r.plan.Target, "look at what runs now"), deploy.Observe, r.input())
	if err != nil {
		return err
	}
	lkg, from := lastKnownGood(grant, observed)
	r.lkg, r.weight = &lkg, observed.CanaryWeight
	if _, err := r.record(ctx, signals.RecordLane, signals.LanePredicate{
		PlanDigest: r.digest, WaitedFor: signals.Duration(workflow.Now(ctx).Sub(asked)),
		LKG: lkg, LKGFrom: from, Observed: observed,
	}); err != nil {
		return err
	}
	// From here on each step looks at everything again before it acts.
	r.endStanding()
	if err := r.stillApproved(workflow.Now(ctx).UTC()); err != nil {
		return err
	}
	if err := r.issuePermit(ctx); err != nil {
		return err
	}
	if err := r.tidy(ctx, observed); err != nil {
		return err
	}
	r.gate(passed, "goes back to "+short(lkg.Digest)+" ("+from+")")
	return nil
}

// lastKnownGood chooses what a failed release goes back to: what the lane
// remembers, unless something else was put there behind its back while nothing
// was under way. Then what serves now is the only state known to serve.
func lastKnownGood(grant signals.LaneGrant, observed signals.Snapshot) (signals.Snapshot, string) {
	switch {
	case grant.LKG == nil:
		return observed, "observed: the lane's first release"
	case grant.Unclean || grant.LKG.TemplateHash == observed.TemplateHash:
		return *grant.LKG, "release " + grant.LKGRelease
	}
	return observed, "observed: changed outside of Waybill since release " + grant.LKGRelease
}

// claim asks the lane for a resource until it is granted. The lane's signal
// only says when to ask again; the answer is what counts.
func (r *release) claim(ctx workflow.Context, resource signals.LaneResource, limit time.Duration) (signals.LaneGrant, error) {
	in := signals.AcquireInput{Environment: r.papers.environment, Service: r.papers.service, Claim: signals.LaneClaim{
		Resource: resource, Release: workflow.GetInfo(ctx).WorkflowExecution.ID, Run: r.papers.run, At: workflow.Now(ctx).UTC(),
		BreakGlass: r.plan.BreakGlass != nil,
	}}
	deadline := workflow.Now(ctx).Add(limit)
	granted := workflow.GetSignalChannel(ctx, signals.LaneGranted)
	for pause := askAgainFirst; ; pause = min(2*pause, askAgainAtMost) {
		grant, err := call[signals.LaneGrant](ctx, asking(fmt.Sprintf("lane %s/%s: %s", in.Environment, in.Service, resource)), lanes.Acquire, in)
		if err != nil || grant.Granted {
			return grant, err
		}
		left := deadline.Sub(workflow.Now(ctx))
		if limit > 0 && left <= 0 {
			return grant, stopped(signals.Expired, "deadline", fmt.Sprintf("the lane was not free within %s; %s", limit, keptBy(grant)))
		}
		if limit > 0 {
			pause = min(pause, left)
			r.now(fmt.Sprintf("number %d in the queue; %s", grant.Position, keptBy(grant)), deadline.UTC())
		}
		if err := r.awaitSignal(ctx, granted, pause); err != nil {
			return grant, err
		}
	}
}

// keptBy says what keeps a lane from being granted.
func keptBy(grant signals.LaneGrant) string {
	switch {
	case grant.Blocked != "":
		return grant.Blocked
	case grant.Holder != "":
		return "it is held by " + grant.Holder
	}
	return "it is about to be free"
}

// awaitSignal returns when the channel has a message or the pause is over.
func (r *release) awaitSignal(ctx workflow.Context, ch workflow.ReceiveChannel, pause time.Duration) error {
	if _, err := r.awaitUntil(ctx, pause, "ask the lane again", func() bool { return ch.Len() > 0 }); err != nil {
		return err
	}
	for ch.ReceiveAsync(nil) {
		continue
	}
	return nil
}

// awaitUntil returns true when the condition holds, or false when the time is
// over. Its timer ends with it.
func (r *release) awaitUntil(ctx workflow.Context, limit time.Duration, summary string, condition func() bool) (bool, error) {
	timerCtx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimerWithOptions(timerCtx, limit, workflow.TimerOptions{Summary: summary})
	met := false
	err := workflow.Await(ctx, func() bool {
		met = condition()
		return met || timer.IsReady()
	})
	return met, err
}

// issuePermit turns decision and approvals into the signed verdict that the
// deploy role demands before it lets the digest in.
func (r *release) issuePermit(ctx workflow.Context) error {
	now := workflow.Now(ctx).UTC()
	until := now.Add(longest(r.plan) + r.decision.PermitFor.D())
	out, err := r.record(ctx, signals.RecordPermit, signals.VSAPredicate{
		Verifier:     map[string]string{"id": "https://waybill.dev/policy/v1"},
		TimeVerified: now,
		ResourceURI:  "waybill://" + r.plan.Environment + "/" + r.plan.Service,
		Policy: signals.VSAPolicy{
			URI:    "https://waybill.dev/policies/release",
			Digest: map[string]string{"sha256": strings.TrimPrefix(r.plan.Policy, "sha256:")},
		},
		VerificationResult: "PASSED",
		VerifiedLevels:     r.decision.Levels,
		ExpiresAt:          until,
	})
	if err != nil {
		return err
	}
	if out.Envelope == nil {
		return temporal.NewNonRetryableApplicationError("the notary returned no envelope for the permit", signals.ErrPermit, nil)
	}
	r.permit, r.permitUntil = out.Envelope, until
	return nil
}

// renewPermit has the permit made out anew where it might run out before the next
// step is done, because the release was held or watched for longer than planned.
func (r *release) renewPermit(ctx workflow.Context) error {
	const calls = 3 // of deploy activities in a step, at most
	step := calls * changing(r.plan.Target, "").ScheduleToCloseTimeout
	if !r.people || r.permit == nil || workflow.Now(ctx).Add(step).Before(r.permitUntil) {
		return nil
	}
	return r.issuePermit(ctx)
}

// longest is how long a plan's delivery can take if every window is extended.
func longest(p signals.Plan) time.Duration {
	window := func(w signals.Window) time.Duration { return w.Duration.D() * time.Duration(w.Extensions+1) }
	total := window(p.Baseline) + window(p.Bake) + p.Target.ReadyWithin.D()
	for _, s := range p.Steps {
		total += window(s.Window) + p.Target.ReadyWithin.D()
	}
	return total
}
