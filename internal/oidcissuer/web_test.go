package oidcissuer

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

func webClient(issuer *Issuer, secret string) oauth2.Config {
	return oauth2.Config{
		ClientID: WebClientID, ClientSecret: secret, RedirectURL: "http://127.0.0.1:4711" + WebRedirectPath, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: issuer.URL + "/authorize", TokenURL: issuer.URL + "/oauth/token"},
	}
}

// logIn asks for a login with the given parameters and returns where the browser
// is sent back to.
func logIn(t *testing.T, cfg oauth2.Config, verifier string, who Credentials, params ...oauth2.AuthCodeOption) (*url.URL, error) {
	t.Helper()
	return Authorize(t.Context(), cfg.AuthCodeURL("state", append(params, oauth2.S256ChallengeOption(verifier))...), who)
}

func TestAWebLoginSaysHowAndWhenItWas(t *testing.T) {
	issuer := start(t, Config{})
	cfg := webClient(issuer, issuer.Secrets().Web)
	code, err := issuer.Code("risk-officer")
	require.NoError(t, err)
	provider, err := oidc.NewProvider(t.Context(), issuer.URL)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		values string
		code   string
		acr    string
		amr    []string
	}{
		"password":             {"", "", ACRPassword, []string{"pwd"}},
		"password was enough":  {ACRPassword, code, ACRPassword, []string{"pwd"}},
		"second factor":        {ACRMFA, code, ACRMFA, []string{"pwd", "otp", "mfa"}},
		"second factor at all": {ACRMFA + " " + ACRPassword, code, ACRMFA, []string{"pwd", "otp", "mfa"}},
	} {
		t.Run(name, func(t *testing.T) {
			verifier, begun := oauth2.GenerateVerifier(), time.Now().Truncate(time.Second)
			back, err := logIn(t, cfg, verifier, Credentials{Account: "risk-officer", Password: issuer.Password("risk-officer"), Code: c.code},
				oidc.Nonce("n-1"), oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("acr_values", c.values))
			require.NoError(t, err)
			require.Equal(t, "127.0.0.1:4711", back.Host)
			require.Equal(t, "state", back.Query().Get("state"))
			tokens, err := cfg.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
			raw, _ := tokens.Extra("id_token").(string)
			token, err := provider.VerifierContext(t.Context(), &oidc.Config{ClientID: WebClientID}).Verify(t.Context(), raw)
			require.NoError(t, err)
			var got tokenClaims
			require.NoError(t, token.Claims(&got))
			require.Equal(t, "n-1", token.Nonce)
			require.Equal(t, "risk-officer", got.Subject)
			require.Equal(t, []string{"risk"}, got.Groups)
			require.Equal(t, c.acr, got.ACR)
			require.Equal(t, c.amr, got.AMR)
			require.GreaterOrEqual(t, got.AuthTime, begun.Unix())
			access, err := verify(t, issuer, tokens.AccessToken)
			require.NoError(t, err)
			require.Equal(t, c.acr, access.ACR)
		})
	}
}

func TestAWebLoginIsRefused(t *testing.T) {
	issuer := start(t, Config{})
	good := Credentials{Account: "risk-officer", Password: issuer.Password("risk-officer")}
	mfa := oauth2.SetAuthURLParam("acr_values", ACRMFA)
	other, err := issuer.Code("release-lead")
	require.NoError(t, err)
	stale, err := issuer.Secrets().Code("risk-officer", time.Now().Add(-time.Hour))
	require.NoError(t, err)
	cfg := webClient(issuer, issuer.Secrets().Web)
	for name, code := range map[string]string{"no code": "", "another's code": other, "a stale code": stale} {
		_, err := logIn(t, cfg, oauth2.GenerateVerifier(), Credentials{good.Account, good.Password, code}, mfa)
		require.ErrorContains(t, err, "401", name)
	}

	code := func(cfg oauth2.Config, verifier string) string {
		back, err := logIn(t, cfg, verifier, good)
		require.NoError(t, err)
		return back.Query().Get("code")
	}
	verifier := oauth2.GenerateVerifier()
	wrong := webClient(issuer, "wrong")
	_, err = wrong.Exchange(t.Context(), code(wrong, verifier), oauth2.VerifierOption(verifier))
	require.Error(t, err, "wrong client secret")
	_, err = cfg.Exchange(t.Context(), code(cfg, verifier), oauth2.VerifierOption(oauth2.GenerateVerifier()))
	require.Error(t, err, "another verifier")

	for _, address := range []string{"http://127.0.0.1:4711/elsewhere", "http://gateway.example" + WebRedirectPath, "https://127.0.0.1.example" + WebRedirectPath} {
		elsewhere := cfg
		elsewhere.RedirectURL = address
		answer, err := get(t.Context(), browser(), elsewhere.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, answer.code, address)
	}
}

// An issuer that was made before there were second factors gets them, and keeps
// what it had.
func TestSecretsAreCompletedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"passwords":{"developer":"as before"}}`), 0o600))
	first, err := LoadSecrets(path)
	require.NoError(t, err)
	require.Equal(t, "as before", first.Passwords["developer"])
	for _, account := range Accounts() {
		require.NotEmpty(t, first.Passwords[account.ID], account.ID)
		_, err := first.Code(account.ID, time.Now())
		require.Equal(t, account.Machine, err != nil, account.ID)
	}
	require.NotEqual(t, first.Directory, first.Admin)
	again, err := LoadSecrets(path)
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no half-written file is left")
}
