package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// mostReplies bounds what piles up while nobody can be told.
const mostReplies = 50

// handOverWait is how long the end of a release waits for a message that is on
// its way, so that what follows it need not.
const handOverWait = 2 * time.Second

// notices is what people are told of a release. The release never waits for it.
type notices struct {
	message signals.MessageRef
	replies []signals.Reply // not told yet, oldest first
	flying  []signals.Reply // those of the call under way
	known   map[string]bool // events, told or not
	dropped int             // replies that were too many
	begun   bool            // people follow the release
	stale   bool            // the message may be out of date
	busy    bool            // a call is under way
	closed  bool            // the rest is another workflow's to tell
	shown   string          // digest of the announcement told last
	looked  bool
	lane    signals.LaneStatus // as it was before the lane was held
}

// tell queues one event for those who follow the release.
func (r *release) tell(reply signals.Reply) {
	n := &r.notices
	if n.known[reply.Event] || n.closed {
		return
	}
	if n.known == nil {
		n.known = map[string]bool{}
	}
	n.known[reply.Event] = true
	n.replies = append(n.replies, reply)
	if extra := len(n.replies) - mostReplies; extra > 0 {
		n.dropped += extra
		n.replies = slices.Delete(n.replies, 0, extra)
	}
	r.refresh()
}

// refresh notes that people may be shown something that is no longer so. They
// follow a release from when they are asked, or something happens that they must
// know of, or something is changed.
func (r *release) refresh() {
	n := &r.notices
	n.stale = true
	n.begun = n.begun || len(n.replies) > 0 || r.approvals.open || r.changed()
}

// followed says whether there is anybody to tell.
func (r *release) followed() bool {
	return r.people && r.plan.Notify != nil && r.notices.begun
}

// publish is the coroutine that tells people, one call at a time: whatever has
// piled up during one goes into the next. A call is retried until it arrives, so
// the loop ends only with the release.
func (r *release) publish(ctx workflow.Context) {
	n := &r.notices
	for {
		if err := workflow.Await(ctx, func() bool {
			return r.curious() || r.followed() && !n.closed && (n.stale || len(n.replies) > 0)
		}); err != nil {
			return
		}
		if r.curious() {
			r.lookAtLane(ctx)
			continue
		}
		n.stale = false
		in, digest := r.edition()
		if digest == n.shown && len(in.Replies) == 0 {
			continue
		}
		n.flying, n.replies, n.dropped, n.busy = in.Replies, nil, 0, true
		out, err := call[signals.PublishOutput](ctx, publishing("tell people: "+r.doing), told.Publish, in)
		n.busy = false
		if err != nil {
			// Publishing has no budget and no error without a retry: the notify role
			// runs something that doesn't fit this workflow.
			workflow.GetLogger(ctx).Error("people can't be told", "release", r.papers.release, "error", err)
			return
		}
		n.message, n.shown, n.flying = out.Message, digest, nil
	}
}

// curious says whether the lane is to be looked at: approvers want to know what
// they would go back to, wherever they approve.
func (r *release) curious() bool {
	return r.people && !r.notices.looked && !r.settling && (r.approvals.open || r.followed())
}

// lookAtLane asks the lane how it stands. It is only shown, so that it is done without
// if it can't be had.
func (r *release) lookAtLane(ctx workflow.Context) {
	n := &r.notices
	n.looked = true
	name := signals.LaneName{Environment: r.plan.Environment, Service: r.plan.Service}
	lane, err := call[signals.LaneStatus](ctx, looking("what does the lane go back to?"), lanes.Look, name)
	if err != nil {
		workflow.GetLogger(ctx).Warn("the lane can't be looked at", "release", r.papers.release, "error", err)
		return
	}
	n.lane = lane
	r.refresh()
}

// edition is what is to be told now, and the digest of what in it is news.
func (r *release) edition() (signals.PublishInput, string) {
	n := &r.notices
	in := signals.PublishInput{Notify: *r.plan.Notify, Announcement: r.announcement(), Message: n.message, Replies: n.replies}
	if n.dropped > 0 {
		in.Replies = append([]signals.Reply{{
			Event: fmt.Sprintf("dropped/%s", n.replies[0].Event), At: n.replies[0].At,
			Text: fmt.Sprintf("%d earlier events could not be told in time; they are in the papers.", n.dropped),
		}}, n.replies...)
	}
	// What a phase is busy with changes many times within it. It is shown when the
	// message changes for another reason: a call for each would make up a third of
	// the release's history.
	news := in.Announcement
	news.Doing, news.Weight, news.Next = "", 0, nil
	body, err := json.Marshal(news)
	if err != nil {
		panic(fmt.Sprintf("encode an announcement: %v", err)) // plain structs: a defect
	}
	return in, signals.Digest(body)
}

// handOver leaves what is still to be told, the end at least, to a workflow of
// its own, and waits for no more than that workflow's start. failure is why the
// release fails, nil if it doesn't.
func (r *release) handOver(failure error) {
	n := &r.notices
	n.closed = true
	if !r.people || r.plan.Notify == nil {
		return
	}
	ctx := r.root
	if failure != nil {
		r.doing = "failed, and needs a person: " + explain(failure)
	}
	if n.busy {
		_, _ = workflow.AwaitWithTimeout(ctx, handOverWait, func() bool { return !n.busy })
	}
	rest, _ := r.edition()
	in := signals.AnnounceInput{Publish: rest}
	if n.busy {
		in.Wait = signals.Duration(publishTimeout)
		in.Publish.Replies = slices.Concat(n.flying, rest.Replies)
	}
	if r.outcome != nil {
		in.Review = r.outcome.Review
	}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: "announce/" + r.papers.release + "/" + r.papers.run, TaskQueue: signals.ReleaseQueue,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     "tell people how " + r.papers.release + " ended",
	}), signals.AnnounceWorkflow, in)
	if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Error("nobody tells how the release ended", "release", r.papers.release, "error", err)
	}
}
