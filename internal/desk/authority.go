package desk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// enrich adds what the directory knows of somebody who logged in, and refuses
// whoever was deactivated. Slack's members come out of the directory already.
//
// What goes forward needs the directory's answer; stopping does not, so a command
// is taken without it. Whoever decides must be in the directory; machines, which
// start and command releases, need not be.
func (d *Desk) enrich(ctx context.Context, who auth.Identity, what purpose) (auth.Identity, error) {
	if d.Enrich == nil || who.Authn.Method != "oidc" {
		return who, nil
	}
	known, err := d.Enrich(ctx, who)
	switch {
	case err == nil:
		return known, nil
	case errors.Is(err, auth.ErrStranger) && what != toDecide, errors.Is(err, auth.ErrDirectory) && what == toCommand:
		return who, nil
	case errors.Is(err, auth.ErrDirectory):
		return who, &Error{Kind: ErrNoAnswer, Detail: err.Error(), cause: err}
	}
	return who, &Error{Kind: ErrNotAllowed, Detail: err.Error(), cause: err}
}

// purpose is what somebody's identity is needed for.
type purpose int

const (
	toStart purpose = iota
	toDecide
	toCommand
)

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

// record hands a refusal to the journal, if nobody else writes it down. What a
// release refuses stands in its own papers; a lane has none.
func (d *Desk) record(what string, who auth.Identity, about string, err error) {
	refused, ok := errors.AsType[*Error](err)
	if !ok || refused.Type != "" && !strings.HasPrefix(about, "lane/") {
		return
	}
	if !slices.Contains([]error{ErrNotAllowed, ErrStepUp, ErrConflict, ErrEnded, ErrReplayed}, refused.Kind) {
		return
	}
	d.Refuse(Refusal{What: what, Channel: who.Authn.Channel, Reasons: []string{refused.Detail}, Subject: &who.Subject, About: about})
}
