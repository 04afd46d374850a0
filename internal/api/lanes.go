package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/api/serviceerror"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

type laneInput struct {
	Environment string `path:"environment"`
	Service     string `path:"service"`
}

type laneOutput struct{ Body signals.LaneStatus }

type loginOutput struct{ Body wire.Login }

type whoamiOutput struct{ Body wire.Whoami }

func (s *server) registerLanes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-lane", Method: http.MethodGet, Path: "/v1/lanes/{environment}/{service}", Security: secured,
		Summary: "Who holds a lane, who waits, and what it goes back to", Errors: []int{401, 404, 422, 503},
	}, s.lane)
}

func (s *server) lane(ctx context.Context, in *laneInput) (*laneOutput, error) {
	for field, value := range map[string]string{"environment": in.Environment, "service": in.Service} {
		if !signals.ValidName(value) {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("%s %q: want a catalog name (lower case letters, digits, dashes)", field, value))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.Temporal.QueryWorkflow(ctx, signals.LaneID(in.Environment, in.Service), "", signals.StatusQuery)
	if is[*serviceerror.NotFound](err) {
		return nil, huma.Error404NotFound(fmt.Sprintf("nothing was ever released to %s of %s: there is no such lane", in.Environment, in.Service))
	}
	if err != nil {
		return nil, problem(err, "status of the lane")
	}
	out := &laneOutput{}
	if err := answer.Get(&out.Body); err != nil {
		return nil, huma.Error500InternalServerError("status of the lane can't be read: " + err.Error())
	}
	return out, nil
}

// registerIdentity adds how to log in, which anybody may ask, and who one is.
func (s *server) registerIdentity(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-auth-config", Method: http.MethodGet, Path: "/v1/auth-config",
		Summary: "How to get a token",
	}, func(context.Context, *struct{}) (*loginOutput, error) { return &loginOutput{Body: s.Login}, nil })
	huma.Register(api, huma.Operation{
		OperationID: "whoami", Method: http.MethodGet, Path: "/v1/whoami", Security: secured,
		Summary: "Who the gateway takes the caller for", Errors: []int{401},
	}, func(ctx context.Context, _ *struct{}) (*whoamiOutput, error) {
		id := identity(ctx)
		return &whoamiOutput{Body: wire.Whoami{Subject: id.Subject, Authn: id.Authn}}, nil
	})
}
