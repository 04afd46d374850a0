package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// longestLook is how long a release on hold is watched at a time.
const longestLook = time.Hour

// watched is the window under way and what operators want of it.
type watched struct {
	window signals.Window
	track  string
	weight int32
	digest string

	looks    int
	skip     string        // why it is skipped and by whom, "" if it isn't
	more     time.Duration // still to be watched after the window
	extended time.Duration // asked for in all
	onHold   bool          // people were told that it can't be judged
}

func (w *watched) name() string { return fmt.Sprintf("%s at %d%%", w.track, w.weight) }

// held is the nth look at a release on hold: ever longer, and more seldom.
func (w *watched) held(n int) signals.Window {
	length := w.window
	length.Duration = min(w.window.Duration<<min(n, 20), signals.Duration(longestLook))
	length.Interval = max(w.window.Interval, length.Duration/500)
	return length
}

// longer is a look of a length that an operator asked for.
func (w *watched) longer(by time.Duration) signals.Window {
	length := w.window
	length.Duration, length.WarmUp = signals.Duration(by), 0
	length.Interval = min(max(w.window.Interval, length.Duration/500), length.Duration)
	return length
}

// goesOn tells the verdicts after which a release goes on.
func goesOn(v signals.Verdict) bool { return v == signals.Pass || v == signals.Skipped }

// window watches one window, extends it while it can't be judged, and holds if
// the plan says so, or for as long as somebody pauses the release: what serves
// traffic is never left unwatched. What it returns is recorded already; after a
// verdict other than pass and skipped the release must not go on.
func (r *release) window(ctx workflow.Context, window signals.Window, track string, weight int32, digest string) (signals.WindowResult, error) {
	w := &watched{window: window, track: track, weight: weight, digest: digest}
	r.watched, r.serving = w, nil
	defer func() {
		r.lapse()
		r.watched = nil
		if r.changed() {
			r.serving = w
		}
	}()
	for extension := 0; ; extension++ {
		length, name := window, w.name()
		if extension > window.Extensions {
			length, name = w.held(extension-window.Extensions), "on hold: "+w.name()
		}
		result, err := r.look(ctx, length, name, extension, r.skipped)
		if err == nil {
			result, err = r.prolong(ctx, result)
		}
		if err != nil || goesOn(result.Verdict) || result.Verdict == signals.Fail {
			return result, err
		}
		if extension >= window.Extensions {
			if consequence(r.plan.Checks, result) != signals.Hold {
				return result, nil
			}
			r.tellOnHold(result)
		}
	}
}

// prolong goes on watching after a window for as long as operators want it: by
// what they extended it, and while they hold the release. The last verdict counts.
func (r *release) prolong(ctx workflow.Context, result signals.WindowResult) (signals.WindowResult, error) {
	w := r.watched
	for holds := 0; result.Verdict != signals.Fail && result.Verdict != signals.Skipped; {
		var next signals.WindowResult
		var err error
		switch {
		case w.skip != "":
			result.Verdict, result.Reason = signals.Skipped, w.skip
			return result, r.keep(ctx, result)
		case w.more > 0:
			by := w.more
			w.more = 0
			next, err = r.look(ctx, w.longer(by), "extended: "+w.name(), w.looks, r.skipped)
		case r.paused != nil:
			next, err = r.look(ctx, w.held(holds), "paused: "+w.name(), w.looks, r.resumed)
			holds++
			if err == nil && next.Verdict == signals.Skipped {
				continue // cut short: what was seen in full before counts
			}
		default:
			return result, nil
		}
		if err != nil {
			return result, err
		}
		result = next
	}
	return result, nil
}

// skipped says why the watch under way is to end at once, "" if it isn't.
func (r *release) skipped() string {
	if r.watched == nil {
		return ""
	}
	return r.watched.skip
}

// resumed says that a watch is to end which lasts for as long as the release is
// held, "" while it is.
func (r *release) resumed() string {
	if r.paused != nil {
		return ""
	}
	return "cut short when the release was resumed; nothing had failed until then"
}

