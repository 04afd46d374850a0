package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// maxWait bounds a long poll.
const maxWait = time.Minute

// ReleasePath is the part of a path that names a release. It is exported for
// huma alone, which fills no embedded struct that isn't.
type ReleasePath struct {
	Release string `path:"release" doc:"The release's id" maxLength:"127"`
}

type startInput struct {
	ID      string `query:"id" doc:"The release's id, chosen by the caller: a second start with the same id is refused, so that a start can be repeated safely. Letters, digits, dot, dash, underscore. A new id is made if absent." maxLength:"127"`
	RawBody []byte `contentType:"application/json"`
}

type startOutput struct {
	Location string `header:"Location"`
	Body     wire.Started
}

type releaseOutput struct{ Body wire.Release }

type outcomeInput struct {
	ReleasePath
	Wait string `query:"wait" default:"0s" doc:"How long to wait for the end, up to 1m, such as 30s"`
}

type outcomeOutput struct{ Body wire.Ended }

type listInput struct {
	Service     string `query:"service"`
	Environment string `query:"environment"`
	Phase       string `query:"phase" enum:"intake,verification,policy,approval,lane,baseline,canary,ramp,promotion,bake,rollback,settled"`
	Outcome     string `query:"outcome" enum:"promoted,rolled-back,rejected,denied,expired,aborted,superseded"`
	Limit       int    `query:"limit" default:"20" minimum:"1" maximum:"200"`
	After       string `query:"after" doc:"\"next\" of the page before"`
}

type listOutput struct{ Body wire.List }

func (s *server) registerReleases(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "start-release", Method: http.MethodPost, Path: "/v1/releases", Security: secured,
		Summary:       "Start a release",
		Description:   "The body is the request itself, the same JSON that `temporal workflow start --input` takes. It is read strictly: unknown fields are refused.",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: signals.MaxRequestBytes, SkipValidateBody: true,
		Errors: []int{400, 401, 409, 422, 429, 503},
	}, s.start)
	// The body is read raw, to be parsed with the same rules as in the
	// workflow; its type has to be told by hand.
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[signals.Request](), true, "")
	api.OpenAPI().Paths["/v1/releases"].Post.RequestBody.Content["application/json"].Schema = schema

	huma.Register(api, huma.Operation{
		OperationID: "list-releases", Method: http.MethodGet, Path: "/v1/releases", Security: secured,
		Summary: "List releases, newest first", Errors: []int{401, 422, 429, 503},
		Description: "Reads Temporal's visibility store, which follows a release by about a second.",
	}, s.list)
	huma.Register(api, huma.Operation{
		OperationID: "get-release", Method: http.MethodGet, Path: "/v1/releases/{release}", Security: secured,
		Summary: "Where a release stands", Errors: []int{401, 404, 429, 503},
	}, s.get)
	huma.Register(api, huma.Operation{
		OperationID: "get-outcome", Method: http.MethodGet, Path: "/v1/releases/{release}/outcome", Security: secured,
		Summary: "Wait for a release's outcome", Errors: []int{401, 404, 429, 503},
	}, s.outcome)
}

func (s *server) start(ctx context.Context, in *startInput) (*startOutput, error) {
	request, err := signals.ParseRequest(in.RawBody)
	if err != nil {
		return nil, invalid(err)
	}
	started, err := s.Desk.Start(ctx, identity(ctx), request, in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &startOutput{Location: "/v1/releases/" + started.Release, Body: started}, nil
}

func (s *server) list(ctx context.Context, in *listInput) (*listOutput, error) {
	rows, next, err := s.Desk.List(ctx, desk.Filter{
		Service: in.Service, Environment: in.Environment, Phase: in.Phase, Outcome: in.Outcome, Limit: in.Limit, After: in.After,
	})
	if err != nil {
		return nil, problem(err)
	}
	return &listOutput{Body: wire.List{Releases: rows, Next: next}}, nil
}

func (s *server) get(ctx context.Context, in *ReleasePath) (*releaseOutput, error) {
	status, err := s.Desk.Get(ctx, in.Release)
	if err != nil {
		return nil, problem(err)
	}
	return &releaseOutput{Body: status}, nil
}

func (s *server) outcome(ctx context.Context, in *outcomeInput) (*outcomeOutput, error) {
	wait, err := time.ParseDuration(in.Wait)
	if err != nil || wait < 0 || wait > maxWait {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("wait %q: want a duration from 0s to %s, such as 30s", in.Wait, maxWait))
	}
	ended, err := s.Desk.Outcome(ctx, in.Release, wait)
	if err != nil {
		return nil, problem(err)
	}
	return &outcomeOutput{Body: ended}, nil
}
