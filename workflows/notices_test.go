package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

// slack stands in for a workspace: messages by release, and below each its
// replies by event. Like the real messenger it recognises what it has.
type slack struct {
	down    func() error
	posted  int
	shown   []signals.Announcement // as the message stood after each call
	replies []signals.Reply
	told    map[string]int // how often each event was asked to be told
}

func (s *slack) Publish(_ context.Context, in signals.PublishInput) (signals.MessageRef, error) {
	if s.down != nil {
		if err := s.down(); err != nil {
			return signals.MessageRef{}, err
		}
	}
	if len(s.shown) == 0 {
		s.posted++
	}
	s.shown = append(s.shown, in.Announcement)
	for _, r := range in.Replies {
		s.told[r.Event]++
		if s.told[r.Event] == 1 {
			s.replies = append(s.replies, r)
		}
	}
	return signals.MessageRef{Channel: "C1", ID: "1.1"}, nil
}

func (s *slack) events() []string {
	names := make([]string, len(s.replies))
	for i, r := range s.replies {
		names[i] = r.Event
	}
	return names
}

func (s *slack) last() signals.Announcement { return s.shown[len(s.shown)-1] }

// pausing is an error by which a messenger says when to come back.
type pausing time.Duration

func (p pausing) Error() string             { return "asked to wait for " + time.Duration(p).String() }
func (p pausing) RetryAfter() time.Duration { return time.Duration(p) }

// down fails n times, each time asking to be left alone for a while. The test
// environment gives up after ten attempts.
func down(n int, pause time.Duration) func() error {
	return func() error {
		if n--; n >= 0 {
			return pausing(pause)
		}
		return nil
	}
}

// followed starts a release that people follow in a channel.
func (w *world) followed(t *testing.T, lane signals.LaneStatus) (*run, *slack) {
	t.Helper()
	edit := w.edit
	w.edit = func(p *signals.Plan) {
		if edit != nil {
			edit(p)
		}
		p.Notify = &signals.Notify{Channel: "#releases", Escalation: "#oncall"}
	}
	r, s := w.start(t), &slack{told: map[string]int{}}
	r.tellBy(s, func() signals.LaneStatus { return lane })
	return r, s
}

func (r *run) tellBy(s *slack, lane func() signals.LaneStatus) {
	r.RegisterWorkflow(Announce)
	r.RegisterActivityWithOptions((&activities.Notices{Messenger: s}).Publish, activity.RegisterOptions{Name: "Publish"})
	r.RegisterActivityWithOptions(func(context.Context, signals.LaneName) (signals.LaneStatus, error) { return lane(), nil },
		activity.RegisterOptions{Name: "Look", DisableAlreadyRegisteredCheck: true})
}

func TestPeopleAreToldFromTheQuestionToTheEnd(t *testing.T) {
	w := newWorld(t)
	w.edit = func(p *signals.Plan) { p.Source = "https://github.com/payments/payments-api" }
	r, s := w.followed(t, signals.LaneStatus{LaneInput: signals.LaneInput{
		LKG: &signals.Snapshot{Digest: oldDigest}, LKGRelease: "payments-api-prod-0", LKGCommit: strings.Repeat("a", 40),
	}})
	var asked, about signals.Announcement
	r.at(30*time.Second, func() { asked, about = s.last(), *r.status().About })
	require.Equal(t, signals.Promoted, r.approved().execute(requestIn).Kind)

	require.Equal(t, 1, s.posted, "one message, edited")
	require.Equal(t, asked, about, "the same is shown wherever people look")
	require.Equal(t, signals.Approving, asked.Phase)
	require.Equal(t, oldDigest, asked.LKG)
	require.Equal(t, "payments-api-prod-0", asked.LKGRelease)
	require.Equal(t, "https://github.com/payments/payments-api/compare/"+strings.Repeat("a", 40)+"..."+commit, asked.Compare)
	require.Equal(t, 2, asked.Approval.Missing.People())
	require.Equal(t, signals.Promoted, s.last().Outcome, "the end is told after the release has closed")
	require.Equal(t, oldDigest, s.last().LKG, "what it would have gone back to, not what it is now")
	require.Equal(t, "outcome", s.events()[len(s.replies)-1])
	require.Equal(t, slices.Compact(slices.Sorted(slices.Values(s.events()))), slices.Sorted(slices.Values(s.events())), "each event once")
	require.Contains(t, strings.Join(s.events(), " "), "verdict/canary-5-")
	for i := range s.shown[1:] {
		same := s.shown[i+1].Doing == s.shown[i].Doing && s.shown[i+1].Weight == s.shown[i].Weight
		require.False(t, same && len(s.replies) == 0, "nothing is told that people see already")
	}
}

// Slack is down while a release is decided on and delivered: it does not wait,
// and when Slack is back there is one message and each event once.
func TestSlackThatIsDownDelaysNothing(t *testing.T) {
	w := newWorld(t)
	r, s := w.followed(t, signals.LaneStatus{})
	s.down = down(8, 2*time.Hour)
	out := r.approved().execute(requestIn)
	require.Equal(t, signals.Promoted, out.Kind)
	require.Less(t, out.EndedAt.Sub(out.StartedAt), time.Hour, "the release went its way")
	require.Equal(t, 1, s.posted)
	// The test environment lets the release's own call end, which a server would
	// drop; what piled up behind it is told at once, after the release.
	require.LessOrEqual(t, len(s.shown), 2)
	require.Equal(t, signals.Promoted, s.last().Outcome)
	require.Contains(t, s.events(), "outcome")
	require.Contains(t, strings.Join(s.events(), " "), "verdict/baseline-0-")
}

