package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// seen keeps the windows that were watched, by phase and weight, in order.
type seen struct{ windows []signals.WatchInput }

func (s *seen) verdict(in signals.WatchInput) signals.Verdict {
	s.windows = append(s.windows, in)
	return signals.Pass
}

func (s *seen) of(phase signals.Phase, weight int32) (n int) {
	for _, in := range s.windows {
		if in.Phase == phase && in.Weight == weight {
			n++
		}
	}
	return n
}

// The approvals come at 1:00, the baseline lasts until 2:00, the canary at 5%
// until 3:00 and so on, a minute each.
const inCanary = 2*time.Minute + 30*time.Second

func TestPausedCanaryIsWatchedOn(t *testing.T) {
	w, s := newWorld(t), &seen{}
	w.verdict = s.verdict
	r := w.start(t).approved()
	var paused, again, resumed *reply
	r.at(inCanary, func() { paused = r.command(onCall, signals.Pause) })
	r.at(inCanary+time.Second, func() { again = r.command(onCall, signals.Pause) })
	r.at(time.Hour, func() {
		st := r.status()
		require.Equal(t, "on-call: because", st.Paused)
		require.Equal(t, signals.Canary, st.Phase)
		require.Equal(t, int32(5), w.weight)
		require.Greater(t, s.of(signals.Canary, 5), 3)
		require.Equal(t, "waybill resume "+releaseIn+" --reason '…'", st.Next[0].Command)
		resumed = r.command(onCall, signals.Resume)
	})
	out := r.execute(requestIn)
	require.Equal(t, signals.Promoted, out.Kind)
	require.NoError(t, paused.err)
	require.NoError(t, resumed.err)
	require.NotNil(t, applicationError(again.err, signals.ErrNotNow))
	require.Equal(t, 2, w.count(signals.RecordCommand))
	require.Equal(t, 1, s.of(signals.Ramp, 25), "after it nothing is watched twice")
	require.Less(t, out.EndedAt.Sub(out.StartedAt), time.Hour+10*time.Minute, "resuming ends the look under way")
}

func TestPausedCanaryThatFailsIsRolledBack(t *testing.T) {
	w := newWorld(t)
	looks := 0
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Canary {
			if looks++; looks > 2 {
				return signals.Fail
			}
		}
		return signals.Pass
	}
	r := w.start(t).approved()
	r.at(inCanary, func() { r.command(onCall, signals.Pause) })
	out := r.execute(requestIn)
	require.Equal(t, signals.RolledBack, out.Kind)
	require.Equal(t, oldDigest, w.stable)
}

