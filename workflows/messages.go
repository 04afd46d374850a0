package workflows

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// refusalsRecorded bounds how many refused messages get a record of their own,
// so that nobody can flood the bucket; the manifest counts the rest.
const refusalsRecorded = 100

// handleMessages takes approvals and commands, as updates (answered) and as
// signals (not). Both forms end in the same handler: what counts is the envelope
// inside, never who the server says sent it.
func (r *release) handleMessages(ctx workflow.Context) error {
	handlers := map[string]func(workflow.Context, signals.Message) (signals.Receipt, error){
		signals.ApprovalMessage: r.handleApproval,
		signals.CommandMessage:  r.handleCommand,
	}
	descriptions := map[string]string{
		signals.ApprovalMessage: "Approve or deny. Needs an envelope signed by the gateway: use `waybill approve` or `waybill deny`.",
		signals.CommandMessage:  "Abort. Needs an envelope signed by the gateway: use `waybill abort`.",
	}
	for _, name := range []string{signals.ApprovalMessage, signals.CommandMessage} {
		handle := handlers[name]
		answered := func(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
			receipt, err := handle(ctx, m)
			return receipt, r.refusal(ctx, name, m, err)
		}
		if err := workflow.SetUpdateHandlerWithOptions(ctx, name, answered, workflow.UpdateHandlerOptions{
			Validator: r.validateMessage, Description: descriptions[name],
		}); err != nil {
			return err
		}
		ch := workflow.GetSignalChannelWithOptions(ctx, name, workflow.SignalChannelOptions{Description: descriptions[name]})
		workflow.GoNamed(r.root, name+" signals", func(ctx workflow.Context) {
			for {
				if err := workflow.Await(ctx, func() bool { return ch.Len() > 0 }); err != nil {
					return
				}
				r.receive(ctx, ch, name, handle)
			}
		})
	}
	return workflow.SetQueryHandlerWithOptions(ctx, signals.StatusQuery, r.status,
		workflow.QueryHandlerOptions{Description: "Where this release stands and what to do next."})
}

// unread counts the signals that nobody has looked at yet.
func (r *release) unread() int {
	return workflow.GetSignalChannel(r.root, signals.ApprovalMessage).Len() +
		workflow.GetSignalChannel(r.root, signals.CommandMessage).Len()
}

// receive takes one signal. A signal that is not even a message is refused like
// one without an envelope.
func (r *release) receive(ctx workflow.Context, ch workflow.ReceiveChannel, name string,
	handle func(workflow.Context, signals.Message) (signals.Receipt, error)) {
	var raw json.RawMessage
	if ok := ch.ReceiveAsync(&raw); !ok {
		return
	}
	var m signals.Message
	err := json.Unmarshal(raw, &m)
	if err == nil {
		_, err = handle(ctx, m)
	} else {
		err = refused(signals.ErrUntrusted, "it is not a message with an envelope: %v", err)
	}
	_ = r.refusal(ctx, name, m, err)
}

// validateMessage refuses without a trace in history: only where a trace would
// serve nobody, because the papers are closed or flooded.
func (r *release) validateMessage(m signals.Message) error {
	switch {
	case r.outcome != nil:
		return refused(signals.ErrNotNow, "release %s has ended: %s", r.papers.release, r.outcome.Kind)
	case r.refused >= refusalsRecorded && len(m.Envelope.Signatures) == 0:
		return refused(signals.ErrUntrusted, "the message carries no signature; it must come through the gateway")
	}
	return nil
}

func refused(kind, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), kind, nil)
}

// refusal records that a message was refused, and passes the reason on.
func (r *release) refusal(_ workflow.Context, name string, m signals.Message, err error) error {
	if err == nil {
		return nil
	}
	r.refused++
	if r.refused <= refusalsRecorded && r.outcome == nil && r.papers.broken == nil {
		r.note(signals.RecordRefusal, signals.RefusalPredicate{
			PlanDigest: r.digest, Phase: r.phase, What: name, Reasons: strings.Split(explain(err), "\n"),
			Message: readable(m.Envelope),
		})
	}
	r.show()
	return err
}

// readable is what a refused envelope said, cut to a bounded length: it is not
// trusted, but whoever investigates wants to see it.
func readable(e signals.Envelope) string {
	const most = 2048
	text := e.PayloadType + " " + e.Payload
	if len(text) > most {
		text = text[:most]
	}
	return strings.TrimSpace(text)
}