// Slack comes back while the release is still under way.
func TestSlackComesBackInTheMiddle(t *testing.T) {
	w := newWorld(t)
	r, s := w.followed(t, signals.LaneStatus{})
	s.down = down(3, time.Minute)
	require.Equal(t, signals.Promoted, r.approved().execute(requestIn).Kind)
	require.Equal(t, 1, s.posted)
	require.Equal(t, signals.Approving, s.shown[0].Phase)
	require.Len(t, s.shown[1].Approval.Given, 2, "the next edition has all that happened meanwhile")
	for event, n := range s.told {
		require.Equal(t, 1, n, event)
	}
}

func TestNobodyIsToldWithoutAChannel(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	s := &slack{told: map[string]int{}}
	r.tellBy(s, func() signals.LaneStatus {
		return signals.LaneStatus{LaneInput: signals.LaneInput{LKG: &signals.Snapshot{Digest: oldDigest}}}
	})
	var about *signals.Announcement
	r.at(30*time.Second, func() { about = r.status().About })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.Empty(t, s.shown)
	require.Equal(t, oldDigest, about.LKG, "whoever approves by API sees what it goes back to all the same")
}

// A release that is refused before anybody is asked is told once, at its end.
func TestRefusedReleaseIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.refusals = []string{"no provenance"}
	r, s := w.followed(t, signals.LaneStatus{})
	require.Equal(t, signals.Rejected, r.execute(requestIn).Kind)
	require.Len(t, s.shown, 1)
	require.Equal(t, []string{"no provenance"}, s.last().Reasons)
	require.Equal(t, []string{"outcome"}, s.events())
}

// The one release that people must hear of is the one that failed.
func TestFailedReleaseIsTold(t *testing.T) {
	w := newWorld(t)
	w.verdict = failAt(5)
	w.fail["RemoveCanary"] = permanent("Broken")
	r, s := w.followed(t, signals.LaneStatus{})
	r.approved()
	r.ExecuteWorkflow(Release, rawInput(requestIn))
	require.Error(t, r.GetWorkflowError())
	require.Contains(t, s.last().Doing, "needs a person: rollback of payments-api in prod is not complete")
	require.Empty(t, s.last().Outcome)
}

func failAt(weight int32) func(signals.WatchInput) signals.Verdict {
	return func(in signals.WatchInput) signals.Verdict {
		if in.Weight == weight {
			return signals.Fail
		}
		return signals.Pass
	}
}

func TestApproversSeeThatTheLaneIsFrozen(t *testing.T) {
	w := newWorld(t)
	r, s := w.followed(t, signals.LaneStatus{LaneInput: signals.LaneInput{Frozen: &signals.LaneFreeze{By: "on-call", Reason: "the quarter closes"}}})
	var asked signals.Announcement
	r.at(30*time.Second, func() { asked = s.last() })
	r.approved().execute(requestIn)
	require.Contains(t, asked.Radius[0], "frozen by on-call: the quarter closes")
	require.NotContains(t, strings.Join(s.last().Radius, " "), "frozen")
}

func TestPiledUpRepliesAreBounded(t *testing.T) {
	r := &release{plan: signals.Plan{Notify: &signals.Notify{}}, people: true, papers: &papers{}}
	for i := range mostReplies + 7 {
		r.tell(signals.Reply{Event: fmt.Sprintf("event-%d", i)})
		r.tell(signals.Reply{Event: fmt.Sprintf("event-%d", i)}) // told twice, kept once
	}
	in, _ := r.edition()
	require.Len(t, in.Replies, mostReplies+1)
	require.Equal(t, "7 earlier events could not be told in time; they are in the papers.", in.Replies[0].Text)
	require.Equal(t, "event-7", in.Replies[1].Event)
}

// afterwards runs Announce alone.
func afterwards(t *testing.T, s *slack, lane func() signals.LaneStatus, in signals.AnnounceInput) (signals.AnnounceOutput, *run) {
	t.Helper()
	r := newWorld(t).start(t)
	r.tellBy(s, lane)
	r.ExecuteWorkflow(Announce, in)
	require.NoError(t, r.GetWorkflowError())
	var out signals.AnnounceOutput
	require.NoError(t, r.GetWorkflowResult(&out))
	return out, r
}

func TestAnnounceGivesUpAndSaysSo(t *testing.T) {
	s := &slack{told: map[string]int{}, down: func() error { return pausing(6 * time.Hour) }}
	out, _ := afterwards(t, s, nil, signals.AnnounceInput{})
	require.False(t, out.Told)
	require.Contains(t, out.Reason, "not told within 24h0m0s")
	require.Contains(t, out.Reason, "asked to wait for 6h0m0s")
	s.down = func() error { return errors.New("channel_not_found") }
	out, _ = afterwards(t, s, nil, signals.AnnounceInput{})
	require.Contains(t, out.Reason, "channel_not_found")
}

func TestAnnounceEscalatesAReviewThatNobodyCloses(t *testing.T) {
	s := &slack{told: map[string]int{}}
	start := time.Now()
	review := signals.ReviewDue{Release: releaseIn, Due: start.Add(12 * time.Hour)}
	looks := 0
	out, r := afterwards(t, s, func() signals.LaneStatus {
		if looks++; looks > 2 {
			return signals.LaneStatus{}
		}
		return signals.LaneStatus{LaneInput: signals.LaneInput{Reviews: []signals.ReviewDue{review}}}
	}, signals.AnnounceInput{Review: &review, Publish: signals.PublishInput{Announcement: signals.Announcement{Release: releaseIn, Environment: "prod"}}})
	require.True(t, out.Told)
	require.Equal(t, []string{"review-overdue/1", "review-overdue/2"}, s.events(), "until it is closed")
	require.True(t, s.replies[0].Escalate)
	require.Equal(t, 60*time.Hour, r.Now().Sub(start).Round(time.Hour))
}
