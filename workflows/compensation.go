package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// undo is a compensation, registered before the step that it undoes, because a
// step that timed out may have taken effect. It is idempotent, accepts that the
// step never happened, and says what it saw when it was done.
type undo struct {
	name string
	do   func(workflow.Context) (string, error)
}

func (r *release) onUndo(name string, do func(workflow.Context) (string, error)) {
	r.undos = append(r.undos, undo{name, do})
}

// undoPatience is how long a release with a failed undo waits for somebody to
// have it retried: long enough for whoever is called out to mend a cluster. They
// were told at its beginning; the failed workflow at its end pages once more.
const undoPatience = 4 * time.Hour

// rollBack runs the undos in reverse on a context that no cancellation reaches.
// No evidence is waited for: it follows. One undo's failure does not keep the
// others from being tried; those that failed can be retried by an operator.
func (r *release) rollBack(end ending) {
	r.gate(failed, joinReasons(end.reasons))
	r.enter(signals.RollingBack, "putting the environment back")
	ctx := r.root
	report := &signals.RollbackReport{
		Cause: joinReasons(end.reasons), Trigger: end.trigger,
		From: r.plan.Artifact.Digest, To: r.lkg.Digest,
		Started: workflow.Now(ctx).UTC(), Complete: true,
	}
	r.rollback = report
	r.say(signals.Reply{Event: "rollback", Loud: true, Text: fmt.Sprintf("Rolling back to %s: %s", short(report.To), report.Cause)})
	for todo := r.undos; ; {
		failedOnes := r.undoAll(ctx, report, todo)
		health := r.verifyHealth(ctx, report)
		report.Ended = workflow.Now(ctx).UTC()
		report.Duration = signals.Duration(report.Ended.Sub(report.Started))
		r.note(signals.RecordRollback, signals.RollbackPredicate{
			PlanDigest: r.digest, Report: *report, Health: health, Target: r.reverify(ctx),
		})
		if report.Complete || !r.awaitRetry(ctx) {
			break
		}
		if todo = failedOnes; len(todo) == 0 { // all were done, and yet it isn't as it should be
			todo = r.undos
		}
	}
	state, done := passed, fmt.Sprintf("back to %s in %s", short(report.To), report.Duration.D().Round(time.Millisecond))
	if !report.Complete {
		state, done = failed, "not complete: "+joinReasons(r.unfinished)
	}
	r.gate(state, done)
	r.say(signals.Reply{Event: "rollback-done", Loud: !report.Complete, Escalate: !report.Complete, Text: "Rollback: " + done + "."})
}

// undoAll runs undos, the last one first, and returns those that failed.
func (r *release) undoAll(ctx workflow.Context, report *signals.RollbackReport, todo []undo) []undo {
	report.Complete, r.unfinished = true, nil
	var failures []undo
	for _, u := range slices.Backward(todo) {
		began := workflow.Now(ctx)
		r.now(u.name, time.Time{})
		observed, err := u.do(ctx)
		step := signals.UndoStep{
			Name: u.name, Started: began.UTC(), Observed: observed,
			Duration: signals.Duration(workflow.Now(ctx).Sub(began)),
		}
		if err != nil {
			step.Error = explain(err)
			failures = append([]undo{u}, failures...)
		}
		r.undone(report, step)
	}
	return failures
}

// undone enters a step into the report.
func (r *release) undone(report *signals.RollbackReport, step signals.UndoStep) {
	report.Steps = append(report.Steps, step)
	if step.Error != "" {
		report.Complete = false
		r.unfinished = append(r.unfinished, step.Name+": "+step.Error)
	}
}

