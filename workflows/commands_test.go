package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

var (
	lead = person("release-lead", "payments-leads")
	risk = person("risk-officer", "risk")
)

// judge is asked for every command in every situation that matters.
func TestWhichCommandMakesSenseWhen(t *testing.T) {
	deciders := signals.Quorum{Groups: []signals.GroupQuorum{{Group: "risk", Count: 1}}}
	situations := map[string]struct {
		in  situation
		yes []signals.CommandKind // all others are ErrNotNow
	}{
		"waits for approval":    {situation{phase: signals.Approving}, []signals.CommandKind{signals.Pause, signals.Abort}},
		"paused, waiting":       {situation{phase: signals.Approving, paused: "on-call"}, []signals.CommandKind{signals.Resume, signals.Abort}},
		"baseline":              {situation{phase: signals.Baseline, window: true}, []signals.CommandKind{signals.Pause, signals.Abort, signals.Skip, signals.Extend}},
		"between windows":       {situation{phase: signals.Ramp, changed: true}, []signals.CommandKind{signals.Pause, signals.Abort, signals.RollBackNow}},
		"canary":                {situation{phase: signals.Canary, window: true, changed: true}, []signals.CommandKind{signals.Pause, signals.Abort, signals.Skip, signals.Extend, signals.RollBackNow}},
		"canary, paused":        {situation{phase: signals.Canary, window: true, changed: true, paused: "on-call"}, []signals.CommandKind{signals.Resume, signals.Abort, signals.Extend, signals.RollBackNow}},
		"canary, being skipped": {situation{phase: signals.Canary, window: true, changed: true, skip: true}, []signals.CommandKind{signals.Pause, signals.Abort, signals.RollBackNow}},
		"being aborted":         {situation{phase: signals.Canary, window: true, changed: true, halted: "on-call"}, nil},
		"rolling back":          {situation{phase: signals.RollingBack, changed: true}, nil},
		"an undo failed":        {situation{phase: signals.RollingBack, changed: true, unfinished: true}, []signals.CommandKind{signals.RetryUndo}},
		"settled":               {situation{phase: signals.Settled, closing: true, changed: true, unfinished: true}, nil},
	}
	for name, c := range situations {
		for _, kind := range signals.CommandKinds() {
			t.Run(name+": "+string(kind), func(t *testing.T) {
				c.in.deciders, c.in.tier = deciders, 2
				second, err := judge(c.in, signals.CommandStatement{Command: kind, Reason: "because", By: signals.Duration(time.Hour), Operator: onCall})
				if slices.Contains(c.yes, kind) {
					require.NoError(t, err)
					require.Equal(t, kind == signals.Skip, second)
					return
				}
				app := applicationError(err, signals.ErrNotNow)
				require.NotNil(t, app, "%v", err)
				require.Contains(t, app.Message(), string(c.in.phase), "the state is named")
			})
		}
	}
}

