package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// baseline asks whether the environment is fit to release into at all, so that
// a sick stable is never mistaken for a bad canary later.
func (r *release) baseline(ctx workflow.Context) error {
	r.enter(signals.Baseline, "measuring stable before anything changes")
	result, err := r.window(ctx, r.plan.Baseline, signals.TrackStable, 0, r.lkg.Digest)
	if err != nil {
		return err
	}
	if !goesOn(result.Verdict) {
		reason := "the environment is not fit to release into: " + result.Reason
		r.gate(failed, reason)
		return stopped(signals.Aborted, "check", reason)
	}
	r.gate(passed, result.Reason)
	return nil
}

// ramp takes the canary from its first weight to the last.
func (r *release) ramp(ctx workflow.Context) error {
	for _, step := range r.plan.Steps {
		name := fmt.Sprintf("%s %d%%", step.Phase, step.Weight)
		r.enter(step.Phase, name)
		if err := r.shift(ctx, step, name); err != nil {
			return err
		}
		result, err := r.window(ctx, step.Window, signals.TrackCanary, step.Weight, r.plan.Artifact.Digest)
		if err != nil {
			return err
		}
		if !goesOn(result.Verdict) {
			r.gate(failed, name+": "+result.Reason)
			return stopped(signals.RolledBack, "check", name+": "+result.Reason)
		}
		r.gate(passed, name+": "+result.Reason)
	}
	return nil
}

// shift brings the canary to the size and the weight of one step.
func (r *release) shift(ctx workflow.Context, step signals.Step, name string) error {
	before, err := r.intend(ctx, name, step.Weight)
	if err != nil {
		return err
	}
	target := r.plan.Target
	if len(r.undos) == 0 {
		r.onUndo("remove the canary", r.removeCanary)
		r.onUndo("weight back to stable", r.weightBack)
	}
	replicas := max(target.CanaryReplicas, share(r.lkg.Replicas, step.Weight))
	r.now(fmt.Sprintf("%s: waiting for %d canary pod(s)", name, replicas), time.Time{})
	rollout, err := call[signals.Rollout](ctx, changing(target, fmt.Sprintf("canary of %d pod(s)", replicas)), deploy.EnsureCanary,
		signals.CanaryInput{DeployInput: r.input(), Replicas: replicas})
	if err != nil {
		return err
	}
	r.now(name+": shifting traffic", time.Time{})
	weights, err := call[signals.Weights](ctx, changing(target, name), deploy.SetWeight,
		signals.WeightInput{DeployInput: r.input(), Canary: step.Weight})
	if err != nil {
		return err
	}
	r.weight = weights.Canary
	return r.observe(ctx, before, &weights, &rollout)
}

// share is how many pods carry a weight of traffic that replicas carry whole.
func share(replicas, weight int32) int32 { return (replicas*weight + 99) / 100 }

// promote gives stable the new digest and all of the traffic.
func (r *release) promote(ctx workflow.Context) error {
	r.enter(signals.Promotion, "stable takes the new digest")
	before, err := r.intend(ctx, "promotion", 0)
	if err != nil {
		return err
	}
	target := r.plan.Target
	r.onUndo("restore stable to last known good", r.restoreStable)
	rollout, err := call[signals.Rollout](ctx, changing(target, "stable → "+short(r.plan.Artifact.Digest)), deploy.PromoteStable, r.input())
	if err != nil {
		return err
	}
	r.now("traffic back to stable, which runs the new digest", time.Time{})
	weights, err := call[signals.Weights](ctx, changing(target, "weight 100% → stable"), deploy.SetWeight,
		signals.WeightInput{DeployInput: r.input(), Canary: 0})
	if err != nil {
		return err
	}
	r.weight = weights.Canary
	if err := r.observe(ctx, before, &weights, &rollout); err != nil {
		return err
	}
	r.now("removing the canary", time.Time{})
	if _, err := call[any](ctx, changing(target, "remove the canary"), deploy.RemoveCanary, r.input()); err != nil {
		return err
	}
	r.gate(passed, fmt.Sprintf("%d of %d pods run %s", rollout.Ready, rollout.Desired, short(rollout.Digest)))
	r.say(signals.Reply{Event: "promoted", Text: fmt.Sprintf("Stable runs %s with all of the traffic; it is watched on.", short(rollout.Digest))})
	return nil
}

