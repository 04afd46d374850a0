package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

// Activities of the journal and of notices, named as those in state.go are.
var (
	entries *activities.Journal
	told    *activities.Notices
)

// Retry profiles and timeouts of every external call, in one place.
//
// A reading is retried for a while and then ends the release: nothing was
// changed, and CI should hear of it. A record is retried for ever: forward
// steps wait for it. An undo is retried for long: giving up pages a person.
const (
	readTimeout    = 20 * time.Second
	readBudget     = 15 * time.Minute
	mindTimeout    = time.Minute
	recordTimeout  = 20 * time.Second
	heartbeat      = 10 * time.Second
	undoBudget     = 30 * time.Minute
	settleBudget   = 2 * time.Minute
	askAgainFirst  = 30 * time.Second
	askAgainAtMost = 10 * time.Minute
	answerTimeout  = 5 * time.Second
	answerBudget   = 20 * time.Second
	publishTimeout = 30 * time.Second
	// announceBudget is how long the end of a release is tried to be told.
	announceBudget = 24 * time.Hour
)

func retry(first, most time.Duration) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: first, BackoffCoefficient: 2, MaximumInterval: most}
}

// reading is for resolve, verify, policy and re-check.
func reading(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              signals.ReleaseQueue,
		StartToCloseTimeout:    readTimeout,
		ScheduleToCloseTimeout: readBudget,
		RetryPolicy:            retry(500*time.Millisecond, 10*time.Second),
		Summary:                summary,
	}
}

// minding is for the watch of what approvals rest on. It asks for its next look
// itself for as long as that stands, hence no budget.
func minding(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           signals.ReleaseQueue,
		StartToCloseTimeout: mindTimeout,
		RetryPolicy:         retry(time.Second, time.Minute),
		Summary:             summary,
	}
}

// recording is for the notary: no budget, because no record may be lost.
func recording(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           signals.NotaryQueue,
		StartToCloseTimeout: recordTimeout,
		RetryPolicy:         retry(500*time.Millisecond, 30*time.Second),
		Summary:             summary,
	}
}

// changing is for forward changes to the cluster. A cancelled change is waited
// for, or its undo would race it.
func changing(t signals.Target, summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              signals.DeployQueue(t.Cluster),
		StartToCloseTimeout:    t.ReadyWithin.D() + 30*time.Second,
		ScheduleToCloseTimeout: 2*t.ReadyWithin.D() + 5*time.Minute,
		HeartbeatTimeout:       heartbeat,
		WaitForCancellation:    true,
		RetryPolicy:            retry(500*time.Millisecond, 10*time.Second),
		Summary:                summary,
	}
}

// undoing is for compensations.
func undoing(t signals.Target, summary string) workflow.ActivityOptions {
	o := changing(t, summary)
	o.ScheduleToCloseTimeout = undoBudget
	o.RetryPolicy = retry(250*time.Millisecond, 10*time.Second)
	return o
}

// watching is for the activity beside a window. The window's own timer says
// when it is over; the budget leaves room for one restart of the worker.
func watching(t signals.Target, window time.Duration, summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              signals.DeployQueue(t.Cluster),
		StartToCloseTimeout:    window + time.Minute,
		ScheduleToCloseTimeout: window + 3*time.Minute,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            retry(250*time.Millisecond, 5*time.Second),
		Summary:                summary,
	}
}

// asking is for messages to a lane.
func asking(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           signals.ReleaseQueue,
		StartToCloseTimeout: readTimeout,
		RetryPolicy:         retry(500*time.Millisecond, 10*time.Second),
		Summary:             summary,
	}
}

// answering is for what somebody waits for on the other end of an update.
func answering(summary string) workflow.ActivityOptions {
	o := asking(summary)
	o.StartToCloseTimeout, o.ScheduleToCloseTimeout = answerTimeout, answerBudget
	return o
}

// looking is for what is nice to know: tried briefly, and done without if it
// can't be had.
func looking(summary string) workflow.ActivityOptions {
	o := asking(summary)
	o.StartToCloseTimeout, o.ScheduleToCloseTimeout = answerTimeout, answerTimeout
	return o
}

// publishing is for messages to people: tried until they arrive. What can't be
// delivered for long is tried about once a minute.
func publishing(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           signals.NotifyQueue,
		StartToCloseTimeout: publishTimeout,
		RetryPolicy:         retry(time.Second, time.Minute),
		Summary:             summary,
	}
}

// guarding is for the lane's watch of its holder: as long as that lives.
func guarding(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           signals.ReleaseQueue,
		StartToCloseTimeout: 10 * 365 * 24 * time.Hour,
		HeartbeatTimeout:    heartbeat,
		RetryPolicy:         retry(250*time.Millisecond, 10*time.Second),
		Summary:             summary,
	}
}

// call runs one activity and returns its typed result.
func call[Out any](ctx workflow.Context, options workflow.ActivityOptions, activity any, in any) (Out, error) {
	var out Out
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activity, in).Get(ctx, &out)
	return out, err
}
