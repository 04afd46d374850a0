package workflows

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/waybill-dev/waybill/signals"
)

// order is a command as the gateway would sign it; the signature itself is the
// activity's to verify, see activities/lanes_test.go.
func (l *laneRun) order(kind signals.LaneCommandKind, edit ...func(*signals.LaneCommandStatement)) *reply {
	now := l.Now().UTC()
	s := signals.LaneCommandStatement{
		Binding: signals.Binding{
			Release: signals.LaneID("prod", "payments-api"), Nonce: string(kind), IssuedAt: now, ExpiresAt: now.Add(time.Minute),
		},
		Command: kind, Reason: "the quarter closes", Operator: person("on-call", "payments-oncall"),
	}
	for _, e := range edit {
		e(&s)
	}
	body, err := json.Marshal(s)
	require.NoError(l.t, err)
	return l.send(signals.Envelope{Payload: string(body), Signatures: []signals.EnvelopeSignature{{KeyID: "gateway-1"}}})
}

func (l *laneRun) send(e signals.Envelope) *reply {
	var out reply
	l.UpdateWorkflow(signals.CommandMessage, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) { out.err, out.rejected = err, true },
		OnComplete: func(v any, err error) {
			out.err = err
			out.receipt, _ = v.(signals.Receipt)
		},
	}, signals.Message{Envelope: e})
	return &out
}

func (l *laneRun) emergency(release string) *signals.LaneGrant {
	return l.claim(signals.LaneClaim{Resource: signals.LaneEnvironment, Release: release, Run: "run-" + release, BreakGlass: true})
}

func kindOf(tb testing.TB, err error) string {
	tb.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(tb, err, &app)
	return app.Type()
}

func TestFrozenLaneLetsOnlyEmergenciesIn(t *testing.T) {
	l := startLane(t)
	var frozen, thawed *reply
	var ordinary, papers, emergency, again *signals.LaneGrant
	l.run(
		func() { frozen = l.order(signals.Freeze) },
		func() {
			require.NoError(t, frozen.err)
			require.True(t, frozen.receipt.Accepted)
			ordinary, papers = l.ask(signals.LaneEnvironment, "a"), l.ask(signals.LanePapers, "a")
		},
		func() {
			require.False(t, ordinary.Granted)
			require.Contains(t, ordinary.Blocked, "frozen by on-call: the quarter closes")
			require.True(t, papers.Granted, "papers are closed whatever is frozen")
			emergency = l.emergency("e")
			l.finished("e", ended("e", signals.Promoted, "mended"))
		},
		func() {
			require.True(t, emergency.Granted)
			require.Nil(t, l.state().Hold.Holder, "what waits is not let in when the emergency has ended")
			require.Empty(t, l.told)
			thawed = l.order(signals.Unfreeze)
		},
		func() {
			require.NoError(t, thawed.err)
			require.Equal(t, []string{"a"}, l.told)
			again = l.ask(signals.LaneEnvironment, "a")
		},
		func() { require.True(t, again.Granted) },
	)
	require.Len(t, l.journal, 2, "each command is in the journal once")
}

func TestFreezeEndsByItself(t *testing.T) {
	l := startLane(t)
	until := func(d time.Duration) func(*signals.LaneCommandStatement) {
		return func(s *signals.LaneCommandStatement) { s.Until, s.Nonce = l.Now().UTC().Add(d), d.String() }
	}
	l.run(
		func() { l.order(signals.Freeze, until(90*time.Second)) },
		func() { l.order(signals.Freeze, until(150*time.Second)); l.ask(signals.LaneEnvironment, "a") },
		func() {},
		func() { require.NotNil(t, l.state().Frozen, "the later freeze holds, not the first one's timer") },
		func() {
			require.Nil(t, l.state().Frozen)
			require.Equal(t, "a", l.state().Hold.Holder.Release)
			require.Equal(t, []string{"a"}, l.told)
		},
	)
}

