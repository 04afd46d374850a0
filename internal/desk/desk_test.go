package desk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

func TestMain(m *testing.M) {
	code := m.Run()
	apitest.StopTemporal()
	os.Exit(code)
}

var (
	ci     = person("ci", "ci")
	lead   = person("release-lead", apitest.Approvers)
	onCall = person("on-call", apitest.Operators)
)

func person(id string, groups ...string) auth.Identity {
	return auth.Identity{
		Subject: signals.Subject{Issuer: "https://issuer.example", ID: id, Groups: groups},
		Authn:   signals.Authentication{Method: "slack", Channel: "slack"},
	}
}

func start(t *testing.T, d *desk.Desk) string {
	t.Helper()
	started, err := d.Start(t.Context(), ci, signals.Request{
		Service: "payments-api", Environment: "prod", Image: "registry.example/payments-api:v2", Commit: "4f1c0d2e3b4a59687766554433221100ffeeddcc", Reason: "wait",
	}, "")
	require.NoError(t, err)
	return started.Release
}

// withdraw is a decision that the test's release counts and waits on after.
func withdraw(release, nonce string) desk.Decision {
	return desk.Decision{Release: release, PlanDigest: apitest.PlanDigest, Decision: signals.Withdraw, Reason: "read it", Nonce: nonce}
}

func counted(t *testing.T, d *desk.Desk, release string) int {
	t.Helper()
	status, err := d.Release(t.Context(), release)
	require.NoError(t, err)
	return len(status.Approval.Given)
}

func TestOneClickIsOneDecision(t *testing.T) {
	g := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1:1", Keys: []auth.SigningKey{apitest.NewKey(t, "gateway-1")}})
	release := start(t, g.Desk)
	click := withdraw(release, auth.Nonce())

	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			again := click
			again.Again = true
			_, err := g.Desk.Decide(t.Context(), lead, again)
			assert.NoError(t, err, "each delivery of the click gets the first one's answer")
		})
	}
	all.Wait()
	assert.Equal(t, 1, counted(t, g.Desk, release))

	_, err := g.Desk.Decide(t.Context(), lead, click)
	require.ErrorIs(t, err, desk.ErrReplayed, "what isn't marked as a retry is a replay, and the release says so")
	refused, err := g.Desk.Decide(t.Context(), lead, withdraw(release, ""))
	require.NoError(t, err, "another click counts")
	assert.True(t, refused.Accepted)
	assert.Equal(t, 2, counted(t, g.Desk, release))
}

