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

// rollBack runs the undos in reverse on a context that no cancellation reaches.
// No evidence is waited for: it follows. One undo's failure does not keep the
// others from being tried.
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
	for _, u := range slices.Backward(r.undos) {
		began := workflow.Now(ctx)
		r.now(u.name, time.Time{})
		observed, err := u.do(ctx)
		step := signals.UndoStep{
			Name: u.name, Started: began.UTC(), Observed: observed,
			Duration: signals.Duration(workflow.Now(ctx).Sub(began)),
		}
		if err != nil {
			step.Error, report.Complete = explain(err), false
		}
		report.Steps = append(report.Steps, step)
	}
	health := r.verifyHealth(ctx, report)
	report.Ended = workflow.Now(ctx).UTC()
	report.Duration = signals.Duration(report.Ended.Sub(report.Started))
	r.note(signals.RecordRollback, signals.RollbackPredicate{
		PlanDigest: r.digest, Report: *report, Health: health, Target: r.reverify(ctx),
	})
	state := passed
	if !report.Complete {
		state = failed
	}
	r.gate(state, fmt.Sprintf("back to %s in %s", short(report.To), report.Duration.D().Round(time.Millisecond)))
}

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
	report.Steps = append(report.Steps, step)
	if step.Error != "" {
		report.Complete = false
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
