package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// watchActivity is the activity type whose heartbeat is a WatchProgress.
const watchActivity = "Watch"

// Release is where a release stands, as it says itself. Errors: ErrNotFound,
// ErrEnded (the status is then the last one that is known), ErrNoAnswer.
func (d *Desk) Release(ctx context.Context, release string) (signals.Status, error) {
	_, status, err := d.running(ctx, release)
	return status.Status, err
}

// Get is where a release stands, running or ended, with what the server alone
// knows of it.
func (d *Desk) Get(ctx context.Context, release string) (wire.Release, error) {
	info, err := d.find(ctx, release)
	if err != nil {
		return wire.Release{}, err
	}
	return d.status(ctx, info)
}

// Outcome waits up to wait for a release's end and tells how it ended.
func (d *Desk) Outcome(ctx context.Context, release string, wait time.Duration) (wire.Ended, error) {
	info, err := d.find(ctx, release)
	if err != nil {
		return wire.Ended{}, err
	}
	if stateOf(info.GetWorkflowExecutionInfo().GetStatus()) == wire.Running && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		// Only the end of the wait matters: what it was is read below, in the
		// same way for a release that had ended before.
		_ = d.Temporal.GetWorkflow(waiting, release, info.GetWorkflowExecutionInfo().GetExecution().GetRunId()).Get(waiting, nil)
		if info, err = d.find(ctx, release); err != nil {
			return wire.Ended{}, err
		}
	}
	exec := info.GetWorkflowExecutionInfo()
	if stateOf(exec.GetStatus()) == wire.Running {
		return wire.Ended{Release: release, State: wire.Running}, nil
	}
	return d.end(ctx, exec)
}

