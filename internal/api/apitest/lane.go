package apitest

import (
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// lane answers the status query and obeys signed commands until it is cancelled.
func lane(ctx workflow.Context, in signals.LaneInput) error {
	if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.LaneStatus, error) {
		return signals.LaneStatus{LaneInput: in}, nil
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandler(ctx, signals.CommandMessage, func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
		keys, err := pinned(ctx)
		if err != nil {
			return signals.Receipt{}, err
		}
		var s signals.LaneCommandStatement
		if err := m.Envelope.OpenInto(signals.LaneCommandPayload, keys, workflow.Now(ctx), &s); err != nil {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, err.Error())
		}
		if s.Release != workflow.GetInfo(ctx).WorkflowExecution.ID {
			return signals.Receipt{}, refuse(signals.ErrUntrusted, "it was signed for another lane")
		}
		switch s.Command {
		case signals.Freeze:
			in.Frozen = &signals.LaneFreeze{By: s.Operator.Display(), Reason: s.Reason, At: workflow.Now(ctx).UTC(), Until: s.Until}
		case signals.Unfreeze:
			in.Frozen = nil
		default:
			return signals.Receipt{}, refuse(signals.ErrNotNow, "no review of "+s.Reviewed+" is due")
		}
		return signals.Receipt{Accepted: true, Message: "the lane takes it: " + string(s.Command)}, nil
	}); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

// JournalQuery returns the entries of the journal, as []signals.RefusalStatement.
const JournalQuery = "entries"

// journal keeps the refusals that the gateway signed.
func journal(ctx workflow.Context, _ signals.JournalInput) error {
	entries := []signals.RefusalStatement{}
	if err := workflow.SetQueryHandler(ctx, JournalQuery, func() ([]signals.RefusalStatement, error) { return entries, nil }); err != nil {
		return err
	}
	ch := workflow.GetSignalChannel(ctx, signals.JournalEntry)
	for {
		var m signals.Message
		ch.Receive(ctx, &m)
		keys, err := pinned(ctx)
		if err != nil {
			return err
		}
		var s signals.RefusalStatement
		if m.Envelope.OpenInto(signals.RefusalPayload, keys, workflow.Now(ctx), &s) == nil {
			entries = append(entries, s)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
