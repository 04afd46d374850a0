package activities

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/signals"
)

// Lanes talks to lane workflows on behalf of releases, and watches releases on
// behalf of lanes.
type Lanes struct {
	Client client.Client
}

// Acquire asks a lane for a resource, starting the lane if it never existed. It
// returns at once: granted, or the place in the queue.
func (l *Lanes) Acquire(ctx context.Context, in signals.AcquireInput) (signals.LaneGrant, error) {
	start := l.Client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID:                       signals.LaneID(in.Environment, in.Service),
		TaskQueue:                signals.ReleaseQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "lane of " + in.Service + " in " + in.Environment,
	}, signals.LaneWorkflow, signals.LaneInput{Environment: in.Environment, Service: in.Service})
	handle, err := l.Client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName:   signals.LaneAcquire,
			Args:         []any{in.Claim},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return signals.LaneGrant{}, err
	}
	var grant signals.LaneGrant
	err = handle.Get(ctx, &grant)
	return grant, err
}

// watchBeat is how often WatchHolder shows that it is alive; also the pause
// after which a lost long poll is begun anew.
const watchBeat = 3 * time.Second

// WatchHolder returns when the run of a release has closed, and how. A run that
// never existed counts as ended, or a forged claim would block the lane.
func (l *Lanes) WatchHolder(ctx context.Context, claim signals.LaneClaim) (signals.HolderEnd, error) {
	stop := beat(ctx, watchBeat)
	defer stop()
	var outcome signals.Outcome
	run := l.Client.GetWorkflow(ctx, claim.Release, claim.Run)
	err := run.GetWithOptions(ctx, &outcome, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
	if err == nil {
		return signals.HolderEnd{Outcome: &outcome, State: "completed"}, nil
	}
	if ctx.Err() != nil {
		return signals.HolderEnd{}, ctx.Err()
	}
	if _, unknown := errors.AsType[*serviceerror.NotFound](err); unknown {
		return signals.HolderEnd{State: "not found"}, nil
	}
	desc, descErr := l.Client.DescribeWorkflowExecution(ctx, claim.Release, claim.Run)
	if descErr != nil {
		return signals.HolderEnd{}, descErr
	}
	status := desc.GetWorkflowExecutionInfo().GetStatus()
	if status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return signals.HolderEnd{}, err
	}
	return signals.HolderEnd{State: status.String()}, nil
}

// beat heartbeats until the returned function is called, for activities that
// wait on one long call.
func beat(ctx context.Context, every time.Duration) func() {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}