func TestWhoMayCommandWhat(t *testing.T) {
	window := situation{phase: signals.Canary, window: true, changed: true, tier: 1}
	of := func(edit func(*situation)) situation {
		s := window
		edit(&s)
		return s
	}
	operated := of(func(s *situation) {
		s.operate, s.requester = []string{"payments-oncall"}, "https://id.example#developer"
	})
	cases := map[string]struct {
		in      situation
		command signals.CommandStatement
		kind    string // "" if it may
		second  bool
	}{
		"no reason":                 {window, signals.CommandStatement{Command: signals.Abort, Reason: " ", Operator: onCall}, signals.ErrNotAllowed, false},
		"unknown":                   {window, signals.CommandStatement{Command: "explode", Reason: "x", Operator: onCall}, signals.ErrUntrusted, false},
		"an operator":               {operated, signals.CommandStatement{Command: signals.Pause, Reason: "x", Operator: onCall}, "", false},
		"no operator":               {operated, signals.CommandStatement{Command: signals.Pause, Reason: "x", Operator: lead}, signals.ErrNotAllowed, false},
		"the requester aborts":      {operated, signals.CommandStatement{Command: signals.Abort, Reason: "x", Operator: person("developer")}, "", false},
		"the requester skips":       {operated, signals.CommandStatement{Command: signals.Skip, Reason: "x", Operator: person("developer")}, signals.ErrNotAllowed, false},
		"nobody named":              {window, signals.CommandStatement{Command: signals.Pause, Reason: "x", Operator: lead}, "", false},
		"skip at tier 1":            {window, signals.CommandStatement{Command: signals.Skip, Reason: "x", Operator: onCall}, "", false},
		"skip at tier 2":            {of(func(s *situation) { s.tier, s.deciders.Groups = 2, []signals.GroupQuorum{{Group: "risk", Count: 1}} }), signals.CommandStatement{Command: signals.Skip, Reason: "x", Operator: onCall}, "", true},
		"skip that nobody approves": {of(func(s *situation) { s.tier = 2 }), signals.CommandStatement{Command: signals.Skip, Reason: "x", Operator: onCall}, signals.ErrNotAllowed, false},
		"extend by nothing":         {window, signals.CommandStatement{Command: signals.Extend, Reason: "x", Operator: onCall}, signals.ErrNotAllowed, false},
		"extend backwards":          {window, signals.CommandStatement{Command: signals.Extend, By: -1, Reason: "x", Operator: onCall}, signals.ErrNotAllowed, false},
		"extend by a day":           {window, signals.CommandStatement{Command: signals.Extend, By: signals.Duration(24 * time.Hour), Reason: "x", Operator: onCall}, "", false},
		"extend by more":            {window, signals.CommandStatement{Command: signals.Extend, By: signals.Duration(24*time.Hour + 1), Reason: "x", Operator: onCall}, signals.ErrNotAllowed, false},
		"extend by more in all":     {of(func(s *situation) { s.extended = time.Hour }), signals.CommandStatement{Command: signals.Extend, By: signals.Duration(24 * time.Hour), Reason: "x", Operator: onCall}, signals.ErrNotAllowed, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			second, err := judge(c.in, c.command)
			require.Equal(t, c.second, second)
			if c.kind == "" {
				require.NoError(t, err)
				return
			}
			require.NotNil(t, applicationError(err, c.kind), "%v", err)
		})
	}
}

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

// approveCommand decides on the command that is pending.
func (r *run) decideOn(command string, who signals.Subject, d signals.Decision) *reply {
	return r.decide(who, d, func(s *signals.ApprovalStatement) { s.Command, s.Nonce = command, who.ID+"-on-"+command })
}

