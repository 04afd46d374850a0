package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// settle closes the papers: it waits for every record, takes the lane's turn to
// continue the chain of manifests, and writes the manifest. By completing, the
// workflow frees its lane, which takes last known good and manifest from the
// result.
func (r *release) settle(end ending) (signals.Outcome, error) {
	ctx := r.root
	r.settling = true
	outcome := &signals.Outcome{
		Kind: end.kind, Reasons: end.reasons, By: end.by, Phase: r.endedIn,
		Release: r.papers.release, Run: r.papers.run,
		Service: r.papers.service, Environment: r.papers.environment, Tier: r.plan.Tier,
		Artifact: r.plan.Artifact, PlanDigest: r.digest, Rollback: r.rollback,
		Commit: r.request.Commit, Review: r.reviewDue(workflow.Now(ctx).UTC()),
		StartedAt: r.started, EndedAt: workflow.Now(ctx).UTC(),
	}
	if r.lkg != nil && r.grant.Granted {
		outcome.LKG = r.lkg
	}
	if r.phase != signals.RollingBack && end.kind != signals.Promoted {
		r.gate(failed, joinReasons(end.reasons))
	}
	r.enter(signals.Settled, "closing the papers")
	_ = workflow.UpsertTypedSearchAttributes(ctx, signals.AttrOutcome.ValueSet(string(end.kind)))

	if r.rollback != nil && !r.rollback.Complete {
		return *outcome, r.undoFailed(ctx)
	}
	if err := r.closePapers(ctx, outcome); err != nil {
		return *outcome, err
	}
	r.outcome, r.doing = outcome, "ended: "+string(outcome.Kind)
	r.tellOutcome(outcome)
	r.gate(passed, fmt.Sprintf("%d records, manifest %s", len(r.papers.refs), short(outcome.Manifest.Digest)))
	_ = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
	return *outcome, nil
}

// closePapers writes the manifest in the lane's turn.
func (r *release) closePapers(ctx workflow.Context, outcome *signals.Outcome) error {
	if err := r.papers.drain(ctx, r.unread); err != nil {
		return err
	}
	grant, err := r.claim(ctx, signals.LanePapers, 0)
	if err != nil {
		return err
	}
	// What was refused while waiting for the turn belongs into the manifest too.
	if err := r.papers.drain(ctx, r.unread); err != nil {
		return err
	}
	return r.papers.seal(ctx, outcome, grant.LastManifest, max(0, r.refused-refusalsRecorded))
}

// undoFailed gives the records that are still on their way a while, then fails
// the workflow: that is what pages. The lane closes the papers.
func (r *release) undoFailed(ctx workflow.Context) error {
	_, _ = workflow.AwaitWithTimeout(ctx, settleBudget, func() bool { return r.papers.pending() == 0 || r.papers.broken != nil })
	t := r.plan.Target
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(
		"rollback of %s in %s is not complete: %s. Look at deployment %s/%s and route %s; last known good is %s",
		r.plan.Service, r.plan.Environment, joinReasons(r.unfinished), t.Namespace, t.Stable, t.Route, r.lkg.Image), signals.ErrUndo, nil)
}

// applicationError returns err's application error of one type, or nil.
func applicationError(err error, kind string) *temporal.ApplicationError {
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() == kind {
		return app
	}
	return nil
}

// explain strips Temporal's wrapping off an error for people: the cause alone.
func explain(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if timeout, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		if cause := errors.Unwrap(timeout); cause != nil {
			return "timed out; last error: " + explain(cause)
		}
		return timeout.Error()
	}
	return err.Error()
}

// short is a digest cut to what a person compares at a glance.
func short(digest string) string {
	const keep = len("sha256:") + 12
	if len(digest) > keep {
		return digest[:keep]
	}
	return digest
}

// clock renders a time for the details shown in the UI.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
