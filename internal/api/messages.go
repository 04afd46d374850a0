package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// messageValidity is how long a signed approval or command may take to arrive.
const messageValidity = 15 * time.Minute

// maxMessage bounds the body of an approval or command, in bytes.
const maxMessage = 16 << 10

type approvalInput struct {
	ReleasePath
	Body wire.Decision
}

type commandInput struct {
	ReleasePath
	Body wire.Command
}

type receiptOutput struct{ Body signals.Receipt }

func (s *server) registerMessages(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "decide", Method: http.MethodPost, Path: "/v1/releases/{release}/approvals", Security: secured,
		Summary:      "Approve or deny a release",
		Description:  "Signs the caller's decision on exactly the plan named by planDigest and hands it to the release, which judges it.",
		MaxBodyBytes: maxMessage, Errors: []int{401, 403, 404, 409, 422, 503},
	}, s.decide)
	huma.Register(api, huma.Operation{
		OperationID: "command", Method: http.MethodPost, Path: "/v1/releases/{release}/commands", Security: secured,
		Summary:      "Command a running release",
		MaxBodyBytes: maxMessage, Errors: []int{401, 403, 404, 409, 422, 503},
	}, s.command)
}

func (s *server) decide(ctx context.Context, in *approvalInput) (*receiptOutput, error) {
	_, status, err := s.running(ctx, in.Release)
	if err != nil {
		return nil, err
	}
	switch status.PlanDigest {
	case in.Body.PlanDigest:
	case "":
		return nil, huma.Error409Conflict(fmt.Sprintf("release %s has no plan yet that could be decided on; it is in phase %q", in.Release, status.Phase))
	default:
		return nil, huma.Error409Conflict(fmt.Sprintf("the plan of release %s is %s, not the %s that was read; read it again with: waybill status %s",
			in.Release, status.PlanDigest, in.Body.PlanDigest, in.Release))
	}
	who := identity(ctx)
	binding := s.bind(status)
	return s.send(ctx, signals.ApprovalMessage, signals.ApprovalPayload, binding, signals.ApprovalStatement{
		Binding: binding, Decision: in.Body.Decision, Reason: in.Body.Reason, Approver: who.Subject, Authn: who.Authn,
	})
}

func (s *server) command(ctx context.Context, in *commandInput) (*receiptOutput, error) {
	info, status, err := s.running(ctx, in.Release)
	if err != nil {
		return nil, err
	}
	who := identity(ctx)
	if !mayCommand(who.Subject, requesterOf(info), s.Operators) {
		return nil, huma.Error403Forbidden(fmt.Sprintf(
			"%s may not %s release %s; its requester may, and members of %v", who.Subject.Display(), in.Body.Command, in.Release, s.Operators))
	}
	binding := s.bind(status)
	return s.send(ctx, signals.CommandMessage, signals.CommandPayload, binding, signals.CommandStatement{
		Binding: binding, Command: in.Body.Command, Reason: in.Body.Reason, Operator: who.Subject, Authn: who.Authn,
	})
}

// mayCommand decides who may command a release: whoever asked for it, and
// operators.
func mayCommand(who signals.Subject, requester string, operators []string) bool {
	return who.Key() == requester || slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(operators, g) })
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
func (s *server) running(ctx context.Context, release string) (*workflowservice.DescribeWorkflowExecutionResponse, wire.Release, error) {
	info, err := s.find(ctx, release)
	if err != nil {
		return nil, wire.Release{}, err
	}
	status, err := s.status(ctx, info)
	if err != nil {
		return nil, status, err
	}
	if status.Execution.State != wire.Running {
		how := string(status.Execution.State)
		if status.Outcome != nil {
			how = string(status.Outcome.Kind)
		}
		return nil, status, huma.Error409Conflict(fmt.Sprintf("release %s has ended (%s); nothing can be sent to it any more", release, how))
	}
	return info, status, nil
}

// bind ties a statement to this run and plan, and to one use soon.
func (s *server) bind(status wire.Release) signals.Binding {
	now := s.Now().UTC()
	return signals.Binding{
		Release: status.Release, Run: status.Run, PlanDigest: status.PlanDigest,
		Nonce: auth.Nonce(), IssuedAt: now, ExpiresAt: now.Add(messageValidity),
	}
}

// send signs a statement, delivers it as an update and waits for the answer.
func (s *server) send(ctx context.Context, name, payloadType string, b signals.Binding, statement any) (*receiptOutput, error) {
	envelope, err := s.Signer.Sign(payloadType, statement)
	if err != nil {
		return nil, huma.Error500InternalServerError(err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	what := fmt.Sprintf("%s to release %s (it may still arrive; see: waybill status %s)", name, b.Release, b.Release)
	handle, err := s.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: b.Nonce, WorkflowID: b.Release, UpdateName: name,
		Args: []any{signals.Message{Envelope: envelope}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return nil, problem(err, what)
	}
	var receipt signals.Receipt
	if err := handle.Get(ctx, &receipt); err != nil {
		return nil, problem(err, what)
	}
	if !receipt.Accepted {
		return nil, huma.Error409Conflict(receipt.Message)
	}
	return &receiptOutput{Body: receipt}, nil
}