// handleApproval counts one signed decision.
func (r *release) handleApproval(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
	now := workflow.Now(ctx).UTC()
	var s signals.ApprovalStatement
	if r.digest == "" {
		return signals.Receipt{}, refused(signals.ErrNotNow, "there is no plan to approve yet (phase %s)", r.phase)
	}
	if err := m.Envelope.OpenInto(signals.ApprovalPayload, r.plan.Trust.Gateway, now, &s); err != nil {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "approval refused: %v", err)
	}
	if err := boundTo(s.Binding, r.papers.release, r.papers.run, r.digest, now); err != nil {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "approval refused: %v", err)
	}
	if r.approvals.nonces[s.Nonce] {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "approval refused: its nonce was used before")
	}
	if r.phase != signals.Approving || r.approvals.denied != nil || r.approvals.complete() || r.approvals.needed.People() == 0 {
		return signals.Receipt{}, refused(signals.ErrNotNow, "nothing to approve now: the release is in phase %s", r.phase)
	}
	if s.Decision != signals.Approve && s.Decision != signals.Deny {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "decision %q is neither approve nor deny", s.Decision)
	}
	if err := mayApprove(s, r.requester, r.approvals.needed, r.approvals.approvers()); err != nil {
		return signals.Receipt{}, refused(signals.ErrNotAllowed, "%v", err)
	}
	r.approvals.nonces[s.Nonce] = true
	place := ""
	if s.Decision == signals.Approve {
		r.approvals.given = append(r.approvals.given, given{statement: s, at: now})
		filled, _ := Assign(r.approvals.needed, r.approvals.approvers())
		place = filled[len(filled)-1]
	}
	missing := r.approvals.missing()
	r.note(signals.RecordApproval, signals.ApprovalPredicate{
		PlanDigest: r.digest, Statement: s, Envelope: m.Envelope, Place: place, Missing: missing, Excluded: excluded(r.requester),
	})
	if s.Decision == signals.Deny {
		r.approvals.denied = &s
		return signals.Receipt{Accepted: true, Message: "denied; the release ends", Missing: missing}, nil
	}
	if missing.People() == 0 {
		return signals.Receipt{Accepted: true, Message: "approved; the quorum is complete"}, nil
	}
	r.now("waiting for "+describeQuorum(missing), r.approvals.expires)
	return signals.Receipt{Accepted: true, Message: "approved; still missing " + describeQuorum(missing), Missing: missing}, nil
}

// handleCommand takes an operator's signed command.
func (r *release) handleCommand(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
	now := workflow.Now(ctx).UTC()
	var s signals.CommandStatement
	if r.digest == "" {
		return signals.Receipt{}, refused(signals.ErrNotNow, "the release has no plan yet (phase %s); try again in a moment", r.phase)
	}
	if err := m.Envelope.OpenInto(signals.CommandPayload, r.plan.Trust.Gateway, now, &s); err != nil {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "command refused: %v", err)
	}
	if err := boundTo(s.Binding, r.papers.release, r.papers.run, r.digest, now); err != nil {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "command refused: %v", err)
	}
	switch {
	case s.Command != signals.Abort:
		return signals.Receipt{}, refused(signals.ErrUntrusted, "command %q is not known; known: abort", s.Command)
	case strings.TrimSpace(s.Reason) == "":
		return signals.Receipt{}, refused(signals.ErrNotAllowed, "abort needs a reason")
	case r.aborted != nil:
		return signals.Receipt{}, refused(signals.ErrNotNow, "the release is being aborted already, by %s", r.aborted.by)
	case r.settling || r.phase == signals.RollingBack:
		return signals.Receipt{}, refused(signals.ErrNotNow, "too late to abort: the release is in phase %s", r.phase)
	}
	r.aborted = &stop{kind: signals.Aborted, trigger: "operator", by: s.Operator.Key(), reasons: []string{s.Reason}}
	r.note(signals.RecordCommand, signals.CommandPredicate{PlanDigest: r.digest, Statement: s, Envelope: m.Envelope, Phase: r.phase})
	r.stopForward()
	return signals.Receipt{Accepted: true, Message: "aborting; whatever was changed is put back"}, nil
}
