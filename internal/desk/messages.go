package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// messageValidity is how long a signed decision or command may take to arrive.
const messageValidity = 15 * time.Minute

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
	who, err := d.enrich(ctx, who)
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
	who, err := d.enrich(ctx, who)
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
	who, err := d.enrich(ctx, who)
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

// enrich adds what the directory knows of somebody who logged in. Slack's
// members come out of the directory already.
func (d *Desk) enrich(ctx context.Context, who auth.Identity) (auth.Identity, error) {
	if d.Enrich == nil || who.Authn.Method != "oidc" {
		return who, nil
	}
	return d.Enrich(ctx, who)
}

// mayCommand decides who may command a release: whoever asked for it, and
// operators.
func mayCommand(who signals.Subject, requester string, operators []string) bool {
	return who.Key() == requester || isOperator(who, operators)
}

func isOperator(who signals.Subject, operators []string) bool {
	return slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(operators, g) })
}

// requesterOf is the subject key that the gateway noted at the start, "" if the
// release was started in another way.
func requesterOf(info *workflowservice.DescribeWorkflowExecutionResponse) string {
	var key string
	noted := info.GetWorkflowExecutionInfo().GetMemo().GetFields()[memoRequester]
	if noted == nil || converter.GetDefaultDataConverter().FromPayload(noted, &key) != nil {
		return ""
	}
	return key
}

// running is the status of a release that can still be spoken to.
func (d *Desk) running(ctx context.Context, release string) (*workflowservice.DescribeWorkflowExecutionResponse, wire.Release, error) {
	info, err := d.find(ctx, release)
	if err != nil {
		return nil, wire.Release{}, err
	}
	status, err := d.status(ctx, info)
	if err != nil {
		return nil, status, err
	}
	return info, status, ended(status)
}

func ended(status wire.Release) error {
	if status.Execution.State == wire.Running {
		return nil
	}
	how := string(status.Execution.State)
	if status.Outcome != nil {
		how = string(status.Outcome.Kind)
	}
	return fault(ErrEnded, "release %s has ended (%s); nothing can be sent to it any more", status.Release, how)
}

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
		err = answer(err, fmt.Sprintf("%s to %s (it may still arrive; sending it again is safe)", m.name, b.Release))
	}
	refusal, ok := errors.AsType[*Error](err)
	if err == nil || ok && refusal.Type != "" {
		d.answered.Add(b.Nonce, struct{}{})
	}
	if err == nil && !receipt.Accepted {
		err = fault(ErrConflict, "%s", receipt.Message)
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