func TestReviewKeepsReleasesOutUntilClosed(t *testing.T) {
	l := startLane(t)
	end := ended("e", signals.Promoted, "mended")
	lead := person("release-lead", "payments-leads")
	end.Outcome.Review = &signals.ReviewDue{Release: "e", Reason: "payments are down", Excluded: []string{lead.Key(), "developer@payments.example"}}
	l.finished("e", end)
	l.finished("f", ended("f", signals.Aborted, "mended"))
	var ordinary, another *signals.LaneGrant
	var byApprover, byAlias, wrong, closed *reply
	closing := func(who signals.Subject) func(*signals.LaneCommandStatement) {
		return func(s *signals.LaneCommandStatement) { s.Reviewed, s.Operator, s.Nonce = "e", who, who.ID }
	}
	l.run(
		func() { l.emergency("e") },
		func() { ordinary, another = l.ask(signals.LaneEnvironment, "a"), l.emergency("f") },
		func() {
			require.Contains(t, ordinary.Blocked, "review of break-glass release e is due")
			require.True(t, another.Granted, "the next emergency does not wait for a review")
			byApprover = l.order(signals.CloseReview, closing(lead))
			other := person("second-account")
			other.Aliases = []string{"Developer@payments.example"}
			byAlias = l.order(signals.CloseReview, closing(other))
			wrong = l.order(signals.CloseReview, func(s *signals.LaneCommandStatement) { s.Reviewed = "a" })
		},
		func() {
			for _, r := range []*reply{byApprover, byAlias} {
				require.Equal(t, signals.ErrNotAllowed, kindOf(t, r.err))
				require.ErrorContains(t, r.err, "had a part in e")
			}
			require.Equal(t, signals.ErrNotNow, kindOf(t, wrong.err))
			require.Nil(t, l.state().Hold.Holder)
			closed = l.order(signals.CloseReview, closing(person("auditor", "audit")))
		},
		func() {
			require.NoError(t, closed.err)
			require.Empty(t, l.state().Reviews)
			require.Equal(t, []string{"a"}, l.told)
		},
	)
	require.Len(t, l.journal, 1, "what was refused is not in the journal as a command")
}

// Threat 20: terminating an emergency is no way round its review.
func TestTerminatedEmergencyLeavesAReview(t *testing.T) {
	l := startLane(t)
	l.finished("e", signals.HolderEnd{State: "Terminated"})
	l.run(
		func() { l.emergency("e") },
		func() {
			s := l.state()
			require.Len(t, s.Reviews, 1)
			require.Equal(t, "e", s.Reviews[0].Release)
			require.False(t, s.Reviews[0].Due.IsZero())
			l.emergency("e") // a forged claim of what has ended
		},
		func() { require.Len(t, l.state().Reviews, 1, "one review, however often the release is claimed for") },
	)
}

// A forged claim says that an ordinary release is an emergency: the release
// itself doesn't, and is not let in.
func TestForgedEmergencyDoesNotLetAnOrdinaryReleaseIn(t *testing.T) {
	l := startLane(t)
	var own *signals.LaneGrant
	l.run(
		func() { l.order(signals.Freeze) },
		func() { l.emergency("a") },
		func() { own = l.ask(signals.LaneEnvironment, "a") },
		func() { require.False(t, own.Granted); require.Contains(t, own.Blocked, "frozen") },
	)
}

func TestEmergencyComesBeforeTheQueue(t *testing.T) {
	l := startLane(t)
	var e, f *signals.LaneGrant
	l.run(
		func() { l.ask(signals.LaneEnvironment, "a"); l.ask(signals.LaneEnvironment, "b") },
		func() { e, f = l.emergency("e"), l.emergency("f") },
		func() { require.Equal(t, []int{1, 2}, []int{e.Position, f.Position}); require.Equal(t, "a", e.Holder) },
	)
}

func TestLaneCommandsThatAreRefused(t *testing.T) {
	cases := map[string]struct {
		edit func(*signals.LaneCommandStatement)
		kind string
		says string
	}{
		"for another lane": {func(s *signals.LaneCommandStatement) { s.Release = signals.LaneID("staging", "payments-api") }, signals.ErrUntrusted, "signed for release"},
		"expired":          {func(s *signals.LaneCommandStatement) { s.ExpiresAt = s.IssuedAt.Add(-time.Second) }, signals.ErrUntrusted, "expired"},
		"no nonce":         {func(s *signals.LaneCommandStatement) { s.Nonce = "" }, signals.ErrUntrusted, "nonce"},
		"no reason":        {func(s *signals.LaneCommandStatement) { s.Reason = " " }, signals.ErrNotAllowed, "needs a reason"},
		"already over":     {func(s *signals.LaneCommandStatement) { s.Until = s.IssuedAt.Add(-time.Hour) }, signals.ErrNotNow, "over before it began"},
		"not frozen":       {func(s *signals.LaneCommandStatement) { s.Command = signals.Unfreeze }, signals.ErrNotNow, "not frozen"},
		"unknown":          {func(s *signals.LaneCommandStatement) { s.Command = "melt" }, signals.ErrUntrusted, "not known"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := startLane(t)
			var got *reply
			l.run(
				func() { got = l.order(signals.Freeze, c.edit) },
				func() { require.Nil(t, l.state().Frozen) },
			)
			require.Equal(t, c.kind, kindOf(t, got.err))
			require.ErrorContains(t, got.err, c.says)
			require.Empty(t, l.journal)
		})
	}
}

