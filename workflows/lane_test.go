package workflows

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// laneRun is one run of a lane whose holders end when the test says so.
type laneRun struct {
	*testsuite.TestWorkflowEnvironment
	t testing.TB

	mu     sync.Mutex
	ends   map[string]signals.HolderEnd // by release
	told   []string
	closed []signals.CloseInput
	// The journal, and how the worker judges who commands the lane.
	journal   []signals.Message
	forbidden error
	journaled error
}

func startLane(tb testing.TB) *laneRun {
	tb.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	l := &laneRun{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: tb, ends: map[string]signals.HolderEnd{}}
	l.SetTestTimeout(20 * time.Second)
	l.RegisterWorkflow(Lane)
	l.OnSignalExternalWorkflow(mock.Anything, mock.Anything, mock.Anything, signals.LaneGranted, mock.Anything).
		Return(func(_, release, _, _ string, _ any) error {
			l.told = append(l.told, release)
			return nil
		})
	l.RegisterActivityWithOptions(l.watch, activity.RegisterOptions{Name: "WatchHolder"})
	l.RegisterActivityWithOptions(func(_ context.Context, in signals.CloseInput) (signals.RecordRef, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = append(l.closed, in)
		return signals.RecordRef{Digest: "closed-by-lane-" + in.Release}, nil
	}, activity.RegisterOptions{Name: "CloseAbandoned"})
	l.RegisterActivityWithOptions(func(_ context.Context, in signals.LaneMessage) (s signals.LaneCommandStatement, err error) {
		if l.forbidden != nil {
			return s, l.forbidden
		}
		err = json.Unmarshal([]byte(in.Message.Envelope.Payload), &s)
		return s, err
	}, activity.RegisterOptions{Name: "OpenLaneCommand"})
	l.RegisterActivityWithOptions(func(_ context.Context, m signals.Message) error {
		if l.journaled == nil {
			l.journal = append(l.journal, m)
		}
		return l.journaled
	}, activity.RegisterOptions{Name: "Journal"})
	return l
}

// watch polls the test's word on how a release ended; an activity of the test
// environment can't block without stopping its clock.
func (l *laneRun) watch(_ context.Context, claim signals.LaneClaim) (signals.HolderEnd, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end, ok := l.ends[claim.Release]; ok {
		return end, nil
	}
	return signals.HolderEnd{}, activity.ErrResultPending
}

// ask claims a resource. The answer is there once the lane has run, that is in
// the next step of the script.
func (l *laneRun) ask(resource signals.LaneResource, release string) *signals.LaneGrant {
	return l.claim(signals.LaneClaim{Resource: resource, Release: release, Run: "run-" + release})
}

func (l *laneRun) claim(c signals.LaneClaim) *signals.LaneGrant {
	var out signals.LaneGrant
	l.UpdateWorkflow(signals.LaneAcquire, "", &testsuite.TestUpdateCallback{
		OnAccept:   func() {},
		OnReject:   func(err error) { require.NoError(l.t, err) },
		OnComplete: func(v any, _ error) { out, _ = v.(signals.LaneGrant) },
	}, c)
	return &out
}

func (l *laneRun) state() signals.LaneStatus {
	v, err := l.QueryWorkflow(signals.StatusQuery)
	require.NoError(l.t, err)
	var s signals.LaneStatus
	require.NoError(l.t, v.Get(&s))
	return s
}

func (l *laneRun) run(script ...func()) {
	for i, step := range script {
		l.RegisterDelayedCallback(step, time.Duration(i+1)*time.Minute)
	}
	l.RegisterDelayedCallback(l.CancelWorkflow, time.Duration(len(script)+1)*time.Minute)
	l.ExecuteWorkflow(Lane, signals.LaneInput{Environment: "prod", Service: "payments-api"})
	require.True(l.t, l.IsWorkflowCompleted())
}

func ended(release string, kind signals.OutcomeKind, lkg string) signals.HolderEnd {
	return signals.HolderEnd{State: "completed", Outcome: &signals.Outcome{
		Kind: kind, Release: release, LKG: &signals.Snapshot{Digest: lkg, TemplateHash: lkg},
		Manifest: &signals.RecordRef{Digest: "manifest-" + release},
	}}
}

// finished lets a release be over before it is asked about, so that its turn
// passes at once.
func (l *laneRun) finished(release string, end signals.HolderEnd) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[release] = end
}