func TestPauseHoldsBeforeTheLane(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.at(30*time.Second, func() { r.command(onCall, signals.Pause) })
	r.approved()
	r.at(30*time.Minute, func() {
		require.Equal(t, signals.Approving, r.status().Phase)
		require.Zero(t, w.count(signals.RecordLane))
		require.Contains(t, r.status().Doing, "paused by on-call")
		r.command(onCall, signals.Resume)
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
}

// A pause that comes while a step is being prepared holds it all the same, and
// the canary that serves already is watched in full before the step is taken.
func TestPauseBetweenWindowsHoldsTheStep(t *testing.T) {
	w, s := newWorld(t), &seen{}
	w.verdict = s.verdict
	r := w.start(t).approved()
	checks := 0
	w.recheck = func() error {
		if checks++; checks == 2 { // before 25%
			r.RegisterDelayedCallback(func() { r.command(onCall, signals.Pause) }, 0)
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	}
	r.at(time.Hour, func() {
		require.Equal(t, int32(5), w.weight)
		require.Greater(t, s.of(signals.Ramp, 5), 3, "watched on at the old weight")
		require.Equal(t, 2, w.count(signals.RecordDeployment), "and nothing more is intended")
		r.command(onCall, signals.Resume)
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.Equal(t, int32(100), w.maxWeight)
}

func TestPermitIsRenewedAfterALongPause(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	r.at(inCanary, func() { r.command(onCall, signals.Pause) })
	r.at(9*time.Hour, func() { r.command(onCall, signals.Resume) })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.Equal(t, 2, w.count(signals.RecordPermit))
}

func TestExtendWatchesLonger(t *testing.T) {
	w, s := newWorld(t), &seen{}
	w.verdict = s.verdict
	r := w.start(t).approved()
	var got, tooMuch *reply
	r.at(inCanary, func() {
		got = r.command(onCall, signals.Extend, func(c *signals.CommandStatement) { c.By = signals.Duration(3 * time.Hour) })
	})
	r.at(inCanary+time.Second, func() {
		tooMuch = r.command(onCall, signals.Extend, func(c *signals.CommandStatement) { c.By = signals.Duration(22 * time.Hour) })
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NoError(t, got.err)
	require.NotNil(t, applicationError(tooMuch.err, signals.ErrNotAllowed))
	require.Equal(t, 2, s.of(signals.Canary, 5))
	require.Equal(t, 3*time.Hour, s.windows[2].Window.Duration.D())
	require.LessOrEqual(t, s.windows[2].Window.Duration/s.windows[2].Window.Interval, signals.Duration(500))
}

func TestAnExtendedWindowThatFailsIsRolledBack(t *testing.T) {
	w := newWorld(t)
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Window.Duration.D() == time.Hour {
			return signals.Fail
		}
		return signals.Pass
	}
	r := w.start(t).approved()
	r.at(inCanary, func() {
		r.command(onCall, signals.Extend, func(c *signals.CommandStatement) { c.By = signals.Duration(time.Hour) })
	})
	require.Equal(t, signals.RolledBack, r.execute(requestIn).Kind)
}

func TestSkipAtTierOne(t *testing.T) {
	w := newWorld(t)
	w.edit = func(p *signals.Plan) { p.Tier = 1 }
	r := w.start(t).approved()
	r.at(inCanary, func() {
		require.NoError(t, r.command(onCall, signals.Skip).err)
	})
	r.at(inCanary+time.Second, func() { require.Equal(t, signals.Ramp, r.status().Phase, "it went on at once") })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	p := analysis(w, signals.Canary)
	require.Equal(t, signals.Skipped, p.Result.Verdict)
	require.Equal(t, "skipped by on-call: because", p.Result.Reason)
}

func TestSkipEndsAHoldThatNothingElseEnds(t *testing.T) {
	w := newWorld(t)
	w.edit = func(p *signals.Plan) { p.Tier = 1 }
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Canary {
			return signals.Outage
		}
		return signals.Pass
	}
	r := w.start(t).approved()
	r.at(2*time.Hour, func() { require.NoError(t, r.command(onCall, signals.Skip).err) })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.Equal(t, signals.Skipped, analysis(w, signals.Canary).Result.Verdict)
}

// analysis is the last verdict of a phase.
func analysis(w *world, phase signals.Phase) signals.AnalysisPredicate {
	for _, r := range slices.Backward(w.records) {
		if r.Kind == signals.RecordAnalysis {
			if p := decode[signals.AnalysisPredicate](w, r); p.Result.Phase == phase {
				return p
			}
		}
	}
	w.t.Fatalf("no verdict in phase %s", phase)
	return signals.AnalysisPredicate{}
}

// Paused while stable takes the digest: what serves then is watched, on the
// track that it serves on.
func TestPauseDuringPromotionHoldsInTheBake(t *testing.T) {
	w, s := newWorld(t), &seen{}
	w.verdict = s.verdict
	r := w.start(t).approved()
	w.fail["PromoteStable"] = func() error {
		r.RegisterDelayedCallback(func() { r.command(onCall, signals.Pause) }, 0)
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	r.at(time.Hour, func() {
		require.Equal(t, signals.Bake, r.status().Phase)
		require.Greater(t, s.of(signals.Bake, 0), 3)
		require.Zero(t, s.of(signals.Promotion, 100), "the canary is gone")
		r.command(onCall, signals.Resume)
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
}
