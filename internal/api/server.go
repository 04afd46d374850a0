package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// Temporal is what the gateway needs of a Temporal client.
type Temporal interface {
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
	GetWorkflow(ctx context.Context, id, run string) client.WorkflowRun
	DescribeWorkflowExecution(ctx context.Context, id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
	QueryWorkflow(ctx context.Context, id, run, query string, args ...any) (converter.EncodedValue, error)
	UpdateWorkflow(ctx context.Context, options client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
	ListWorkflow(ctx context.Context, request *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	CheckHealth(ctx context.Context, request *client.CheckHealthRequest) (*client.CheckHealthResponse, error)
}

// Tokens verifies bearer tokens.
type Tokens interface {
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// Signer signs statements as DSSE envelopes.
type Signer interface {
	Sign(payloadType string, payload any) (signals.Envelope, error)
}

// Options is what a gateway is made of.
type Options struct {
	Temporal  Temporal
	Namespace string // of Temporal, for lists
	Tokens    Tokens
	Signer    Signer
	Login     wire.Login // told to clients that want to log in
	Operators []string   // groups whose members may command any release
	Docs      bool       // serve a page for trying out the API at /docs
	Version   string
	Now       func() time.Time
	Log       *slog.Logger
	Metrics   prometheus.Registerer
}

// Bounds of the calls to Temporal. A query waits for a worker; an answer that
// takes longer than a person would wait is no answer.
const (
	callTimeout   = 5 * time.Second
	updateTimeout = 10 * time.Second
	maxWait       = time.Minute
)

type server struct{ Options }

// New builds the gateway's handler: the API under /v1, its description at
// /openapi.json, and /healthz and /readyz for the platform.
func New(o Options) http.Handler {
	s := &server{o}
	mux := http.NewServeMux()
	api := humago.New(mux, describe(o))
	api.UseMiddleware(s.authenticate(api))
	s.registerReleases(api)
	s.registerMessages(api)
	s.registerLanes(api)
	s.registerIdentity(api)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", s.ready)
	return s.observe(mux)
}

// describe is the API's description and how Go types appear in it.
func describe(o Options) huma.Config {
	config := huma.DefaultConfig("Waybill", o.Version)
	config.Info.Description = "Starts releases, tells where they stand, and takes approvals and commands."
	// The hook would add a "$schema" field to every answer.
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	if !o.Docs {
		config.DocsPath = ""
	}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearer: {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
	}
	types := config.Components.Schemas
	types.RegisterTypeAlias(reflect.TypeFor[signals.Duration](), reflect.TypeFor[string]())
	types.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]())
	return config
}

// ready answers whether the gateway can do its work, which is to reach Temporal.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if _, err := s.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		http.Error(w, "Temporal can't be reached: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
