package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// OpenLaneCommand verifies an operator's command to a lane: signed by the
// gateway (else ErrUntrusted), by somebody in a group that the catalog lets
// operate the lane (else ErrNotAllowed). Whether it is for this lane and makes
// sense there is for the lane to say.
func (l *Lanes) OpenLaneCommand(_ context.Context, in signals.LaneMessage) (signals.LaneCommandStatement, error) {
	var s signals.LaneCommandStatement
	if err := in.Message.Envelope.OpenInto(signals.LaneCommandPayload, l.Gateway, time.Now(), &s); err != nil {
		return s, temporal.NewNonRetryableApplicationError(fmt.Sprintf("command refused: %v", err), signals.ErrUntrusted, nil)
	}
	entry, err := l.Catalog.Entry(in.Service, in.Environment)
	if err != nil {
		return s, mendable(err)
	}
	if entry.Roles == nil || len(entry.Roles.Operate) == 0 {
		return s, nil // the gateway's own list of operators has decided
	}
	if !slices.ContainsFunc(s.Operator.Groups, func(g string) bool { return slices.Contains(entry.Roles.Operate, g) }) {
		return s, temporal.NewNonRetryableApplicationError(fmt.Sprintf("%s may not command %s in %s; members of %s may",
			s.Operator.Display(), in.Service, in.Environment, strings.Join(entry.Roles.Operate, ", ")), signals.ErrNotAllowed, nil)
	}
	return s, nil
}

// Journal hands an envelope to the journal, and starts that if need be.
func (l *Lanes) Journal(ctx context.Context, m signals.Message) error {
	_, err := l.Client.SignalWithStartWorkflow(ctx, signals.JournalID, signals.JournalEntry, m, client.StartWorkflowOptions{
		ID: signals.JournalID, TaskQueue: signals.ReleaseQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "what was refused at the gateway, and commands to lanes",
	}, signals.JournalWorkflow)
	return err
}

// Look tells how a lane stands, without its queues and without the template of
// its last known good. A lane that never was is an empty one.
func (l *Lanes) Look(ctx context.Context, in signals.LaneName) (signals.LaneStatus, error) {
	status := signals.LaneStatus{LaneInput: signals.LaneInput{Environment: in.Environment, Service: in.Service}}
	value, err := l.Client.QueryWorkflow(ctx, signals.LaneID(in.Environment, in.Service), "", signals.StatusQuery)
	if _, unknown := errors.AsType[*serviceerror.NotFound](err); unknown {
		return status, nil
	}
	if err != nil {
		return status, err
	}
	if err := value.Get(&status); err != nil {
		return status, err
	}
	if status.LKG != nil {
		lkg := status.LKG.Brief()
		status.LKG = &lkg
	}
	status.Hold, status.Papers, status.Nonces = signals.LaneQueue{}, signals.LaneQueue{}, nil
	return status, nil
}