// awaitRetry calls for somebody and waits until they order a retry. False means
// that nobody came.
func (r *release) awaitRetry(ctx workflow.Context) bool {
	if !r.people {
		return false
	}
	r.stuck = true
	defer func() { r.stuck = false }()
	r.now("an undo failed and waits for an operator's retry: "+joinReasons(r.unfinished), workflow.Now(ctx).UTC().Add(undoPatience))
	r.say(signals.Reply{Event: fmt.Sprintf("undo-failed/%d", len(r.rollback.Steps)), Loud: true, Escalate: true, Text: fmt.Sprintf(
		"The rollback of %s in %s is NOT complete: %s. Mend the cause, then `waybill retry %s --reason '…'`; at %s the release fails.",
		r.plan.Service, r.plan.Environment, joinReasons(r.unfinished), r.papers.release, clock(r.until))})
	workflow.GetMetricsHandler(ctx).Counter(undoFailedMetric).Inc(1)
	met, err := r.awaitUntil(ctx, undoPatience, "an operator's retry", func() bool { return !r.stuck })
	return met && err == nil
}

// undoFailedMetric counts undos that failed, for an alert: while the release
// waits for somebody it has not failed yet.
const undoFailedMetric = "waybill_undo_failed"

func (r *release) weightBack(ctx workflow.Context) (string, error) {
	w, err := call[signals.Weights](ctx, undoing(r.plan.Target, "rollback: weight 100% → stable"), deploy.SetWeight,
		signals.WeightInput{DeployInput: r.input(), Back: true})
	if err != nil {
		return "", err
	}
	r.weight = w.Canary
	return fmt.Sprintf("stable %d%%, canary %d%%, read back at %s, accepted by the gateway: %t",
		w.Stable, w.Canary, w.At.Format(time.RFC3339Nano), w.Accepted), nil
}

func (r *release) removeCanary(ctx workflow.Context) (string, error) {
	_, err := call[any](ctx, undoing(r.plan.Target, "rollback: remove the canary"), deploy.RemoveCanary, r.input())
	return "", err
}

func (r *release) restoreStable(ctx workflow.Context) (string, error) {
	rollout, err := call[signals.Rollout](ctx, undoing(r.plan.Target, "rollback: stable → "+short(r.lkg.Digest)), deploy.RestoreStable,
		signals.RestoreInput{DeployInput: r.input(), To: *r.lkg})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d pods run %s", rollout.Ready, rollout.Desired, short(rollout.Digest)), nil
}

// verifyHealth looks at the environment once more and holds it against where it
// should be; a difference makes the rollback incomplete.
func (r *release) verifyHealth(ctx workflow.Context, report *signals.RollbackReport) *signals.Rollout {
	began := workflow.Now(ctx)
	seen, err := call[signals.Snapshot](ctx, undoing(r.plan.Target, "rollback: verify health"), deploy.Observe, r.input())
	step := signals.UndoStep{Name: "verify health", Started: began.UTC(), Duration: signals.Duration(workflow.Now(ctx).Sub(began))}
	switch {
	case err != nil:
		step.Error = explain(err)
	case seen.Digest != r.lkg.Digest:
		step.Error = fmt.Sprintf("stable runs %s, want %s", seen.Digest, r.lkg.Digest)
	case seen.CanaryWeight != 0 || seen.CanaryExists:
		step.Error = fmt.Sprintf("canary exists: %t, at weight %d%%; want none", seen.CanaryExists, seen.CanaryWeight)
	default:
		step.Observed = fmt.Sprintf("%d of %d pods ready on %s, canary gone", seen.Ready, seen.Replicas, short(seen.Digest))
	}
	r.undone(report, step)
	if step.Error != "" {
		return nil
	}
	return &signals.Rollout{Name: r.plan.Target.Stable, Digest: seen.Digest, Desired: seen.Replicas, Ready: seen.Ready}
}

// reverify says how the digest that was gone back to stands today. It is tried
// once and briefly: a rollback is never blocked by it.
func (r *release) reverify(ctx workflow.Context) *signals.Verification {
	options := reading("rollback: how does the target stand?")
	options.RetryPolicy = &temporal.RetryPolicy{MaximumAttempts: 1}
	v, err := call[signals.Verification](ctx, options, intake.VerifyArtifact, signals.VerifyInput{
		Artifact: signals.Artifact{Repository: r.plan.Artifact.Repository, Digest: r.lkg.Digest},
		Source:   r.plan.Source, Trust: r.plan.Trust,
	})
	if err != nil {
		return nil
	}
	return &v
}
