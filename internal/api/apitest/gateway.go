package apitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// Gateway is a running gateway in front of a running worker.
type Gateway struct {
	URL      string
	Temporal client.Client
	// PublicKey is what the gateway's envelopes verify with.
	PublicKey signals.PublicKey
	Metrics   *prometheus.Registry

	worker worker.Worker
}

// Operators is the group whose members may abort any release.
const Operators = "payments-oncall"

// Options is what a test can choose of a gateway.
type Options struct {
	Issuer   string // whose tokens are accepted, for audience "waybill"
	ClientID string // told to clients that log in
	Log      *slog.Logger
}

// Start runs a gateway and a worker until the test ends.
func Start(tb testing.TB, o Options) *Gateway {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	c, err := Temporal()
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	signer, err := auth.NewSigner("gateway-1", key)
	must(err)
	pub, err := signer.PublicKey()
	must(err)
	tokens, err := auth.NewVerifier([]auth.Issuer{{URL: o.Issuer, Audience: "waybill"}}, time.Now)
	must(err)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{Temporal: c, PublicKey: pub, Metrics: prometheus.NewRegistry()}
	handler := api.New(api.Options{
		Temporal: c, Namespace: "default", Tokens: tokens, Signer: signer, Operators: []string{Operators},
		Login: wire.Login{Issuers: []wire.LoginIssuer{{
			URL: o.Issuer, Audience: "waybill", ClientID: o.ClientID, Scopes: []string{"openid", "profile", "email", "groups"},
		}}},
		Version: "test", Now: time.Now, Log: o.Log, Metrics: g.Metrics,
	})
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	g.URL = server.URL
	g.StartWorker(tb)
	tb.Cleanup(g.StopWorker)
	return g
}

// StartWorker lets releases run. Workflows of one test end up on the worker of
// another in the same package only if both run at once, so tests must not be
// parallel.
func (g *Gateway) StartWorker(tb testing.TB) {
	tb.Helper()
	g.worker = worker.New(g.Temporal, signals.ReleaseQueue, worker.Options{})
	register(g.worker, g.PublicKey)
	if err := g.worker.Start(); err != nil {
		tb.Fatal(err)
	}
}

// StopWorker leaves releases without anybody who could answer for them.
func (g *Gateway) StopWorker() {
	if g.worker != nil {
		g.worker.Stop()
		g.worker = nil
	}
}
