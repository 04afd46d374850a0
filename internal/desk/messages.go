package desk

import (
	"context"
	"slices"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// maxFreeze bounds how far ahead a freeze's end can lie.
const maxFreeze = 366 * 24 * time.Hour

// Decision is a person's decision on the plan that was read, or, with Command,
// on the operator's command of that id.
//
// Nonce tells a message from others: "" for a new one at random; one made from a
// click makes that click count once. Again is set for what the channel itself
// marks as another delivery of the same message: it gets the first one's answer.
type Decision struct {
	Release    string
	PlanDigest string
	Decision   signals.Decision
	Reason     string
	Command    string
	Nonce      string
	Again      bool
}

// Command is an operator's command to a release. By is for Extend only; Nonce and
// Again are as in a Decision.
type Command struct {
	Release string
	Command signals.CommandKind
	By      signals.Duration
	Reason  string
	Nonce   string
	Again   bool
}

// LaneCommand is an operator's command to a lane. Until may end a freeze,
// Reviewed names the release whose review is closed; Nonce and Again are as in a
// Decision.
type LaneCommand struct {
	Environment string
	Service     string
	Command     signals.LaneCommandKind
	Until       time.Time
	Reviewed    string
	Reason      string
	Nonce       string
	Again       bool
}

// Decide signs a decision on exactly the plan that was read and hands it to the
// release, which judges it. Nothing was promised to anybody until it returns.
func (d *Desk) Decide(ctx context.Context, who auth.Identity, dec Decision) (signals.Receipt, error) {
	receipt, err := d.decide(ctx, who, dec)
	d.record(signals.ApprovalMessage, who, dec.Release, err)
	return receipt, err
}

func (d *Desk) decide(ctx context.Context, who auth.Identity, dec Decision) (signals.Receipt, error) {
	who, err := d.enrich(ctx, who, toDecide)
	if err != nil {
		return signals.Receipt{}, err
	}
	_, status, err := d.running(ctx, dec.Release)
	if err != nil {
		return signals.Receipt{}, err
	}
	switch status.PlanDigest {
	case dec.PlanDigest:
	case "":
		return signals.Receipt{}, fault(ErrConflict, "release %s has no plan yet that could be decided on; it is in phase %q", dec.Release, status.Phase)
	default:
		return signals.Receipt{}, fault(ErrConflict, "the plan of release %s is %s, not the %s that was read; read it again with: waybill status %s",
			dec.Release, status.PlanDigest, dec.PlanDigest, dec.Release)
	}
	binding := d.bind(status, dec.Nonce)
	return d.send(ctx, message{signals.ApprovalMessage, signals.ApprovalPayload, binding, dec.Again, signals.ApprovalStatement{
		Binding: binding, Decision: dec.Decision, Reason: dec.Reason, Approver: who.Subject, Authn: who.Authn, Command: dec.Command,
	}, nil})
}

// Command signs an operator's command and hands it to the release.
func (d *Desk) Command(ctx context.Context, who auth.Identity, c Command) (signals.Receipt, error) {
	receipt, err := d.command(ctx, who, c)
	d.record(signals.CommandMessage, who, c.Release, err)
	return receipt, err
}

func (d *Desk) command(ctx context.Context, who auth.Identity, c Command) (signals.Receipt, error) {
	who, err := d.enrich(ctx, who, toCommand)
	if err != nil {
		return signals.Receipt{}, err
	}
	info, status, err := d.running(ctx, c.Release)
	if err != nil {
		return signals.Receipt{}, err
	}
	if !slices.Contains(signals.CommandKinds(), c.Command) {
		return signals.Receipt{}, fault(ErrInvalid, "command %q is not known; known: %v", c.Command, signals.CommandKinds())
	}
	if !mayCommand(who.Subject, requesterOf(info), d.Operators) {
		return signals.Receipt{}, fault(ErrNotAllowed, "%s may not %s release %s; its requester may, and members of %v",
			who.Subject.Display(), c.Command, c.Release, d.Operators)
	}
	binding := d.bind(status, c.Nonce)
	return d.send(ctx, message{signals.CommandMessage, signals.CommandPayload, binding, c.Again, signals.CommandStatement{
		Binding: binding, Command: c.Command, By: c.By, Reason: c.Reason, Operator: who.Subject, Authn: who.Authn,
	}, nil})
}

// LaneCommand signs an operator's command and hands it to the lane. Freezing a
// lane that was never used begins it.
func (d *Desk) LaneCommand(ctx context.Context, who auth.Identity, c LaneCommand) (signals.Receipt, error) {
	receipt, err := d.laneCommand(ctx, who, c)
	d.record("lane-command", who, signals.LaneID(c.Environment, c.Service), err)
	return receipt, err
}

func (d *Desk) laneCommand(ctx context.Context, who auth.Identity, c LaneCommand) (signals.Receipt, error) {
	who, err := d.enrich(ctx, who, toCommand)
	if err != nil {
		return signals.Receipt{}, err
	}
	now := d.Now().UTC()
	if err := c.check(now); err != nil {
		return signals.Receipt{}, err
	}
	if !isOperator(who.Subject, d.Operators) {
		return signals.Receipt{}, fault(ErrNotAllowed, "%s may not %s lanes; members of %v may", who.Subject.Display(), c.Command, d.Operators)
	}
	id := signals.LaneID(c.Environment, c.Service)
	binding := signals.Binding{Release: id, Nonce: orNonce(c.Nonce), IssuedAt: now, ExpiresAt: now.Add(messageValidity)}
	var start client.WithStartWorkflowOperation
	if c.Command == signals.Freeze {
		start = d.Temporal.NewWithStartWorkflowOperation(laneOptions(c.Environment, c.Service),
			signals.LaneWorkflow, signals.LaneInput{Environment: c.Environment, Service: c.Service})
	}
	return d.send(ctx, message{signals.CommandMessage, signals.LaneCommandPayload, binding, c.Again, signals.LaneCommandStatement{
		Binding: binding, Command: c.Command, Until: c.Until, Reviewed: c.Reviewed, Reason: c.Reason, Operator: who.Subject, Authn: who.Authn,
	}, start})
}

func (c LaneCommand) check(now time.Time) error {
	switch {
	case !signals.ValidName(c.Environment) || !signals.ValidName(c.Service):
		return fault(ErrInvalid, "lane %s/%s: want names of the catalog (lower case letters, digits, dashes)", c.Environment, c.Service)
	case !slices.Contains([]signals.LaneCommandKind{signals.Freeze, signals.Unfreeze, signals.CloseReview}, c.Command):
		return fault(ErrInvalid, "lane command %q is not known; known: freeze, unfreeze, close-review", c.Command)
	case !c.Until.IsZero() && c.Command != signals.Freeze:
		return fault(ErrInvalid, "until: only a freeze ends by itself")
	case !c.Until.IsZero() && (!c.Until.After(now) || c.Until.After(now.Add(maxFreeze))):
		return fault(ErrInvalid, "until %s: want a time within the year to come", c.Until.Format(time.RFC3339))
	case (c.Reviewed != "") != (c.Command == signals.CloseReview):
		return fault(ErrInvalid, "reviewed: close-review names the release that was reviewed, other commands name none")
	}
	return nil
}
