package apitest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// Gateway is a running gateway in front of a running worker.
type Gateway struct {
	URL      string
	Temporal client.Client
	Desk     *desk.Desk
	// PublicKey is what the gateway's envelopes verify with.
	PublicKey signals.PublicKey
	Metrics   *prometheus.Registry
}

// Operators is the group whose members may command any release.
const Operators = "payments-oncall"

// Options is what a test can choose of a gateway.
type Options struct {
	Issuer   string // whose tokens are accepted, for audience "waybill"
	ClientID string // told to clients that log in
	Log      *slog.Logger
	Rates    api.Rates
	// Keys sign; none means one new key. Pinned are what releases believe from
	// their start on; none means the public halves of Keys.
	Keys   []auth.SigningKey
	Pinned []signals.PublicKey
	// Others makes what is served beside the API, given the desk, the signer and
	// the gateway's own URL.
	Others func(d *desk.Desk, url string) map[string]api.Other
}

// NewKey makes a signing key.
func NewKey(tb testing.TB, id string) auth.SigningKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return auth.SigningKey{ID: id, Key: key}
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
	if len(o.Keys) == 0 {
		o.Keys = []auth.SigningKey{NewKey(tb, "gateway-1")}
	}
	signer, err := auth.NewSigners(o.Keys)
	must(err)
	public, err := signer.PublicKeys()
	must(err)
	if len(o.Pinned) == 0 {
		o.Pinned = public
	}
	tokens, err := auth.NewVerifier([]auth.Issuer{{URL: o.Issuer, Audience: "waybill"}}, time.Now)
	must(err)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// The journal of the test before keeps entries that its keys alone open.
	_ = c.TerminateWorkflow(context.Background(), signals.JournalID, "", "another test begins")
	g := &Gateway{Temporal: c, PublicKey: public[0], Metrics: prometheus.NewRegistry()}
	pin(o.Pinned)
	g.Desk = desk.New(desk.Options{
		Temporal: c, Namespace: "default", Signer: signer, Operators: []string{Operators}, Now: time.Now, Log: o.Log, Metrics: g.Metrics,
	})
	server := httptest.NewUnstartedServer(nil)
	g.URL = "http://" + server.Listener.Addr().String()
	var others map[string]api.Other
	if o.Others != nil {
		others = o.Others(g.Desk, g.URL)
	}
	server.Config.Handler = api.New(api.Options{
		Desk: g.Desk, Temporal: c, Tokens: tokens, PublicURL: g.URL, Rates: o.Rates, Others: others,
		Login: wire.Login{Issuers: []wire.LoginIssuer{{
			URL: o.Issuer, Audience: "waybill", ClientID: o.ClientID, Scopes: []string{"openid", "profile", "email", "groups"},
		}}},
		Version: "test", Now: time.Now, Log: o.Log, Metrics: g.Metrics,
	})
	server.Start()
	tb.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Desk.Close(ctx) // whatever it still holds is of no interest any more
	})
	g.StartWorker(tb)
	return g
}

// Journal is what the gateway has refused so far and handed over.
func (g *Gateway) Journal(ctx context.Context) ([]signals.RefusalStatement, error) {
	answer, err := g.Temporal.QueryWorkflow(ctx, signals.JournalID, "", JournalQuery)
	if err != nil {
		return nil, err
	}
	var entries []signals.RefusalStatement
	err = answer.Get(&entries)
	return entries, err
}
