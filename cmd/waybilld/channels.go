package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/decide"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/internal/directory"
	"github.com/waybill-dev/waybill/internal/slackapp"
)

// channels are the ways besides the API by which people decide: handlers by path,
// and what runs beside them.
type channels struct {
	handlers map[string]api.Other
	run      []func(context.Context) error
}

func newChannels(c Config, counter *desk.Desk, people *directory.Directory, log *slog.Logger) (channels, error) {
	out := channels{handlers: map[string]api.Other{}}
	if c.Gateway.Login != nil {
		page, err := newPage(c.Gateway, counter, log)
		if err != nil {
			return out, err
		}
		out.handlers["/decide/"] = api.Other{Handler: page}
		out.handlers[decide.Callback] = api.Other{Handler: page}
	}
	if c.Gateway.Slack != nil {
		app, err := newSlackApp(c.Gateway, counter, people, log)
		if err != nil {
			return out, err
		}
		if c.Gateway.Slack.Mode == slackSocket {
			out.run = append(out.run, app.Run)
		} else {
			// All of Slack's members come from a few addresses; what isn't signed by
			// Slack is refused before anything is done for it.
			out.handlers["/slack/"] = api.Other{Handler: app, Unlimited: true}
		}
	}
	return out, nil
}

// newPage is the page for decisions after a fresh login. Its sessions are sealed
// with what the signing keys are secret by, so that all gateways which serve one
// URL read each other's.
func newPage(g GatewayConfig, counter *desk.Desk, log *slog.Logger) (http.Handler, error) {
	secret, err := readSecret("gateway.login.clientSecret", g.Login.ClientSecret)
	if err != nil {
		return nil, err
	}
	at, _ := g.issuer(g.Login.Issuer)
	login, err := auth.NewWebLogin(auth.WebConfig{
		Issuer: issuer(at), ClientID: g.Login.ClientID, ClientSecret: secret,
		RedirectURL: g.PublicURL + decide.Callback, Scopes: g.Login.Scopes,
	}, time.Now)
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	for _, k := range g.Keys {
		raw, err := os.ReadFile(k.Key)
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		secrets = append(secrets, raw)
	}
	return decide.New(decide.Options{
		Desk: counter, Login: login, PublicURL: g.PublicURL, ACR: g.Login.ACR, MaxAge: g.Login.MaxAge.D(),
		Secrets: secrets, Now: time.Now, Log: log,
	})
}

func newSlackApp(g GatewayConfig, counter *desk.Desk, people *directory.Directory, log *slog.Logger) (*slackapp.App, error) {
	o := slackapp.AppOptions{
		APIURL: g.Slack.APIURL, Teams: g.Slack.Teams, App: g.Slack.App, Gateway: g.PublicURL,
		Desk: counter, Directory: people, Now: time.Now, Log: log,
	}
	var err, proof error
	o.Token, err = readSecret("gateway.slack.botToken", g.Slack.BotToken)
	if g.Slack.Mode == slackSocket {
		o.AppToken, proof = readSecret("gateway.slack.appToken", g.Slack.AppToken)
	} else {
		o.SigningSecret, proof = readSecret("gateway.slack.signingSecret", g.Slack.SigningSecret)
	}
	if err := errors.Join(err, proof); err != nil {
		return nil, err
	}
	return slackapp.NewApp(o)
}

// readSecret reads a secret from the file that a field names.
func readSecret(field, path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	secret := string(bytes.TrimSpace(raw))
	if secret == "" {
		return "", fmt.Errorf("%s: %s is empty", field, path)
	}
	return secret, nil
}