// hold waits while somebody pauses the release before its next step. What serves
// traffic already is watched meanwhile, and watched once in full before the
// release goes on: its last verdict is older than the pause.
func (r *release) hold(ctx workflow.Context) error {
	for r.paused != nil {
		w := r.serving
		if w == nil {
			r.now("paused by "+r.paused.text(), time.Time{})
			if err := workflow.Await(ctx, func() bool { return r.paused == nil }); err != nil {
				return err
			}
			continue
		}
		result, err := r.window(ctx, w.window, w.track, w.weight, w.digest)
		if err != nil {
			return err
		}
		if !goesOn(result.Verdict) {
			r.gate(failed, "while paused: "+result.Reason)
			return stopped(signals.RolledBack, "check", "while paused: "+result.Reason)
		}
	}
	return nil
}

// look watches for one length of time and writes the verdict down.
func (r *release) look(ctx workflow.Context, length signals.Window, name string, extension int, cut func() string) (signals.WindowResult, error) {
	r.watched.looks++
	result, err := r.watch(ctx, length, name, extension, cut)
	if err != nil {
		return result, err
	}
	return result, r.keep(ctx, result)
}

// keep records a verdict and tells it. A failing one does not wait for the
// bucket: what follows is a rollback.
func (r *release) keep(ctx workflow.Context, result signals.WindowResult) error {
	r.tellVerdict(result)
	p := signals.AnalysisPredicate{
		PlanDigest: r.digest, Track: r.watched.track, Method: analysisMethod, Checks: r.plan.Checks, Result: result,
	}
	if result.Verdict == signals.Fail {
		r.note(signals.RecordAnalysis, p)
		r.verdict = ""
		return nil
	}
	out, err := r.record(ctx, signals.RecordAnalysis, p)
	if err == nil && (result.Verdict != signals.Skipped || r.watched.skip != "") {
		r.verdict = out.Ref.Digest
	}
	return err
}

// analysisMethod names how verdicts are computed, for whoever computes them again.
const analysisMethod = "absolute threshold and comparison with stable, v1"

// watch is one window: a durable timer that says when it is over, and beside it
// one activity that samples and comes back early on a failing verdict. It ends as
// skipped as soon as cut gives a reason.
func (r *release) watch(ctx workflow.Context, w signals.Window, doing string, extension int, cut func() string) (signals.WindowResult, error) {
	track, weight := r.watched.track, r.watched.weight
	start := workflow.Now(ctx).UTC()
	name := fmt.Sprintf("%s, %s", r.phase, doing)
	r.windows = append(r.windows, signals.WindowStatus{Phase: r.phase, Weight: weight, Started: start, Ends: start.Add(w.Duration.D())})
	at := len(r.windows) - 1
	r.now("watching "+name, r.windows[at].Ends)

	watchCtx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimerWithOptions(watchCtx, w.Duration.D(), workflow.TimerOptions{Summary: "window: " + name})
	activityCtx := workflow.WithActivityOptions(watchCtx, watching(r.plan.Target, w.Duration.D(), "watch "+name))
	activity := workflow.ExecuteActivity(activityCtx, deploy.Watch, signals.WatchInput{
		Plan: r.plan, Phase: r.phase, Weight: weight, Track: track, Window: w, Start: start, Digest: r.watched.digest, Extension: extension,
	})
	result := signals.WindowResult{Phase: r.phase, Weight: weight, Verdict: signals.Outage, Started: start}
	wait := func(f workflow.Future) error {
		return workflow.Await(ctx, func() bool { return f.IsReady() || cut() != "" })
	}
	if err := wait(activity); err != nil {
		return result, err
	}
	if activity.IsReady() {
		if err := activity.Get(ctx, &result); ctx.Err() != nil {
			return result, err
		} else if err != nil {
			// Nobody watched: that is an outage of the telemetry, and never a pass.
			result.Reason = "the window could not be watched: " + explain(err)
		}
	}
	if result.Verdict != signals.Fail {
		if err := wait(timer); err != nil {
			return result, err
		}
		if err := ctx.Err(); err != nil {
			return result, err
		}
		if reason := cut(); reason != "" {
			result.Verdict, result.Reason = signals.Skipped, reason
		}
	}
	if result.Ended.IsZero() || result.Verdict == signals.Skipped {
		result.Ended = workflow.Now(ctx).UTC()
	}
	status := &r.windows[at]
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
