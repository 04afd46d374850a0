package workflows

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

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
		signals.ApprovalMessage: "Approve, deny or withdraw. Needs an envelope signed by the gateway: use `waybill approve`, `deny` or `withdraw`.",
		signals.CommandMessage:  "Pause, resume, abort, skip, extend, rollback, retry. Needs an envelope signed by the gateway: use `waybill abort` and the like.",
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

// read opens a message's envelope: it must be signed by a key that the plan pins,
// made for this release, run and plan and for now, and never used before.
func (r *release) read(what, payloadType string, m signals.Message, into any, binding *signals.Binding, now time.Time) error {
	if r.digest == "" {
		return refused(signals.ErrNotNow, "%s refused: the release has no plan yet (phase %s); try again in a moment", what, r.phase)
	}
	if err := m.Envelope.OpenInto(payloadType, r.plan.Trust.Gateway, now, into); err != nil {
		return refused(signals.ErrUntrusted, "%s refused: %v", what, err)
	}
	if err := boundTo(*binding, r.papers.release, r.papers.run, r.digest, now); err != nil {
		return refused(signals.ErrUntrusted, "%s refused: %v", what, err)
	}
	if r.nonces[binding.Nonce] {
		return refused(signals.ErrReplayed, "%s refused: its nonce was used before; it counted then, and doesn't twice", what)
	}
	return nil
}

// boundTo checks that a signed statement was made for this release, run and plan
// and for now. Empty run and plan digest are not checked.
func boundTo(b signals.Binding, release, run, planDigest string, now time.Time) error {
	switch {
	case b.Release != release:
		return fmt.Errorf("it was signed for release %q, this is %q", b.Release, release)
	case run != "" && b.Run != run:
		return fmt.Errorf("it was signed for run %q, this is run %q", b.Run, run)
	case planDigest != "" && b.PlanDigest != planDigest:
		return fmt.Errorf("it was signed for plan %s, this release's plan is %s", short(b.PlanDigest), short(planDigest))
	case b.Nonce == "":
		return fmt.Errorf("it carries no nonce")
	case now.After(b.ExpiresAt):
		return fmt.Errorf("it expired at %s", b.ExpiresAt.Format(time.RFC3339))
	case b.IssuedAt.After(now.Add(skew)):
		return fmt.Errorf("it is dated %s, which is in the future", b.IssuedAt.Format(time.RFC3339))
	}
	return nil
}

// handleApproval takes one signed decision: on the release, or on an operator's
// command that waits for one.
func (r *release) handleApproval(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
	now := workflow.Now(ctx).UTC()
	var s signals.ApprovalStatement
	if err := r.read("approval", signals.ApprovalPayload, m, &s, &s.Binding, now); err != nil {
		return signals.Receipt{}, err
	}
	decide := r.decideRelease
	if s.Command != "" {
		decide = r.decideCommand
	}
	return decide(s, m.Envelope, now)
}

// decideRelease counts a decision on the release itself.
func (r *release) decideRelease(s signals.ApprovalStatement, e signals.Envelope, now time.Time) (signals.Receipt, error) {
	ending := r.people && r.halted != nil
	if !r.approvals.open || r.approvals.denied != nil || r.approvals.complete() || ending {
		return signals.Receipt{}, refused(signals.ErrNotNow, "nothing to approve now: the release is in phase %s", r.phase)
	}
	switch {
	case s.Decision == signals.Approve:
		return r.approveRelease(s, e, now)
	case s.Decision == signals.Deny:
		return r.denyRelease(s, e)
	case s.Decision == signals.Withdraw && r.people:
		return r.withdraw(s, e)
	}
	return signals.Receipt{}, refused(signals.ErrUntrusted, "decision %q is none of approve, deny and withdraw", s.Decision)
}

func (r *release) approveRelease(s signals.ApprovalStatement, e signals.Envelope, now time.Time) (signals.Receipt, error) {
	if err := r.approvals.mayDecide(s); err != nil {
		return signals.Receipt{}, err
	}
	groups, err := r.approvals.speaksFor(s)
	if err != nil {
		return signals.Receipt{}, err
	}
	place := r.approvals.add(given{statement: s, groups: groups, at: now})
	missing := r.recordDecision(s, e, place)
	if missing.People() == 0 {
		return signals.Receipt{Accepted: true, Message: "approved; the quorum is complete"}, nil
	}
	r.nowMissing()
	return signals.Receipt{Accepted: true, Message: "approved; still missing " + describeQuorum(missing), Missing: missing}, nil
}

func (r *release) denyRelease(s signals.ApprovalStatement, e signals.Envelope) (signals.Receipt, error) {
	if err := r.approvals.mayDecide(s); err != nil {
		return signals.Receipt{}, err
	}
	r.approvals.denied = &s
	missing := r.recordDecision(s, e, "")
	return signals.Receipt{Accepted: true, Message: "denied; the release ends", Missing: missing}, nil
}

// withdraw takes back one's own approval. Whoever did so may approve again.
func (r *release) withdraw(s signals.ApprovalStatement, e signals.Envelope) (signals.Receipt, error) {
	if strings.TrimSpace(s.Reason) == "" {
		return signals.Receipt{}, refused(signals.ErrNotAllowed, "a withdrawal needs a reason")
	}
	fell := r.approvals.void(func(g given) string {
		if g.statement.Approver.Key() != s.Approver.Key() {
			return ""
		}
		return "withdrawn: " + s.Reason
	})
	if len(fell) == 0 {
		return signals.Receipt{}, refused(signals.ErrNotAllowed, "%s has no approval here to take back", s.Approver.Display())
	}
	missing := r.recordDecision(s, e, "")
	r.nowMissing()
	return signals.Receipt{Accepted: true, Message: "withdrawn; missing is " + describeQuorum(missing), Missing: missing}, nil
}

// recordDecision writes a counted decision down, tells of it, and returns whom
// the quorum still needs.
func (r *release) recordDecision(s signals.ApprovalStatement, e signals.Envelope, place string) signals.Quorum {
	r.nonces[s.Nonce] = true
	missing := r.approvals.missing()
	kept := make([]string, len(r.approvals.exclusions))
	for i, x := range r.approvals.exclusions {
		kept[i] = x.Identity
	}
	r.note(signals.RecordApproval, signals.ApprovalPredicate{
		PlanDigest: r.digest, Statement: s, Envelope: e, Place: place, Missing: missing, Excluded: kept,
	})
	text := fmt.Sprintf("%s %s: %s", s.Approver.Display(), decided[s.Decision], s.Reason)
	if s.Command == "" && s.Decision == signals.Approve && missing.People() > 0 {
		text += fmt.Sprintf(" (still missing %s)", describeQuorum(missing))
	}
	r.say(signals.Reply{Event: "approval/" + s.Nonce, Text: text})
	return missing
}

// decided says a decision as something that somebody did.
var decided = map[signals.Decision]string{
	signals.Approve: "approved", signals.Deny: "denied", signals.Withdraw: "withdrew their approval",
}