// Lane is the state of one service's lane in one environment.
func (d *Desk) Lane(ctx context.Context, environment, service string) (signals.LaneStatus, error) {
	var status signals.LaneStatus
	for _, name := range []string{environment, service} {
		if !signals.ValidName(name) {
			return status, fault(ErrInvalid, "lane %s/%s: want names of the catalog (lower case letters, digits, dashes)", environment, service)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := d.Temporal.QueryWorkflow(ctx, signals.LaneID(environment, service), "", signals.StatusQuery)
	if is[*serviceerror.NotFound](err) {
		return status, fault(ErrNotFound, "nothing was ever released to %s of %s: there is no such lane", environment, service)
	}
	if err != nil {
		return status, answer(err, "status of the lane")
	}
	if err := reply.Get(&status); err != nil {
		return status, answer(err, "status of the lane can't be read")
	}
	return status, nil
}

// find describes the release's workflow. A workflow of another type is none.
func (d *Desk) find(ctx context.Context, release string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	missing := fault(ErrNotFound, "there is no release %q; list what there is with: waybill list", release)
	if !signals.ValidReleaseID(release) {
		return nil, missing
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := d.Temporal.DescribeWorkflowExecution(ctx, release, "")
	if is[*serviceerror.NotFound](err) {
		return nil, missing
	}
	if err != nil {
		return nil, answer(err, "describe release "+release)
	}
	if info.GetWorkflowExecutionInfo().GetType().GetName() != signals.ReleaseWorkflow {
		return nil, missing
	}
	return info, nil
}

// status asks the release itself, and adds what only the server knows.
func (d *Desk) status(ctx context.Context, info *workflowservice.DescribeWorkflowExecutionResponse) (wire.Release, error) {
	exec := info.GetWorkflowExecutionInfo()
	out := wire.Release{Execution: wire.Execution{
		State:     stateOf(exec.GetStatus()),
		StartedAt: exec.GetStartTime().AsTime(),
	}}
	if exec.GetCloseTime() != nil {
		out.Execution.ClosedAt = exec.GetCloseTime().AsTime()
	}
	query := d.query(ctx, exec, &out.Status)
	if out.Execution.State != wire.Running {
		ended, err := d.end(ctx, exec)
		if err != nil {
			return out, err
		}
		out.Execution.Failure = ended.Failure
		if query != nil {
			out.Status = statusFromEnd(exec, ended)
		}
		return out, nil
	}
	if query != nil {
		d.Log.WarnContext(ctx, "a release doesn't say how it stands", "release", exec.GetExecution().GetWorkflowId(), "error", query)
		return out, &Error{Kind: kindOf(query), Detail: unanswered(exec, query), cause: query}
	}
	out.Live = progress(info.GetPendingActivities())
	return out, nil
}

// queryPause is what is waited before a status is asked for again, at first.
const queryPause = 150 * time.Millisecond

// query puts the release's own answer into the status. A worker that is just
// being replaced fails a query at once, so it is asked a few times.
func (d *Desk) query(ctx context.Context, exec *workflow.WorkflowExecutionInfo, into *signals.Status) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := exec.GetExecution()
	answer, err := d.Temporal.QueryWorkflow(ctx, id.GetWorkflowId(), id.GetRunId(), signals.StatusQuery)
	for try := 0; try < 3 && err != nil && noAnswer(err) && ctx.Err() == nil; try++ {
		select {
		case <-ctx.Done():
		case <-time.After(queryPause << try):
			answer, err = d.Temporal.QueryWorkflow(ctx, id.GetWorkflowId(), id.GetRunId(), signals.StatusQuery)
		}
	}
	if err != nil {
		return err
	}
	if err := answer.Get(into); err != nil {
		return fmt.Errorf("status of release %s can't be read: %w", id.GetWorkflowId(), err)
	}
	return nil
}

// end reads how a closed release ended. A workflow that failed is an answer
// here, not an error.
func (d *Desk) end(ctx context.Context, exec *workflow.WorkflowExecutionInfo) (wire.Ended, error) {
	id := exec.GetExecution()
	out := wire.Ended{Release: id.GetWorkflowId(), Done: true, State: stateOf(exec.GetStatus())}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var outcome signals.Outcome
	err := d.Temporal.GetWorkflow(ctx, id.GetWorkflowId(), id.GetRunId()).Get(ctx, &outcome)
	var failed *temporal.WorkflowExecutionError
	switch {
	case err == nil:
		out.Outcome = &outcome
	case errors.As(err, &failed):
		out.Failure = rootCause(failed)
	default:
		return out, answer(err, "read the outcome of release "+id.GetWorkflowId())
	}
	return out, nil
}

// unanswered tells what is known without a worker.
func unanswered(exec *workflow.WorkflowExecutionInfo, err error) string {
	row := rowOf(exec)
	return fmt.Sprintf("release %s runs since %s and was last known in phase %q, but its status can't be had: %s",
		row.Release, row.StartedAt.Format(time.RFC3339), row.Phase, reason(err))
}

// statusFromEnd is the status of a closed release that no worker can tell any
// more.
func statusFromEnd(exec *workflow.WorkflowExecutionInfo, ended wire.Ended) signals.Status {
	row := rowOf(exec)
	status := signals.Status{
		Release: row.Release, Run: row.Run, Service: row.Service, Environment: row.Environment, Tier: int(row.Tier),
		Phase: row.Phase, Since: row.ClosedAt, Doing: "ended; details need a worker", Gates: []signals.Gate{}, Outcome: ended.Outcome,
	}
	if o := ended.Outcome; o != nil {
		status.Artifact, status.PlanDigest, status.LKG = o.Artifact, o.PlanDigest, o.LKG
	}
	return status
}

// rootCause is the innermost message, which is the one that says what to do.
func rootCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	return err.Error()
}

func stateOf(status enums.WorkflowExecutionStatus) wire.State {
	switch status {
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return wire.Completed
	case enums.WORKFLOW_EXECUTION_STATUS_FAILED:
		return wire.Failed
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return wire.Terminated
	case enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return wire.TimedOut
	case enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return wire.Canceled
	}
	return wire.Running
}

// progress reads the heartbeat of the running watch, nil if there is none.
func progress(pending []*workflow.PendingActivityInfo) *signals.WatchProgress {
	for _, activity := range pending {
		if activity.GetActivityType().GetName() != watchActivity || activity.GetHeartbeatDetails() == nil {
			continue
		}
		var p signals.WatchProgress
		if err := converter.GetDefaultDataConverter().FromPayloads(activity.GetHeartbeatDetails(), &p); err != nil {
			return nil
		}
		// Raw readings are for the watch itself, to go on after a restart.
		p.Readings = nil
		return &p
	}
	return nil
}