func TestAClickOutlivesTheGatewayThatTookIt(t *testing.T) {
	key := apitest.NewKey(t, "gateway-1")
	g := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1:1", Keys: []auth.SigningKey{key}})
	release := start(t, g.Desk)
	click := withdraw(release, auth.Nonce())
	_, err := g.Desk.Decide(t.Context(), lead, click)
	require.NoError(t, err)

	signer, err := auth.NewSigners([]auth.SigningKey{key})
	require.NoError(t, err)
	next := desk.New(desk.Options{
		Temporal: g.Temporal, Signer: signer, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	t.Cleanup(func() { _ = next.Close(context.Background()) })
	for range 3 {
		// The new gateway has never seen the nonce, so the first delivery gets the
		// stored answer; after that it knows.
		_, err = next.Decide(t.Context(), lead, click)
	}
	require.ErrorIs(t, err, desk.ErrReplayed)
	assert.Equal(t, 1, counted(t, next, release))
}

func TestNothingIsPromisedBeforeTheReleaseHasAnswered(t *testing.T) {
	g := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1:1"})
	release := start(t, g.Desk)
	require.Equal(t, 0, counted(t, g.Desk, release))
	g.StopWorker()
	click := withdraw(release, auth.Nonce())
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := g.Desk.Decide(ctx, lead, click)
	require.ErrorIs(t, err, desk.ErrNoAnswer)
	assert.NotEmpty(t, desk.Explain(err))

	g.StartWorker(t)
	require.Eventually(t, func() bool {
		_, err = g.Desk.Decide(t.Context(), lead, click)
		return err == nil
	}, time.Minute, 100*time.Millisecond, "trying again is safe")
	assert.Equal(t, 1, counted(t, g.Desk, release))
}

func TestErrorsTellWhatToDo(t *testing.T) {
	g := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1:1"})
	release := start(t, g.Desk)
	for name, tc := range map[string]struct {
		try  func() error
		kind error
		says string
	}{
		"no such release": {func() error { _, err := g.Desk.Release(t.Context(), "nothing"); return err }, desk.ErrNotFound, "waybill list"},
		"no id":           {func() error { _, err := g.Desk.Release(t.Context(), "lane/prod/x"); return err }, desk.ErrNotFound, "no release"},
		"no such lane":    {func() error { _, err := g.Desk.Lane(t.Context(), "prod", "nothing"); return err }, desk.ErrNotFound, "no such lane"},
		"no lane's name":  {func() error { _, err := g.Desk.Lane(t.Context(), "prod", "../x"); return err }, desk.ErrInvalid, "names of the catalog"},
		"no command": {func() error {
			_, err := g.Desk.Command(t.Context(), onCall, desk.Command{Release: release, Command: "explode", Reason: "x"})
			return err
		}, desk.ErrInvalid, "not known"},
		"no operator": {func() error {
			_, err := g.Desk.Command(t.Context(), lead, desk.Command{Release: release, Command: signals.Pause, Reason: "x"})
			return err
		}, desk.ErrNotAllowed, apitest.Operators},
		"not in the group": {func() error { _, err := g.Desk.Decide(t.Context(), onCall, withdraw(release, "")); return err }, desk.ErrNotAllowed, "not in " + apitest.Approvers},
		"page too long":    {func() error { _, _, err := g.Desk.List(t.Context(), desk.Filter{Limit: 1000}); return err }, desk.ErrInvalid, "1 to 200"},
		"smuggled filter": {func() error {
			_, _, err := g.Desk.List(t.Context(), desk.Filter{Limit: 1, Phase: "x' OR '1'='1"})
			return err
		}, desk.ErrInvalid, "lower case"},
	} {
		err := tc.try()
		require.ErrorIs(t, err, tc.kind, name)
		assert.Contains(t, desk.Explain(err), tc.says, name)
	}
	_, err := g.Desk.Command(t.Context(), onCall, desk.Command{Release: release, Command: signals.Abort, Reason: "x"})
	require.NoError(t, err)
	_, err = g.Desk.Outcome(t.Context(), release, 20*time.Second)
	require.NoError(t, err)
	status, err := g.Desk.Release(t.Context(), release)
	require.ErrorIs(t, err, desk.ErrEnded)
	assert.Equal(t, signals.Aborted, status.Outcome.Kind, "what is known is told all the same")
}

func TestTheDirectoryIsAskedAsFarAsItMatters(t *testing.T) {
	g := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1:1", Keys: []auth.SigningKey{apitest.NewKey(t, "gateway-1")}})
	known := person("release-lead", apitest.Approvers, apitest.Operators)
	known.Authn.Method = "oidc"
	for name, tc := range map[string]struct {
		says                   error
		start, decide, command error
	}{
		"deactivated":  {auth.ErrInactive, desk.ErrNotAllowed, desk.ErrNotAllowed, desk.ErrNotAllowed},
		"not in it":    {auth.ErrStranger, desk.ErrNotFound, desk.ErrNotAllowed, desk.ErrNotFound},
		"out of reach": {auth.ErrDirectory, desk.ErrNoAnswer, desk.ErrNoAnswer, desk.ErrNotFound},
		"fine":         {nil, desk.ErrNotFound, desk.ErrNotFound, desk.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			d := desk.New(desk.Options{
				Temporal: g.Temporal, Signer: signerThatMustNot{}, Operators: []string{apitest.Operators}, Now: time.Now,
				Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
				Enrich: func(_ context.Context, id auth.Identity) (auth.Identity, error) {
					if tc.says != nil {
						return id, fmt.Errorf("%w: as the test says", tc.says)
					}
					return id, nil
				},
			})
			_, err := d.Decide(t.Context(), known, withdraw("nothing", ""))
			require.ErrorIs(t, err, tc.decide, "what goes on, goes on to a release that isn't there")
			_, err = d.Command(t.Context(), known, desk.Command{Release: "nothing", Command: signals.Abort, Reason: "x"})
			require.ErrorIs(t, err, tc.command)
			_, err = d.Start(t.Context(), known, signals.Request{}, "a/b")
			if errors.Is(tc.start, desk.ErrNotFound) {
				tc.start = desk.ErrInvalid
			}
			require.ErrorIs(t, err, tc.start)
		})
	}
}

type signerThatMustNot struct{}

func (signerThatMustNot) Sign(payloadType string, _ any) (signals.Envelope, error) {
	if payloadType == signals.RefusalPayload {
		return signals.Envelope{PayloadType: payloadType}, nil
	}
	return signals.Envelope{}, fmt.Errorf("%s was to be signed", payloadType)
}