func TestSkipAtTierTwoTakesTwoPeople(t *testing.T) {
	w := newWorld(t)
	w.source = &signals.SourceReview{Authors: []signals.Contributor{{Email: "author@payments.example"}}}
	author := person("author", "risk")
	author.Email = "author@payments.example"
	r := w.start(t).approved()
	var asked, own, outsider, excluded, unknown, twice, approved, late *reply
	r.at(inCanary, func() {
		asked = r.command(risk, signals.Skip)
		twice = r.command(risk, signals.Skip)
	})
	r.at(inCanary+time.Second, func() {
		st := r.status()
		require.Equal(t, signals.Canary, st.Phase, "it has no effect yet")
		require.Equal(t, []signals.PendingCommand{{
			ID: asked.receipt.Pending, Command: signals.Skip, By: "risk-officer", Reason: "because", At: st.Pending[0].At,
		}}, st.Pending)
		require.Equal(t, "waybill approve "+releaseIn+" --command "+asked.receipt.Pending+" --reason '…'", st.Next[0].Command)
		own = r.decideOn(asked.receipt.Pending, risk, signals.Approve)
		outsider = r.decideOn(asked.receipt.Pending, onCall, signals.Approve)
		excluded = r.decideOn(asked.receipt.Pending, author, signals.Approve)
		unknown = r.decideOn("another", lead, signals.Approve)
		approved = r.decideOn(asked.receipt.Pending, lead, signals.Approve)
	})
	r.at(inCanary+5*time.Second, func() {
		require.Equal(t, signals.Ramp, r.status().Phase)
		late = r.decide(person("second-lead", "payments-leads"), signals.Approve, func(s *signals.ApprovalStatement) { s.Command = asked.receipt.Pending })
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NoError(t, approved.err)
	require.NotNil(t, applicationError(twice.err, signals.ErrNotNow), "%v", twice.err)
	require.NotNil(t, applicationError(own.err, signals.ErrNotAllowed), "%v", own.err)
	require.NotNil(t, applicationError(outsider.err, signals.ErrNotAllowed), "%v", outsider.err)
	require.NotNil(t, applicationError(excluded.err, signals.ErrNotAllowed), "%v", excluded.err)
	require.NotNil(t, applicationError(unknown.err, signals.ErrNotNow), "%v", unknown.err)
	require.NotNil(t, applicationError(late.err, signals.ErrNotNow), "%v", late.err)
	command := predicate[signals.CommandPredicate](w, signals.RecordCommand)
	require.Equal(t, "approved", command.State)
	require.Equal(t, lead.Key(), command.ApprovedBy)
	require.Equal(t, 2, w.count(signals.RecordCommand), "as asked for and as approved")
	require.Equal(t, 3, w.count(signals.RecordApproval))
	require.Equal(t, "skipped by risk-officer: because; approved by release-lead", analysis(w, signals.Canary).Result.Reason)
}

func TestSkipThatIsDeniedOrTooLateHasNoEffect(t *testing.T) {
	for name, decide := range map[string]func(r *run, id string){
		"denied":   func(r *run, id string) { require.NoError(r.t, r.decideOn(id, lead, signals.Deny).err) },
		"too late": func(*run, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newWorld(t), &seen{}
			w.verdict = s.verdict
			r := w.start(t).approved()
			r.at(inCanary, func() {
				asked := r.command(onCall, signals.Skip)
				r.RegisterDelayedCallback(func() { decide(r, asked.receipt.Pending) }, time.Second)
			})
			r.at(3*time.Minute+30*time.Second, func() {
				require.Equal(t, signals.Ramp, r.status().Phase)
				require.Empty(t, r.status().Pending)
			})
			require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
			require.Equal(t, signals.Pass, analysis(w, signals.Canary).Result.Verdict)
		})
	}
}

func TestRollBackNow(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	var early, then *reply
	r.at(90*time.Second, func() { early = r.command(onCall, signals.RollBackNow) })
	r.at(inCanary, func() {
		require.NoError(t, r.command(onCall, signals.RollBackNow).err)
		then = r.abort("too")
	})
	out := r.execute(requestIn)
	require.Equal(t, signals.RolledBack, out.Kind)
	require.Equal(t, "operator", out.Rollback.Trigger)
	require.Equal(t, onCall.Key(), out.By)
	require.Equal(t, oldDigest, w.stable)
	require.NotNil(t, applicationError(early.err, signals.ErrNotNow), "%v", early.err)
	require.NotNil(t, applicationError(then.err, signals.ErrNotNow), "%v", then.err)
}

func failsInBake(in signals.WatchInput) signals.Verdict {
	if in.Phase == signals.Bake {
		return signals.Fail
	}
	return signals.Pass
}

func TestFailedUndoIsRetriedWhenAnOperatorSaysSo(t *testing.T) {
	w := newWorld(t)
	w.verdict = failsInBake
	broken := true
	restores := 0
	w.fail["RestoreStable"] = func() error {
		restores++
		if broken {
			return permanent("Quota")()
		}
		return nil
	}
	r := w.start(t).approved()
	var early, stillBroken, then *reply
	r.at(inCanary, func() { early = r.command(onCall, signals.RetryUndo) })
	r.at(30*time.Minute, func() {
		st := r.status()
		require.Equal(t, signals.RollingBack, st.Phase)
		require.Contains(t, st.Doing, "Quota happened")
		require.Equal(t, "waybill retry "+releaseIn+" --reason '…'", st.Next[0].Command)
		require.Len(t, st.Next, 1)
		stillBroken = r.command(onCall, signals.RetryUndo)
	})
	r.at(time.Hour, func() {
		broken = false
		then = r.command(onCall, signals.RetryUndo)
	})
	out := r.execute(requestIn)
	require.Equal(t, signals.RolledBack, out.Kind)
	require.True(t, out.Rollback.Complete)
	require.Equal(t, oldDigest, w.stable)
	require.NotNil(t, applicationError(early.err, signals.ErrNotNow), "%v", early.err)
	require.NoError(t, stillBroken.err)
	require.NoError(t, then.err)
	require.Equal(t, 3, restores, "once in the rollback and once for each retry")
	require.Equal(t, 3, w.count(signals.RecordRollback), "each attempt has its record")
}

func TestFailedUndoThatNobodyRetriesFailsTheRelease(t *testing.T) {
	w := newWorld(t)
	w.verdict = failsInBake
	w.fail["RestoreStable"] = permanent("Quota")
	r := w.start(t).approved()
	began := r.Now()
	r.ExecuteWorkflow(Release, rawInput(requestIn))
	err := r.GetWorkflowError()
	require.NotNil(t, applicationError(err, signals.ErrUndo), "%v", err)
	require.ErrorContains(t, err, "Quota happened")
	require.GreaterOrEqual(t, r.Now().Sub(began), undoPatience)
}