// bake watches the promoted release on, and takes the snapshot that the lane
// goes back to from now on.
func (r *release) bake(ctx workflow.Context) error {
	r.enter(signals.Bake, "watching the promoted release")
	result, err := r.window(ctx, r.plan.Bake, signals.TrackStable, 0, r.plan.Artifact.Digest)
	if err != nil {
		return err
	}
	if !goesOn(result.Verdict) {
		r.gate(failed, result.Reason)
		return stopped(signals.RolledBack, "check", "bake: "+result.Reason)
	}
	snapshot, err := call[signals.Snapshot](ctx, changing(r.plan.Target, "record last known good"), deploy.Observe, r.input())
	if err != nil {
		return err
	}
	if snapshot.Digest != r.plan.Artifact.Digest {
		return stopped(signals.RolledBack, "check", fmt.Sprintf(
			"bake: stable runs %s and not the promoted %s: changed outside of Waybill", short(snapshot.Digest), short(r.plan.Artifact.Digest)))
	}
	snapshot.Commit = r.request.Commit
	r.lkg = &snapshot
	r.gate(passed, result.Reason)
	return nil
}

// tidy puts away what a release that was terminated left behind, so that the
// baseline is measured on a whole environment.
func (r *release) tidy(ctx workflow.Context, observed signals.Snapshot) error {
	unclean := r.grant.Unclean && observed.TemplateHash != r.lkg.TemplateHash
	if observed.CanaryWeight == 0 && !observed.CanaryExists && !unclean {
		return nil
	}
	r.now("putting away what an ended release left behind", time.Time{})
	before, err := r.intend(ctx, "clear leftovers", 0)
	if err != nil {
		return err
	}
	if unclean {
		if _, err := r.restoreStable(ctx); err != nil {
			return err
		}
	}
	weights, err := call[signals.Weights](ctx, undoing(r.plan.Target, "weight 100% → stable"), deploy.SetWeight,
		signals.WeightInput{DeployInput: r.input(), Back: true})
	if err != nil {
		return err
	}
	r.weight = weights.Canary
	if _, err := r.removeCanary(ctx); err != nil {
		return err
	}
	return r.observe(ctx, before, &weights, nil)
}

// intend asks whether everything still stands and writes down what is about to
// be done, before it is done. Whoever paused the release holds it here.
func (r *release) intend(ctx workflow.Context, step string, weight int32) (signals.DeploymentPredicate, error) {
	if err := r.stands(ctx); err != nil {
		return signals.DeploymentPredicate{}, err
	}
	p := signals.DeploymentPredicate{
		PlanDigest: r.digest, Stage: "intended", Step: step, Phase: r.phase,
		Desired: r.plan.Artifact.Digest, Previous: r.lkg.Digest, Asked: weight,
		Verdict: r.verdict, Run: r.papers.run,
	}
	if _, err := r.record(ctx, signals.RecordDeployment, p); err != nil || r.paused == nil {
		return p, err
	}
	return p, r.stands(ctx) // it was paused while the record was on its way
}

// stands returns when nobody holds the release and all of it is still as it was
// verified and approved, with a permit that is good for the step to come.
func (r *release) stands(ctx workflow.Context) error {
	for {
		if err := r.hold(ctx); err != nil {
			return err
		}
		_, err := call[any](ctx, reading("still as verified and approved?"), intake.Recheck, r.standingNow())
		if applicationError(err, signals.ErrRefused) != nil || applicationError(err, signals.ErrReset) != nil {
			r.unfounded(explain(err))
		}
		if err == nil {
			err = r.renewPermit(ctx)
		}
		if err != nil || r.paused == nil {
			return err
		}
	}
}

// unfounded records that what was approved no longer stands.
func (r *release) unfounded(reason string) {
	if r.people {
		r.note(signals.RecordRefusal, signals.RefusalPredicate{
			PlanDigest: r.digest, Phase: r.phase, What: "approval", Reasons: []string{reason},
		})
	}
}

// observe records what the environment showed after a step.
func (r *release) observe(ctx workflow.Context, p signals.DeploymentPredicate, w *signals.Weights, rollout *signals.Rollout) error {
	p.Stage, p.Weights, p.Rollout = "observed", w, rollout
	_, err := r.record(ctx, signals.RecordDeployment, p)
	return err
}
