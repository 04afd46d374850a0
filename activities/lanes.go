package activities

import (
	"context"
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/signals"
)

// Lanes talks to lane workflows on behalf of releases, and watches releases on
// behalf of lanes. Gateway is the keys by which commands to lanes are believed,
// Catalog says who may give them.
type Lanes struct {
	Client  client.Client
	Catalog Catalog
	Gateway []signals.PublicKey
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

// WatchHolder returns when the run of a release has closed, and how. A run that
// never existed counts as ended, or a forged claim would block the lane.
func (l *Lanes) WatchHolder(ctx context.Context, claim signals.LaneClaim) (signals.HolderEnd, error) {
	_, stop := startPulse(ctx)
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
