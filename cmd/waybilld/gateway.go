package main

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/internal/directory"
)

// drainTimeout is how long refusals may take to reach the journal on a stop.
const drainTimeout = 3 * time.Second

// runGateway serves the API until ctx ends. It comes up without Temporal and
// without the issuers, and answers 503 until they can be reached.
func runGateway(ctx context.Context, c Config, log *slog.Logger) error {
	metrics := newMetrics()
	signer, err := auth.LoadSigners(keyFiles(c.Gateway.Keys))
	if err != nil {
		return err
	}
	tokens, err := auth.NewVerifier(issuers(c.Gateway.Issuers), time.Now)
	if err != nil {
		return err
	}
	people, err := newDirectory(c.Directory)
	if err != nil {
		return err
	}
	temporal, err := newTemporal(c.Temporal, string(RoleGateway), metrics, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	options := desk.Options{
		Temporal: temporal, Namespace: c.Temporal.Namespace, Signer: signer, Operators: c.Gateway.Operators,
		Now: time.Now, Log: log, Metrics: metrics,
	}
	if people != nil {
		options.Enrich = auth.Enrich(people)
	}
	counter := desk.New(options)
	defer drain(ctx, counter, log)
	others, err := newChannels(c, counter, people, log)
	if err != nil {
		return err
	}
	handler := api.New(api.Options{
		Desk: counter, Temporal: temporal, Tokens: tokens, Login: loginAt(c.Gateway.Issuers), PublicURL: c.Gateway.PublicURL,
		Docs: c.Gateway.Docs, Version: version(), Rates: rates(c.Gateway.Rate), Proxies: networks(c.Gateway.Proxies),
		Others: others.handlers,
		Now:    time.Now, Log: log, Metrics: metrics,
	})
	group, ctx := errgroup.WithContext(ctx)
	ready := func(ctx context.Context) error { return reachable(ctx, temporal) }
	group.Go(func() error { return serve(ctx, "metrics", c.Listen, operations(metrics, ready), log) })
	group.Go(func() error { return serve(ctx, "gateway", c.Gateway.Listen, handler, log) })
	for _, run := range others.run {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// drain hands over the refusals that are still held, once nobody is served any
// more.
func drain(ctx context.Context, counter *desk.Desk, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := counter.Close(ctx); err != nil {
		log.Error("refusals could not be handed to the journal; they stand in this log alone", "error", err)
	}
}

// newDirectory is nil if none is configured.
func newDirectory(c DirectoryConfig) (*directory.Directory, error) {
	if c.URL == "" {
		return nil, nil //nolint:nilnil // without a directory there is nobody to ask, which is no error
	}
	return directory.New(directory.Config{URL: c.URL, Token: c.Token, Issuer: c.Issuer, Subject: c.Subject, Fresh: c.Cache.D(), Now: time.Now})
}

func keyFiles(list []SigningKeyConfig) []auth.KeyFile {
	files := make([]auth.KeyFile, 0, len(list))
	for _, k := range list {
		files = append(files, auth.KeyFile{ID: k.ID, Path: k.Key})
	}
	return files
}

func issuers(list []IssuerConfig) []auth.Issuer {
	var out []auth.Issuer
	for _, i := range list {
		out = append(out, issuer(i))
	}
	return out
}

func issuer(i IssuerConfig) auth.Issuer {
	return auth.Issuer{URL: i.URL, Audience: i.Audience, GroupsClaim: i.GroupsClaim, Groups: i.Groups, Claims: auth.Claims{
		Subject: i.Claims.Subject, Name: i.Claims.Name, Email: i.Claims.Email, Groups: i.Claims.Groups, Require: i.Claims.Require,
	}}
}

func loginAt(list []IssuerConfig) wire.Login {
	out := wire.Login{Issuers: []wire.LoginIssuer{}}
	for _, i := range list {
		out.Issuers = append(out.Issuers, wire.LoginIssuer{URL: i.URL, Audience: i.Audience, ClientID: i.ClientID, Scopes: i.Scopes})
	}
	return out
}

func rates(c RatesConfig) api.Rates {
	return api.Rates{Subject: api.Rate(c.Subject), Address: api.Rate(c.Address)}
}

// networks parses what the configuration's check has found to be good.
func networks(list []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}
