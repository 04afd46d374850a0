package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// LanePath is the part of a path that names a lane. It is exported for huma
// alone, which fills no embedded struct that isn't.
type LanePath struct {
	Environment string `path:"environment" maxLength:"63"`
	Service     string `path:"service" maxLength:"63"`
}

type laneOutput struct{ Body signals.LaneStatus }

type loginOutput struct{ Body wire.Login }

type whoamiOutput struct{ Body wire.Whoami }

func (s *server) registerLanes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-lane", Method: http.MethodGet, Path: "/v1/lanes/{environment}/{service}", Security: secured,
		Summary: "Who holds a lane, who waits, what it goes back to, and whether it is frozen", Errors: []int{401, 404, 422, 429, 503},
	}, s.lane)
}

func (s *server) lane(ctx context.Context, in *LanePath) (*laneOutput, error) {
	status, err := s.Desk.Lane(ctx, in.Environment, in.Service)
	if err != nil {
		return nil, problem(err)
	}
	return &laneOutput{Body: status}, nil
}

// registerIdentity adds how to log in, which anybody may ask, and who one is.
func (s *server) registerIdentity(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-auth-config", Method: http.MethodGet, Path: "/v1/auth-config",
		Summary: "How to get a token",
	}, func(context.Context, *struct{}) (*loginOutput, error) { return &loginOutput{Body: s.Login}, nil })
	huma.Register(api, huma.Operation{
		OperationID: "whoami", Method: http.MethodGet, Path: "/v1/whoami", Security: secured,
		Summary: "Who the gateway takes the caller for", Errors: []int{401, 429},
	}, func(ctx context.Context, _ *struct{}) (*whoamiOutput, error) {
		id := identity(ctx)
		return &whoamiOutput{Body: wire.Whoami{Subject: id.Subject, Authn: id.Authn}}, nil
	})
}
