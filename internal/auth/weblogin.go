package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// ErrLogin means that somebody did log in, but not as freshly or not in the way
// that was demanded. Logging in anew helps.
var ErrLogin = errors.New("login not sufficient")

// loginSkew is how far the clocks of the issuer and this machine may be apart.
const loginSkew = 30 * time.Second

// WebConfig is the gateway's own client at an issuer: authorization code with
// PKCE and a secret.
type WebConfig struct {
	Issuer       Issuer // its Audience is not used: ID tokens are for the client
	ClientID     string
	ClientSecret string
	RedirectURL  string
	// Scopes to ask for; openid, profile and email if empty.
	Scopes []string
}

// WebLogin logs people in with a browser.
type WebLogin struct {
	issuer *lazyIssuer
	config WebConfig
	client *http.Client
	now    func() time.Time
}

// LoginRequest is one login under way. State, Nonce and Verifier are secrets of
// the browser's session, made afresh for each login by NewLoginRequest.
type LoginRequest struct {
	State    string
	Nonce    string
	Verifier string
	// ACR lists the kinds of login of which one is demanded; none for any.
	ACR []string
	// MaxAge is how long ago the login may have been when the code is exchanged;
	// zero for any time.
	MaxAge time.Duration
}

// NewLoginRequest draws the secrets of a login of the kind and age demanded.
func NewLoginRequest(acr []string, maxAge time.Duration) LoginRequest {
	return LoginRequest{State: Nonce(), Nonce: Nonce(), Verifier: oauth2.GenerateVerifier(), ACR: acr, MaxAge: maxAge}
}

// NewWebLogin prepares logins at an issuer, which is first asked when somebody
// logs in; now is the clock that tokens and logins are judged by.
func NewWebLogin(config WebConfig, now func() time.Time) (*WebLogin, error) {
	if config.ClientID == "" || config.RedirectURL == "" {
		return nil, fmt.Errorf("login at %q: client id and redirect URL are both needed", config.Issuer.URL)
	}
	if len(config.Scopes) == 0 {
		config.Scopes = []string{oidc.ScopeOpenID, "profile", "email"}
	}
	config.Issuer.Audience = config.ClientID
	issuer, err := newIssuer(config.Issuer)
	if err != nil {
		return nil, err
	}
	return &WebLogin{issuer: issuer, config: config, client: &http.Client{Timeout: fetchTimeout}, now: now}, nil
}

// AuthURL is where to send the browser: the issuer asks for the login anew,
// whoever is logged in there. The error wraps ErrIssuer.
func (w *WebLogin) AuthURL(ctx context.Context, r LoginRequest) (string, error) {
	config, _, err := w.discover(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{
		oidc.Nonce(r.Nonce), oauth2.S256ChallengeOption(r.Verifier), oauth2.SetAuthURLParam("prompt", "login"),
	}
	if len(r.ACR) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(r.ACR, " ")))
	}
	if r.MaxAge > 0 {
		// It makes auth_time part of the ID token at issuers that leave it out else.
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(int64(r.MaxAge/time.Second), 10)))
	}
	return config.AuthCodeURL(r.State, options...), nil
}

// Exchange turns the code that the browser brought back into who logged in, and
// checks that they did so as r demands. State is the caller's to compare, before
// this. The error wraps ErrToken (code or ID token refused), ErrLogin (not fresh
// or not strong enough) or ErrIssuer (not reached).
func (w *WebLogin) Exchange(ctx context.Context, code string, r LoginRequest) (Identity, error) {
	config, verifier, err := w.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	ctx = oidc.ClientContext(ctx, w.client)
	tokens, err := config.Exchange(ctx, code, oauth2.VerifierOption(r.Verifier))
	if err != nil {
		if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok && answer.Response.StatusCode < http.StatusInternalServerError {
			return Identity{}, fmt.Errorf("%w: %s took the login's code for no good: %w", ErrToken, w.issuer.URL, err)
		}
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrIssuer, w.issuer.URL, err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return Identity{}, fmt.Errorf("%w: %s sent no ID token; the scope openid must be among those asked for", ErrToken, w.issuer.URL)
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return Identity{}, classify(w.issuer.URL, err)
	}
	if token.Nonce == "" || token.Nonce != r.Nonce {
		return Identity{}, fmt.Errorf("%w: its nonce is that of another login", ErrToken)
	}
	return w.sufficient(token, r)
}

// sufficient reads the identity and holds the login against what was demanded.
func (w *WebLogin) sufficient(token *oidc.IDToken, r LoginRequest) (Identity, error) {
	id, err := w.issuer.identity(token)
	if err != nil {
		return Identity{}, err
	}
	id.Authn.Channel = "web"
	if len(r.ACR) > 0 && !slices.Contains(r.ACR, id.Authn.ACR) {
		return Identity{}, fmt.Errorf("%w: it was of kind %q, demanded is %s", ErrLogin, id.Authn.ACR, strings.Join(r.ACR, " or "))
	}
	if r.MaxAge <= 0 {
		return id, nil
	}
	var claims struct {
		AuthTime int64 `json:"auth_time"`
	}
	if err := token.Claims(&claims); err != nil || claims.AuthTime == 0 {
		return Identity{}, fmt.Errorf("%w: %s does not say when it was (claim auth_time), so it can't be shown to be fresh", ErrLogin, w.issuer.URL)
	}
	age := w.now().Sub(time.Unix(claims.AuthTime, 0))
	if age > r.MaxAge+loginSkew || age < -loginSkew {
		return Identity{}, fmt.Errorf("%w: it was at %s, demanded is one of the last %s", ErrLogin, id.Authn.At.Format(time.RFC3339), r.MaxAge)
	}
	return id, nil
}

func (w *WebLogin) discover(ctx context.Context) (*oauth2.Config, *oidc.IDTokenVerifier, error) {
	provider, verifier, err := w.issuer.get(oidc.ClientContext(ctx, w.client), w.now)
	if err != nil {
		return nil, nil, err
	}
	return &oauth2.Config{
		ClientID: w.config.ClientID, ClientSecret: w.config.ClientSecret, Endpoint: provider.Endpoint(),
		RedirectURL: w.config.RedirectURL, Scopes: w.config.Scopes,
	}, verifier, nil
}
