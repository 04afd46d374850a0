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
	if result.Verdict != signals.Pass {
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
		if result.Verdict != signals.Pass {
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
	if result.Verdict != signals.Pass {
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
// be done, before it is done.
func (r *release) intend(ctx workflow.Context, step string, weight int32) (signals.DeploymentPredicate, error) {
	p := signals.DeploymentPredicate{
		PlanDigest: r.digest, Stage: "intended", Step: step, Phase: r.phase,
		Desired: r.plan.Artifact.Digest, Previous: r.lkg.Digest, Asked: weight,
		Verdict: r.verdict, Run: r.papers.run,
	}
	if _, err := call[any](ctx, reading("still as verified and approved?"), intake.Recheck,
		signals.RecheckInput{Plan: r.plan, PlanDigest: r.digest}); err != nil {
		return p, err
	}
	_, err := r.record(ctx, signals.RecordDeployment, p)
	return p, err
}

// observe records what the environment showed after a step.
func (r *release) observe(ctx workflow.Context, p signals.DeploymentPredicate, w *signals.Weights, rollout *signals.Rollout) error {
	p.Stage, p.Weights, p.Rollout = "observed", w, rollout
	_, err := r.record(ctx, signals.RecordDeployment, p)
	return err
}

// window watches one window, extends it while it can't be judged, and holds if
// the plan says so. What it returns is recorded already; a verdict other than
// pass means that the release must not go on.
func (r *release) window(ctx workflow.Context, w signals.Window, track string, weight int32, digest string) (signals.WindowResult, error) {
	for extension := 0; ; extension++ {
		length := w
		if extension > w.Extensions { // on hold: look again, ever more seldom
			length.Duration = min(w.Duration<<min(extension-w.Extensions, 20), signals.Duration(time.Hour))
			length.Interval = max(w.Interval, length.Duration/500)
		}
		result, err := r.watch(ctx, length, track, weight, digest, extension)
		if err != nil {
			return result, err
		}
		out, err := r.recordWindow(ctx, track, result)
		if err != nil {
			return result, err
		}
		r.verdict = out.Ref.Digest
		if result.Verdict == signals.Pass || result.Verdict == signals.Fail {
			return result, nil
		}
		if extension >= w.Extensions && consequence(r.plan.Checks, result) != signals.Hold {
			return result, nil
		}
	}
}

// recordWindow writes the verdict down. A failing one does not wait for the
// bucket: what follows is a rollback.
func (r *release) recordWindow(ctx workflow.Context, track string, result signals.WindowResult) (signals.RecordOutput, error) {
	p := signals.AnalysisPredicate{
		PlanDigest: r.digest, Track: track, Method: analysisMethod, Checks: r.plan.Checks, Result: result,
	}
	if result.Verdict == signals.Fail {
		r.note(signals.RecordAnalysis, p)
		return signals.RecordOutput{}, nil
	}
	return r.record(ctx, signals.RecordAnalysis, p)
}

// analysisMethod names how verdicts are computed, for whoever computes them again.
const analysisMethod = "absolute threshold and comparison with stable, v1"

// watch is one window: a durable timer that says when it is over, and beside it
// one activity that samples and comes back early on a failing verdict.
func (r *release) watch(ctx workflow.Context, w signals.Window, track string, weight int32, digest string, extension int) (signals.WindowResult, error) {
	start := workflow.Now(ctx).UTC()
	name := fmt.Sprintf("%s, %s at %d%%", r.phase, track, weight)
	if extension > w.Extensions {
		name = "on hold: " + name
	}
	r.windows = append(r.windows, signals.WindowStatus{Phase: r.phase, Weight: weight, Started: start, Ends: start.Add(w.Duration.D())})
	status := &r.windows[len(r.windows)-1]
	r.now("watching "+name, status.Ends)

	watchCtx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimerWithOptions(watchCtx, w.Duration.D(), workflow.TimerOptions{Summary: "window: " + name})
	activityCtx := workflow.WithActivityOptions(watchCtx, watching(r.plan.Target, w.Duration.D(), "watch "+name))
	watched := workflow.ExecuteActivity(activityCtx, deploy.Watch, signals.WatchInput{
		Plan: r.plan, Phase: r.phase, Weight: weight, Track: track, Window: w, Start: start, Digest: digest, Extension: extension,
	})
	var result signals.WindowResult
	if err := watched.Get(ctx, &result); err != nil {
		if ctx.Err() != nil {
			return result, err
		}
		// Nobody watched: that is an outage of the telemetry, and never a pass.
		result = signals.WindowResult{
			Phase: r.phase, Weight: weight, Verdict: signals.Outage, Started: start, Ended: workflow.Now(ctx).UTC(),
			Reason: "the window could not be watched: " + explain(err),
		}
	}
	if result.Verdict != signals.Fail {
		if err := timer.Get(ctx, nil); err != nil {
			return result, err
		}
	}
	status.Verdict, status.Reason, status.Checks, status.Ends = result.Verdict, result.Reason, result.Checks, result.Ended
	return result, nil
}

// consequence is what an unjudged window leads to: roll back if any check that
// could not be judged asks for it, or if none says anything.
func consequence(checks []signals.Check, result signals.WindowResult) signals.Consequence {
	byName := map[string]signals.Check{}
	for _, c := range checks {
		byName[c.Name] = c
	}
	hold := false
	for _, res := range result.Checks {
		c := byName[res.Check]
		asked := signals.Consequence("")
		switch res.Verdict {
		case signals.Insufficient:
			asked = c.OnInsufficient
		case signals.Outage:
			asked = c.OnOutage
		}
		if asked == signals.RollBack {
			return signals.RollBack
		}
		hold = hold || asked == signals.Hold
	}
	if hold {
		return signals.Hold
	}
	return signals.RollBack
}
