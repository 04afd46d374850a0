package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// messageValidity is how long a signed decision or command may take to arrive.
const messageValidity = 15 * time.Minute

// bind ties a statement to this run and plan, and to one use soon.
func (d *Desk) bind(status wire.Release, nonce string) signals.Binding {
	now := d.Now().UTC()
	return signals.Binding{
		Release: status.Release, Run: status.Run, PlanDigest: status.PlanDigest,
		Nonce: orNonce(nonce), IssuedAt: now, ExpiresAt: now.Add(messageValidity),
	}
}

func orNonce(nonce string) string {
	if nonce == "" {
		return auth.Nonce()
	}
	return nonce
}

// laneOptions start a lane as a release does that asks for one.
func laneOptions(environment, service string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: signals.LaneID(environment, service), TaskQueue: signals.ReleaseQueue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "lane of " + service + " in " + environment,
	}
}

// message is a statement on its way: the update's name, and what starts the
// workflow if it isn't there.
type message struct {
	name, payloadType string
	binding           signals.Binding
	again             bool
	statement         any
	start             client.WithStartWorkflowOperation
}

// send signs a statement, delivers it as an update and waits for the answer.
//
// The update's id is the nonce, so that Temporal answers another delivery of the
// same message with the first one's result. A message that isn't marked as such,
// but whose nonce has been answered, is a replay: it goes to the release under
// an id of its own, to be refused and recorded there.
func (d *Desk) send(ctx context.Context, m message) (signals.Receipt, error) {
	b := m.binding
	envelope, err := d.Signer.Sign(m.payloadType, m.statement)
	if err != nil {
		return signals.Receipt{}, &Error{Detail: err.Error(), cause: err}
	}
	id := b.Nonce
	if !m.again && d.answered.Contains(b.Nonce) {
		id = fmt.Sprintf("%s.%d", b.Nonce, b.IssuedAt.UnixNano())
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	receipt, err := d.deliver(ctx, client.UpdateWorkflowOptions{
		UpdateID: id, WorkflowID: b.Release, UpdateName: m.name,
		Args: []any{signals.Message{Envelope: envelope}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}, m.start)
	if err != nil {
		if !is[*temporal.ApplicationError](err) {
			d.Log.WarnContext(ctx, "a message was not answered", "update", m.name, "workflow", b.Release, "error", err)
		}
		err = answer(err, fmt.Sprintf("%s to %s (it may still arrive; sending it again is safe)", m.name, b.Release))
	}
	refusal, ok := errors.AsType[*Error](err)
	if err == nil || ok && refusal.Type != "" {
		d.answered.Add(b.Nonce, struct{}{})
	}
	if err == nil && !receipt.Accepted {
		err = &Error{Kind: ErrConflict, Type: signals.ErrNotNow, Detail: receipt.Message}
	}
	return receipt, err
}

// deliver sends the update and waits for its result. A freeze starts the lane if
// it never existed: what is not there yet can be kept shut as well.
func (d *Desk) deliver(ctx context.Context, update client.UpdateWorkflowOptions, start client.WithStartWorkflowOperation) (signals.Receipt, error) {
	var receipt signals.Receipt
	var handle client.WorkflowUpdateHandle
	var err error
	if start == nil {
		handle, err = d.Temporal.UpdateWorkflow(ctx, update)
	} else {
		handle, err = d.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: start, UpdateOptions: update,
		})
	}
	if err != nil {
		return receipt, err
	}
	err = handle.Get(ctx, &receipt)
	return receipt, err
}