func TestLaneServesInTheOrderOfAsking(t *testing.T) {
	l := startLane(t)
	var again, b, c, bAgain *signals.LaneGrant
	l.run(
		func() { l.ask(signals.LaneEnvironment, "a") },
		func() {
			again, b = l.ask(signals.LaneEnvironment, "a"), l.ask(signals.LaneEnvironment, "b")
			c, bAgain = l.ask(signals.LaneEnvironment, "c"), l.ask(signals.LaneEnvironment, "b")
		},
		func() {
			require.True(t, again.Granted, "the holder asks again and is told so")
			require.Equal(t, []int{1, 2, 1}, []int{b.Position, c.Position, bAgain.Position}, "asking again changes nothing")
			require.Equal(t, "a", b.Holder)
			s := l.state()
			require.Equal(t, "a", s.Hold.Holder.Release)
			require.Len(t, s.Hold.Waiting, 2)
			require.Empty(t, l.told, "who is granted at once need not be told")
		},
	)
}

func TestLaneTakesLastKnownGoodAndManifestFromResults(t *testing.T) {
	l := startLane(t)
	l.finished("a", ended("a", signals.Promoted, "new"))
	l.finished("b", ended("b", signals.RolledBack, "new"))
	l.run(
		func() { l.ask(signals.LaneEnvironment, "a"); l.ask(signals.LanePapers, "a") },
		func() {
			s := l.state()
			require.Nil(t, s.Hold.Holder)
			require.Equal(t, "new", s.LKG.Digest)
			require.Equal(t, "a", s.LKGRelease)
			require.Equal(t, "manifest-a", s.LastManifest.Digest)
			l.ask(signals.LaneEnvironment, "b")
			l.ask(signals.LanePapers, "b")
		},
		func() {
			s := l.state()
			require.Equal(t, "a", s.LKGRelease, "a rollback leaves last known good where it was")
			require.Equal(t, "manifest-b", s.LastManifest.Digest)
			require.Equal(t, []string{"b", "a"}, s.Closed)
			require.False(t, s.Unclean)
		},
	)
	require.Empty(t, l.closed)
}

func TestLaneIsFreedHoweverItsHolderEnds(t *testing.T) {
	l := startLane(t)
	l.finished("a", signals.HolderEnd{State: "Terminated"})
	var grant *signals.LaneGrant
	l.run(
		func() { l.ask(signals.LaneEnvironment, "a"); l.ask(signals.LaneEnvironment, "b") },
		func() {
			s := l.state()
			require.Equal(t, "b", s.Hold.Holder.Release)
			require.True(t, s.Unclean)
			require.Equal(t, "closed-by-lane-a", s.LastManifest.Digest)
			grant = l.ask(signals.LaneEnvironment, "b")
		},
		func() { require.True(t, grant.Unclean, "the next release is told to tidy up") },
	)
	require.Len(t, l.closed, 1)
	require.Equal(t, "Terminated", l.closed[0].State)
}

// A release that is terminated while it writes its manifest holds both things.
func TestLaneClosesThePapersOnce(t *testing.T) {
	l := startLane(t)
	l.finished("a", signals.HolderEnd{State: "Terminated"})
	l.finished("b", ended("b", signals.Rejected, "x"))
	l.run(
		func() {
			l.ask(signals.LanePapers, "a")
			l.ask(signals.LanePapers, "b")
			l.ask(signals.LaneEnvironment, "a")
		},
		func() { require.Equal(t, "manifest-b", l.state().LastManifest.Digest, "the chain is not turned back") },
	)
	require.Len(t, l.closed, 1)
}

func TestLaneRefusesForgedClaims(t *testing.T) {
	for name, claim := range map[string]signals.LaneClaim{
		"unknown resource": {Resource: "everything", Release: "a", Run: "r"},
		"no run":           {Resource: signals.LanePapers, Release: "a"},
		"abandoned":        {Resource: signals.LanePapers, Release: "a", Run: "r", Abandoned: "Terminated"},
	} {
		t.Run(name, func(t *testing.T) {
			l := startLane(t)
			rejected := false
			l.run(func() {
				l.UpdateWorkflow(signals.LaneAcquire, "", &testsuite.TestUpdateCallback{
					OnAccept: func() {}, OnReject: func(error) { rejected = true }, OnComplete: func(any, error) {},
				}, claim)
			})
			require.True(t, rejected)
		})
	}
}

func TestLaneContinuesAsNewWithItsState(t *testing.T) {
	l := startLane(t)
	l.RegisterDelayedCallback(func() { l.ask(signals.LaneEnvironment, "a"); l.ask(signals.LaneEnvironment, "b") }, time.Minute)
	l.RegisterDelayedCallback(func() { l.SetContinueAsNewSuggested(true); l.ask(signals.LaneEnvironment, "c") }, 2*time.Minute)
	l.ExecuteWorkflow(Lane, signals.LaneInput{Environment: "prod", Service: "payments-api"})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, l.GetWorkflowError(), &next)
	var state signals.LaneInput
	require.NoError(t, decodeFirst(next, &state))
	require.Equal(t, "a", state.Hold.Holder.Release)
	require.Len(t, state.Hold.Waiting, 2)
}
