package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
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

// ReleasePath is the part of a path that names a release. It is exported for
// huma alone, which fills no embedded struct that isn't.
type ReleasePath struct {
	Release string `path:"release" doc:"The release's id" maxLength:"127"`
}

type releaseOutput struct{ Body wire.Release }

type outcomeInput struct {
	ReleasePath
	Wait string `query:"wait" default:"0s" doc:"How long to wait for the end, up to 1m, such as 30s"`
}

type outcomeOutput struct{ Body wire.Ended }

func (s *server) registerReleases(api huma.API) {
	s.registerStart(api)
	s.registerList(api)
	huma.Register(api, huma.Operation{
		OperationID: "get-release", Method: http.MethodGet, Path: "/v1/releases/{release}", Security: secured,
		Summary: "Where a release stands", Errors: []int{401, 404, 503},
	}, s.get)
	huma.Register(api, huma.Operation{
		OperationID: "get-outcome", Method: http.MethodGet, Path: "/v1/releases/{release}/outcome", Security: secured,
		Summary: "Wait for a release's outcome", Errors: []int{401, 404, 503},
	}, s.outcome)
}

func (s *server) get(ctx context.Context, in *ReleasePath) (*releaseOutput, error) {
	info, err := s.find(ctx, in.Release)
	if err != nil {
		return nil, err
	}
	status, err := s.status(ctx, info)
	if err != nil {
		return nil, err
	}
	return &releaseOutput{Body: status}, nil
}

// find describes the release's workflow. A workflow of another type is none.
func (s *server) find(ctx context.Context, release string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	missing := huma.Error404NotFound(fmt.Sprintf("there is no release %q; list what there is with: waybill list", release))
	if !signals.ValidReleaseID(release) {
		return nil, missing
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := s.Temporal.DescribeWorkflowExecution(ctx, release, "")
	if is[*serviceerror.NotFound](err) {
		return nil, missing
	}
	if err != nil {
		return nil, problem(err, "describe release "+release)
	}
	if info.GetWorkflowExecutionInfo().GetType().GetName() != signals.ReleaseWorkflow {
		return nil, missing
	}
	return info, nil
}

// status asks the release itself, and adds what only the server knows.
func (s *server) status(ctx context.Context, info *workflowservice.DescribeWorkflowExecutionResponse) (wire.Release, error) {
	exec := info.GetWorkflowExecutionInfo()
	out := wire.Release{Execution: wire.Execution{
		State:     stateOf(exec.GetStatus()),
		StartedAt: exec.GetStartTime().AsTime(),
	}}
	if exec.GetCloseTime() != nil {
		out.Execution.ClosedAt = exec.GetCloseTime().AsTime()
	}
	query := s.query(ctx, exec, &out.Status)
	if out.Execution.State != wire.Running {
		ended, err := s.end(ctx, exec)
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
		return out, huma.NewError(statusOf(query), unanswered(exec, query))
	}
	out.Live = progress(info.GetPendingActivities())
	return out, nil
}

// query puts the release's own answer into the status.
func (s *server) query(ctx context.Context, exec *workflow.WorkflowExecutionInfo, into *signals.Status) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := exec.GetExecution()
	answer, err := s.Temporal.QueryWorkflow(ctx, id.GetWorkflowId(), id.GetRunId(), signals.StatusQuery)
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
func (s *server) end(ctx context.Context, exec *workflow.WorkflowExecutionInfo) (wire.Ended, error) {
	id := exec.GetExecution()
	out := wire.Ended{Release: id.GetWorkflowId(), Done: true, State: stateOf(exec.GetStatus())}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var outcome signals.Outcome
	err := s.Temporal.GetWorkflow(ctx, id.GetWorkflowId(), id.GetRunId()).Get(ctx, &outcome)
	var failed *temporal.WorkflowExecutionError
	switch {
	case err == nil:
		out.Outcome = &outcome
	case errors.As(err, &failed):
		out.Failure = rootCause(failed)
	default:
		return out, problem(err, "read the outcome of release "+id.GetWorkflowId())
	}
	return out, nil
}

func (s *server) outcome(ctx context.Context, in *outcomeInput) (*outcomeOutput, error) {
	wait, err := time.ParseDuration(in.Wait)
	if err != nil || wait < 0 || wait > maxWait {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("wait %q: want a duration from 0s to %s, such as 30s", in.Wait, maxWait))
	}
	info, err := s.find(ctx, in.Release)
	if err != nil {
		return nil, err
	}
	if stateOf(info.GetWorkflowExecutionInfo().GetStatus()) == wire.Running && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		// Only the end of the wait matters: what it was is read below, in the
		// same way for a release that had ended before.
		_ = s.Temporal.GetWorkflow(waiting, in.Release, info.GetWorkflowExecutionInfo().GetExecution().GetRunId()).Get(waiting, nil)
		if info, err = s.find(ctx, in.Release); err != nil {
			return nil, err
		}
	}
	exec := info.GetWorkflowExecutionInfo()
	if stateOf(exec.GetStatus()) == wire.Running {
		return &outcomeOutput{Body: wire.Ended{Release: in.Release, State: wire.Running}}, nil
	}
	ended, err := s.end(ctx, exec)
	if err != nil {
		return nil, err
	}
	return &outcomeOutput{Body: ended}, nil
}

// unanswered tells what is known without a worker.
func unanswered(exec *workflow.WorkflowExecutionInfo, err error) string {
	row := rowOf(exec)
	return fmt.Sprintf("release %s runs since %s and was last known in phase %q, but its status can't be had: %s",
		row.Release, row.StartedAt.Format(time.RFC3339), row.Phase, explain(err))
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
