package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// overdueReminders is how often people are reminded of a review that nobody
// closes, once a day.
const overdueReminders = 7

// Announce tells people what a release that has ended had not told them yet. It
// tries for a day and then gives up, with a result that says so. After an
// emergency it lives on until its review is closed, and reminds people of it once
// it is overdue.
func Announce(ctx workflow.Context, in signals.AnnounceInput) (signals.AnnounceOutput, error) {
	if err := workflow.Sleep(ctx, in.Wait.D()); err != nil {
		return signals.AnnounceOutput{}, err
	}
	out := announce(ctx, &in.Publish)
	if in.Review != nil {
		remind(ctx, in)
	}
	return out, ctx.Err()
}

// announce publishes once, within its budget.
func announce(ctx workflow.Context, in *signals.PublishInput) signals.AnnounceOutput {
	options := publishing("tell people: " + in.Announcement.Doing)
	options.ScheduleToCloseTimeout = announceBudget
	out, err := call[signals.PublishOutput](ctx, options, told.Publish, *in)
	if err != nil {
		return signals.AnnounceOutput{Reason: fmt.Sprintf("not told within %s: %s", announceBudget, explain(err)), Message: in.Message}
	}
	in.Message, in.Replies = out.Message, nil
	return signals.AnnounceOutput{Told: true, Message: out.Message}
}

// remind escalates for as long as the lane has the review due.
func remind(ctx workflow.Context, in signals.AnnounceInput) {
	a := in.Publish.Announcement
	due := in.Review.Due
	for n := range overdueReminders {
		wait := due.Add(time.Duration(n) * 24 * time.Hour).Sub(workflow.Now(ctx))
		if err := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "review of the emergency"}).Get(ctx, nil); err != nil {
			return
		}
		lane, err := call[signals.LaneStatus](ctx, asking("is the review still due?"), lanes.Look,
			signals.LaneName{Environment: a.Environment, Service: a.Service})
		if err != nil || !slices.ContainsFunc(lane.Reviews, func(r signals.ReviewDue) bool { return r.Release == in.Review.Release }) {
			return
		}
		in.Publish.Replies = []signals.Reply{{
			Event: fmt.Sprintf("review-overdue/%d", n+1), Loud: true, Escalate: true, At: workflow.Now(ctx).UTC(),
			Text: fmt.Sprintf("The review of emergency release %s was due at %s. No release to %s begins until somebody who had no part in it closes it.",
				in.Review.Release, due.UTC().Format("2006-01-02 15:04 UTC"), a.Environment),
		}}
		announce(ctx, &in.Publish)
	}
}
