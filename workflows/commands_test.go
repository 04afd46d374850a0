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
	var early, stillBroken, hasty, then *reply
	r.at(inCanary, func() { early = r.command(onCall, signals.RetryUndo) })
	r.at(30*time.Minute, func() {
		st := r.status()
		require.Equal(t, signals.RollingBack, st.Phase)
		require.Contains(t, st.Doing, "Quota happened")
		require.Equal(t, "waybill retry "+releaseIn+" --reason '…'", st.Next[0].Command)
		require.Len(t, st.Next, 1)
		stillBroken = r.command(onCall, signals.RetryUndo)
		hasty = r.command(onCall, signals.RetryUndo)
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
	require.NotNil(t, applicationError(hasty.err, signals.ErrNotNow), "%v", hasty.err)
	require.NoError(t, then.err)
	require.Equal(t, 3, restores, "once in the rollback and once for each retry")
	require.Len(t, out.Rollback.Steps, 4+2+2, "what was done is not done again")
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

// Threat 2, for commands: what was sent once counts once.
func TestThreat2ReplayedCommand(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	same := func(s *signals.CommandStatement) { s.Nonce = "n" }
	var again *reply
	r.at(inCanary, func() { r.command(onCall, signals.Pause, same) })
	r.at(inCanary+time.Second, func() { r.command(onCall, signals.Resume) })
	r.at(inCanary+2*time.Second, func() { again = r.command(onCall, signals.Pause, same) })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(again.err, signals.ErrReplayed), "%v", again.err)
	require.Equal(t, 1, w.count(signals.RecordRefusal))
}
