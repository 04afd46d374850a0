package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// Temporal is what the gateway itself needs of a Temporal client.
type Temporal interface {
	CheckHealth(ctx context.Context, request *client.CheckHealthRequest) (*client.CheckHealthResponse, error)
}

// Tokens verifies bearer tokens.
type Tokens interface {
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// Options is what a gateway is made of.
type Options struct {
	Desk      *desk.Desk
	Temporal  Temporal
	Tokens    Tokens
	Login     wire.Login // told to clients that want to log in
	PublicURL string     // of the page where decisions are made
	Docs      bool       // serve a page for trying out the API at /docs
	Version   string
	Rates     Rates
	// Proxies are the networks of the reverse proxies in front of the gateway,
	// whose word on whom they speak for is taken.
	Proxies []netip.Prefix
	// Others are served beside the API, by their path's first part: "/slack/",
	// "/decide/".
	Others  map[string]Other
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Other is a handler beside the API. One that is unlimited has callers that are
// many people at one address, and authenticates each call by itself.
type Other struct {
	http.Handler
	Unlimited bool
}

// maxBody bounds every body, in bytes; operations have smaller bounds.
const maxBody = 1 << 20

// readyTimeout bounds the question whether Temporal can be reached.
const readyTimeout = 5 * time.Second

type server struct {
	Options
	perSubject, perAddress *limiter
}

// New builds the gateway's handler: the API under /v1, its description at
// /openapi.json, /healthz and /readyz for the platform, and what else is served
// beside them.
func New(o Options) http.Handler {
	s := &server{Options: o, perSubject: newLimiter(o.Rates.Subject), perAddress: newLimiter(o.Rates.Address)}
	mux := http.NewServeMux()
	api := humago.New(mux, describe(o))
	api.UseMiddleware(s.authenticate(api))
	s.registerReleases(api)
	s.registerMessages(api)
	s.registerLanes(api)
	s.registerIdentity(api)
	outer := http.NewServeMux()
	outer.Handle("/", s.limitAddress(mux))
	for path, other := range o.Others {
		handler := named(path, other.Handler)
		if !other.Unlimited {
			handler = s.limitAddress(handler)
		}
		outer.Handle(path, handler)
	}
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	outer.HandleFunc("GET /readyz", s.ready)
	return s.observe(http.MaxBytesHandler(outer, maxBody))
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
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if _, err := s.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		http.Error(w, "Temporal can't be reached: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
