package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// maxMessage bounds the body of an approval or command, in bytes.
const maxMessage = 16 << 10

// Idempotency is the part of a call that tells a repetition from a new message.
// It is exported for huma alone, which fills no embedded struct that isn't.
type Idempotency struct {
	Key string `header:"Idempotency-Key" maxLength:"255" doc:"Chosen by the caller: the same call with the same key is counted once, and answered as the first was"`
}

// nonce makes the nonce of a message out of the caller's key, and tells whether
// there is one. Only the same caller's same message gets the same nonce.
func (i Idempotency) nonce(who auth.Identity, about string, body any) (string, bool, error) {
	if i.Key == "" {
		return "", false, nil
	}
	raw, err := json.Marshal([]any{who.Subject.Key(), about, i.Key, body})
	if err != nil {
		return "", false, err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), true, nil
}

type approvalInput struct {
	ReleasePath
	Idempotency
	Body wire.Decision
}

type commandInput struct {
	ReleasePath
	Idempotency
	Body wire.Command
}

type laneCommandInput struct {
	LanePath
	Idempotency
	Body wire.LaneCommand
}

type receiptOutput struct{ Body signals.Receipt }

func (s *server) registerMessages(api huma.API) {
	faults := []int{401, 403, 404, 409, 422, 429, 503}
	huma.Register(api, huma.Operation{
		OperationID: "decide", Method: http.MethodPost, Path: "/v1/releases/{release}/approvals", Security: secured,
		Summary: "Approve or deny a release, or take one's approval back",
		Description: "Signs the caller's decision on exactly the plan named by planDigest and hands it to the release, which judges it. " +
			"With command it decides on an operator's command that waits for somebody's approval. " +
			"A 403 of type " + wire.StepUpProblem + " asks for the decision to be made on the page that its instance names.",
		MaxBodyBytes: maxMessage, Errors: faults,
	}, s.decide)
	huma.Register(api, huma.Operation{
		OperationID: "command", Method: http.MethodPost, Path: "/v1/releases/{release}/commands", Security: secured,
		Summary:      "Command a running release",
		Description:  "A command that needs somebody else's approval is answered with the id under which it waits.",
		MaxBodyBytes: maxMessage, Errors: faults,
	}, s.command)
	huma.Register(api, huma.Operation{
		OperationID: "command-lane", Method: http.MethodPost, Path: "/v1/lanes/{environment}/{service}/commands", Security: secured,
		Summary:      "Freeze or unfreeze a lane, or close a review that is due there",
		MaxBodyBytes: maxMessage, Errors: faults,
	}, s.commandLane)
}

func (s *server) decide(ctx context.Context, in *approvalInput) (*receiptOutput, error) {
	who := identity(ctx)
	nonce, again, err := in.nonce(who, "decide "+in.Release, in.Body)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Desk.Decide(ctx, who, desk.Decision{
		Release: in.Release, PlanDigest: in.Body.PlanDigest, Decision: in.Body.Decision, Reason: in.Body.Reason,
		Command: in.Body.Command, Nonce: nonce, Again: again,
	})
	if err != nil {
		return nil, s.problemWith(err, in.Release)
	}
	return &receiptOutput{Body: receipt}, nil
}

func (s *server) command(ctx context.Context, in *commandInput) (*receiptOutput, error) {
	who := identity(ctx)
	nonce, again, err := in.nonce(who, "command "+in.Release, in.Body)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Desk.Command(ctx, who, desk.Command{
		Release: in.Release, Command: in.Body.Command, By: in.Body.By, Reason: in.Body.Reason, Nonce: nonce, Again: again,
	})
	if err != nil {
		return nil, s.problemWith(err, in.Release)
	}
	return &receiptOutput{Body: receipt}, nil
}

func (s *server) commandLane(ctx context.Context, in *laneCommandInput) (*receiptOutput, error) {
	who := identity(ctx)
	nonce, again, err := in.nonce(who, "lane "+in.Environment+"/"+in.Service, in.Body)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Desk.LaneCommand(ctx, who, desk.LaneCommand{
		Environment: in.Environment, Service: in.Service, Command: in.Body.Command, Until: in.Body.Until,
		Reviewed: in.Body.Reviewed, Reason: in.Body.Reason, Nonce: nonce, Again: again,
	})
	if err != nil {
		return nil, problem(err)
	}
	return &receiptOutput{Body: receipt}, nil
}
