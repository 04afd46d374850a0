package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// event finds what was told by the beginning of its name; each is told once.
func (s *slack) event(t *testing.T, prefix string) signals.Reply {
	t.Helper()
	var found []signals.Reply
	for _, r := range s.replies {
		if strings.HasPrefix(r.Event, prefix) {
			found = append(found, r)
		}
	}
	require.Len(t, found, 1, "%s among %v", prefix, s.events())
	return found[0]
}

func TestApproversAreRemindedBeforeTheirTimeIsOver(t *testing.T) {
	reminded := func(p *signals.Plan) {
		p.Notify.Remind = []signals.Duration{signals.Duration(10 * time.Minute), signals.Duration(30 * time.Minute), signals.Duration(10 * time.Minute), signals.Duration(2 * time.Hour)}
	}
	start := func(t *testing.T) (*run, *slack) {
		t.Helper()
		w := newWorld(t)
		r, s := w.followed(t, signals.LaneStatus{})
		notify := w.edit
		w.edit = func(p *signals.Plan) {
			notify(p)
			reminded(p)
		}
		return r, s
	}
	t.Run("nobody decides", func(t *testing.T) {
		r, s := start(t)
		began := r.Now()
		require.Equal(t, signals.Expired, r.execute(requestIn).Kind)
		first, last := s.event(t, "reminder/30m"), s.event(t, "reminder/10m")
		require.True(t, first.Loud && !first.Escalate)
		require.True(t, last.Loud && last.Escalate, "the last one goes further")
		require.Equal(t, 30*time.Minute, first.At.Sub(began).Round(time.Minute))
		require.Equal(t, 50*time.Minute, last.At.Sub(began).Round(time.Minute))
		require.Contains(t, last.Text, "1 of payments-leads and 1 of risk")
	})
	t.Run("they decide after the first", func(t *testing.T) {
		r, s := start(t)
		r.at(40*time.Minute, func() {
			r.decide(lead, signals.Approve)
			r.decide(risk, signals.Approve)
		})
		require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
		s.event(t, "reminder/30m")
		require.NotContains(t, strings.Join(s.events(), " "), "reminder/10m")
	})
}

func TestWhatPeopleDoIsTold(t *testing.T) {
	w := newWorld(t)
	r, s := w.followed(t, signals.LaneStatus{})
	r.at(time.Minute, func() { r.decide(lead, signals.Approve) })
	r.fallsAt(2*time.Minute, signals.StandingChange{What: "approver", Approver: lead.Key(), Reason: "release-lead left"})
	r.at(10*time.Minute, func() {
		r.decide(risk, signals.Approve)
		r.decide(person("second-lead", "payments-leads"), signals.Approve)
	})
	canary := 11*time.Minute + 30*time.Second
	r.at(canary, func() { r.command(onCall, signals.Pause) })
	r.at(canary+time.Hour, func() { r.command(onCall, signals.Resume) })
	r.at(canary+time.Hour+time.Second, func() { r.command(onCall, signals.Skip) })
	r.at(canary+2*time.Hour, func() { t.Error("it should have ended by now: " + r.status().Doing) })
	w.verdict = failsInBake
	require.Equal(t, signals.RolledBack, r.execute(requestIn).Kind)
	require.Equal(t, "release-lead approved: read the plan, looks right (still missing 1 of risk)", s.event(t, "approval/release-leadapprove").Text)
	require.True(t, s.event(t, "void/").Loud)
	require.Contains(t, s.event(t, "quorum/").Text, "risk-officer, second-lead")
	require.Equal(t, "Paused by on-call: because", s.event(t, "command/pause-").Text)
	require.Equal(t, "Resumed by on-call: because", s.event(t, "command/resume-").Text)
	require.Contains(t, s.event(t, "verdict/baseline-0-1").Text, "pass")
	require.Contains(t, s.event(t, "verdict/bake-0-").Text, "fail")
	require.Contains(t, s.event(t, "rollback-done").Text, "Rollback: back to "+short(oldDigest))
	require.Contains(t, s.event(t, "outcome").Text, "rolled-back")
}

func TestAFailedUndoCallsSomebody(t *testing.T) {
	w := newWorld(t)
	w.verdict = failsInBake
	w.fail["RestoreStable"] = permanentOnce("Quota")
	r, s := w.followed(t, signals.LaneStatus{})
	r.approved().at(2*time.Hour, func() { r.command(onCall, signals.RetryUndo) })
	require.Equal(t, signals.RolledBack, r.execute(requestIn).Kind)
	called := s.event(t, "undo-failed/")
	require.True(t, called.Loud && called.Escalate)
	require.Contains(t, called.Text, "waybill retry "+releaseIn)
	require.Contains(t, called.Text, "Quota happened")
	require.False(t, s.event(t, "rollback-done").Loud, "it was mended")
	require.Equal(t, "Undo retried by on-call: because", s.event(t, "command/retry-").Text)
}

func TestAHoldCallsSomebodyOnce(t *testing.T) {
	w := newWorld(t)
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Canary {
			return signals.Outage
		}
		return signals.Pass
	}
	r, s := w.followed(t, signals.LaneStatus{})
	r.approved().at(5*time.Hour, func() { r.abort("enough") })
	require.Equal(t, signals.Aborted, r.execute(requestIn).Kind)
	called := s.event(t, "hold/")
	require.True(t, called.Loud && called.Escalate)
}

func TestAnEmergencyIsToldLoudly(t *testing.T) {
	w := newWorld(t)
	w.edit = emergency
	r, s := w.followed(t, signals.LaneStatus{})
	require.Equal(t, signals.Promoted, r.approved().execute(r.askedBy(onCall)).Kind)
	told := s.event(t, "break-glass")
	require.True(t, told.Loud && told.Escalate)
	require.Contains(t, told.Text, "payments are down")
}
