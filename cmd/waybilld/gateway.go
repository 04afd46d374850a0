package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
)

// runGateway serves the API until ctx ends. It comes up without Temporal and
// without the issuers, and answers 503 until they can be reached.
func runGateway(ctx context.Context, c Config, log *slog.Logger) error {
	metrics := newMetrics()
	signer, err := auth.LoadSigner(c.Gateway.KeyID, c.Gateway.Key)
	if err != nil {
		return err
	}
	tokens, err := auth.NewVerifier(issuers(c.Gateway.Issuers), time.Now)
	if err != nil {
		return err
	}
	temporal, err := newTemporal(c.Temporal, string(RoleGateway), metrics, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	handler := api.New(api.Options{
		Temporal: temporal, Namespace: c.Temporal.Namespace, Tokens: tokens, Signer: signer,
		Login: loginAt(c.Gateway.Issuers), Operators: c.Gateway.Operators, Docs: c.Gateway.Docs,
		Version: version(), Now: time.Now, Log: log, Metrics: metrics,
	})
	group, ctx := errgroup.WithContext(ctx)
	ready := func(ctx context.Context) error { return reachable(ctx, temporal) }
	group.Go(func() error { return serve(ctx, "metrics", c.Listen, operations(metrics, ready), log) })
	group.Go(func() error { return serve(ctx, "gateway", c.Gateway.Listen, handler, log) })
	return group.Wait()
}

func issuers(list []IssuerConfig) []auth.Issuer {
	var out []auth.Issuer
	for _, i := range list {
		out = append(out, auth.Issuer{URL: i.URL, Audience: i.Audience, GroupsClaim: i.GroupsClaim})
	}
	return out
}

func loginAt(list []IssuerConfig) wire.Login {
	out := wire.Login{Issuers: []wire.LoginIssuer{}}
	for _, i := range list {
		out.Issuers = append(out.Issuers, wire.LoginIssuer{URL: i.URL, Audience: i.Audience, ClientID: i.ClientID, Scopes: i.Scopes})
	}
	return out
}