func TestLaneCommandCountsOnce(t *testing.T) {
	l := startLane(t)
	var replayed *reply
	l.run(
		func() { l.order(signals.Freeze) },
		func() { l.order(signals.Unfreeze) },
		func() { replayed = l.order(signals.Freeze) },
		func() { require.Nil(t, l.state().Frozen) },
	)
	require.Equal(t, signals.ErrReplayed, kindOf(t, replayed.err))
	require.Len(t, l.journal, 2)
}

func TestLaneCommandNeedsTheWorkersYes(t *testing.T) {
	l := startLane(t)
	l.forbidden = temporal.NewNonRetryableApplicationError("developer may not", signals.ErrNotAllowed, nil)
	var forbidden, unsigned *reply
	l.run(
		func() { forbidden, unsigned = l.order(signals.Freeze), l.send(signals.Envelope{}) },
		func() { require.Nil(t, l.state().Frozen) },
	)
	require.Equal(t, signals.ErrNotAllowed, kindOf(t, forbidden.err))
	require.True(t, unsigned.rejected, "without a trace in the lane's history")
}

func TestLaneCommandIsNotDoneUnlessWrittenDown(t *testing.T) {
	l := startLane(t)
	l.journaled = temporal.NewNonRetryableApplicationError("no journal", "Unavailable", nil)
	var got *reply
	l.run(
		func() { got = l.order(signals.Freeze) },
		func() { require.Nil(t, l.state().Frozen) },
	)
	require.Equal(t, signals.ErrNotNow, kindOf(t, got.err))
	require.ErrorContains(t, got.err, "could not be written down")
}

// The journal keeps its papers under the id of its run, and nobody else's.
func TestLaneOfTheJournal(t *testing.T) {
	l := startLane(t)
	l.finished(signals.JournalID, signals.HolderEnd{State: "Terminated"})
	var forged *reply
	l.RegisterDelayedCallback(func() {
		forged = &reply{}
		l.UpdateWorkflow(signals.LaneAcquire, "", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { forged.err = err }, OnComplete: func(any, error) {},
		}, signals.LaneClaim{Resource: signals.LanePapers, Release: "x", Run: "run-1"})
		l.claim(signals.LaneClaim{Resource: signals.LanePapers, Release: signals.JournalID, Run: "run-1"})
	}, time.Minute)
	l.RegisterDelayedCallback(func() {
		l.claim(signals.LaneClaim{Resource: signals.LanePapers, Release: signals.JournalID, Run: "run-2"})
	}, 2*time.Minute)
	l.RegisterDelayedCallback(l.CancelWorkflow, 3*time.Minute)
	l.ExecuteWorkflow(Lane, signals.LaneInput{Environment: signals.JournalEnvironment, Service: signals.JournalService})
	require.Equal(t, signals.ErrBadRequest, kindOf(t, forged.err))
	var closed []string
	for _, c := range l.closed {
		closed = append(closed, c.Release+"/"+c.Run)
	}
	require.Equal(t, "journal-run-1/run-1 journal-run-2/run-2", strings.Join(closed, " "))
}

func TestLaneRemembersTheCommitThatItGoesBackTo(t *testing.T) {
	l := startLane(t)
	promoted := ended("a", signals.Promoted, "new")
	promoted.Outcome.Commit = commit
	l.finished("a", promoted)
	l.finished("b", ended("b", signals.RolledBack, "changed-outside"))
	l.run(
		func() { l.ask(signals.LaneEnvironment, "a") },
		func() { require.Equal(t, commit, l.state().LKGCommit); l.ask(signals.LaneEnvironment, "b") },
		func() { require.Empty(t, l.state().LKGCommit, "nobody knows what was put there from outside") },
	)
}
