package workflows

import (
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func decodeFirst(e *workflow.ContinueAsNewError, into any) error {
	return converter.GetDefaultDataConverter().FromPayloads(e.Input, into)
}

// Whatever the verdicts, faults and commands: a release that ends leaves the
// environment at the new digest or at last known good, all of it, with papers
// that are whole. check() holds the world against that; here the world is made
// to misbehave at random.
func TestAReleaseEndsWholeWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		verdicts := rapid.SliceOfN(rapid.SampledFrom([]signals.Verdict{
			signals.Pass, signals.Pass, signals.Pass, signals.Pass, signals.Fail, signals.Insufficient, signals.Outage,
		}), 30, 30).Draw(rt, "verdicts")
		look := 0
		w.verdict = func(signals.WatchInput) signals.Verdict {
			look++
			return verdicts[min(look, len(verdicts))-1]
		}
		for _, name := range []string{"VerifyArtifact", "Observe", "EnsureCanary", "SetWeight", "PromoteStable", "RemoveCanary", "Watch"} {
			switch rapid.IntRange(0, 9).Draw(rt, name) {
			case 0:
				w.fail[name] = permanentOnce(signals.ErrNotReady)
			case 1:
				w.fail[name] = times(3)
			}
		}
		if rapid.IntRange(0, 4).Draw(rt, "leftovers") == 0 {
			w.canary, w.weight = true, 50
		}
		if n := rapid.IntRange(0, 20).Draw(rt, "recheck fails at"); n > 0 && n < 8 {
			w.recheck = func() error {
				if n--; n == 0 {
					return temporal.NewNonRetryableApplicationError("withdrawn", signals.ErrRefused, nil)
				}
				return nil
			}
		}
		r := w.start(t).approved()
		switch at := time.Duration(rapid.IntRange(90, 900).Draw(rt, "at")) * time.Second; rapid.IntRange(0, 3).Draw(rt, "stop by") {
		case 0:
			r.RegisterDelayedCallback(func() { r.abort("drawn") }, at)
		case 1:
			r.RegisterDelayedCallback(r.CancelWorkflow, at)
		}
		r.ExecuteWorkflow(Release, rawInput(requestIn))
		if err := r.GetWorkflowError(); err != nil {
			// An undo that could not be done is the one way to fail.
			if applicationError(err, signals.ErrUndo) == nil {
				rt.Fatalf("failed: %v", err)
			}
			return
		}
		var out signals.Outcome
		if err := r.GetWorkflowResult(&out); err != nil {
			rt.Fatal(err)
		}
		want := oldDigest
		if out.Kind == signals.Promoted {
			want = newDigest
		}
		if w.stable != want || w.weight != 0 && out.Rollback != nil || w.canary && out.Rollback != nil {
			rt.Fatalf("%s leaves stable at %s, weight %d, canary %t", out.Kind, w.stable, w.weight, w.canary)
		}
		if len(w.breaches) > 0 {
			rt.Fatalf("breaches: %v", w.breaches)
		}
	})
}
