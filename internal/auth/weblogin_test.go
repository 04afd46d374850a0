package auth_test

import (
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/auth/authtest"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

const redirect = "http://127.0.0.1:8080" + oidcissuer.WebRedirectPath

// With the local issuer, a whole OpenID provider, at the other end.
func TestAPersonLogsInForADecision(t *testing.T) {
	issuer, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	web, err := auth.NewWebLogin(auth.WebConfig{
		Issuer:   auth.Issuer{URL: issuer.URL},
		ClientID: oidcissuer.WebClientID, ClientSecret: issuer.Secrets().Web, RedirectURL: redirect,
		Scopes: []string{"openid", "profile", "email", "groups"},
	}, time.Now)
	require.NoError(t, err)
	logIn := func(r auth.LoginRequest) string {
		t.Helper()
		address, err := web.AuthURL(t.Context(), r)
		require.NoError(t, err)
		code, err := issuer.Code("risk-officer")
		require.NoError(t, err)
		back, err := oidcissuer.Authorize(t.Context(), address, oidcissuer.Credentials{
			Account: "risk-officer", Password: issuer.Password("risk-officer"), Code: code,
		})
		require.NoError(t, err)
		require.Equal(t, r.State, back.Query().Get("state"))
		return back.Query().Get("code")
	}

	request := auth.NewLoginRequest([]string{oidcissuer.ACRMFA}, 5*time.Minute)
	begun := time.Now().Truncate(time.Second)
	id, err := web.Exchange(t.Context(), logIn(request), request)
	require.NoError(t, err)
	require.Equal(t, issuer.URL+"#risk-officer", id.Subject.Key())
	require.Equal(t, []string{"risk"}, id.Subject.Groups)
	require.Equal(t, oidcissuer.ACRMFA, id.Authn.ACR)
	require.Equal(t, "oidc", id.Authn.Method)
	require.Equal(t, "web", id.Authn.Channel)
	require.False(t, id.Authn.At.Before(begun))

	// A login of any kind won't do where a second factor is demanded.
	weak := auth.NewLoginRequest(nil, time.Minute)
	code := logIn(weak)
	weak.ACR = []string{oidcissuer.ACRMFA}
	_, err = web.Exchange(t.Context(), code, weak)
	require.ErrorIs(t, err, auth.ErrLogin)
	// Nor another browser's login, nor a code for a second time.
	other := auth.NewLoginRequest(nil, time.Minute)
	mixed := other
	mixed.Verifier = auth.NewLoginRequest(nil, 0).Verifier
	_, err = web.Exchange(t.Context(), logIn(other), mixed)
	require.ErrorIs(t, err, auth.ErrToken)
	once := logIn(other)
	_, err = web.Exchange(t.Context(), once, other)
	require.NoError(t, err)
	_, err = web.Exchange(t.Context(), once, other)
	require.ErrorIs(t, err, auth.ErrToken)
}

// With an issuer that signs whatever a test wants.
func TestLoginsAreHeldAgainstWhatWasDemanded(t *testing.T) {
	issuer := authtest.Start(t)
	now := time.Now().Truncate(time.Second)
	config := auth.WebConfig{Issuer: auth.Issuer{URL: issuer.URL}, ClientID: "gateway", RedirectURL: redirect}
	web, err := auth.NewWebLogin(config, func() time.Time { return now })
	require.NoError(t, err)
	request := auth.LoginRequest{State: "s", Nonce: "n", Verifier: "v", ACR: []string{"mfa", "hardware"}, MaxAge: 5 * time.Minute}
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }

	for name, c := range map[string]struct {
		claims map[string]any
		fault  error
		says   string
	}{
		"good":                 {nil, nil, ""},
		"the other kind":       {map[string]any{"acr": "hardware"}, nil, ""},
		"just fresh":           {map[string]any{"auth_time": ago(5 * time.Minute)}, nil, ""},
		"clock a little ahead": {map[string]any{"auth_time": ago(-20 * time.Second)}, nil, ""},
		"password only":        {map[string]any{"acr": "pwd"}, auth.ErrLogin, `it was of kind "pwd", demanded is mfa or hardware`},
		"no kind":              {map[string]any{"acr": nil}, auth.ErrLogin, `of kind ""`},
		"stale":                {map[string]any{"auth_time": ago(6 * time.Minute)}, auth.ErrLogin, "demanded is one of the last 5m0s"},
		"in the future":        {map[string]any{"auth_time": ago(-time.Hour)}, auth.ErrLogin, "demanded is one of the last"},
		"no time":              {map[string]any{"auth_time": nil}, auth.ErrLogin, "auth_time"},
		"time a text":          {map[string]any{"auth_time": "now"}, auth.ErrToken, "claims can't be read"},
		"another login's":      {map[string]any{"nonce": "m"}, auth.ErrToken, "nonce"},
		"no nonce":             {map[string]any{"nonce": nil}, auth.ErrToken, "nonce"},
		"for another client":   {map[string]any{"aud": "other"}, auth.ErrToken, "audience"},
		"for the API alone":    {map[string]any{"aud": authtest.Audience}, auth.ErrToken, "audience"},
		"expired":              {map[string]any{"exp": ago(time.Minute)}, auth.ErrToken, "expired"},
		"of another issuer":    {map[string]any{"iss": "https://other.example"}, auth.ErrToken, "different provider"},
		"of nobody":            {map[string]any{"sub": ""}, auth.ErrToken, "names no subject"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{"aud": "gateway", "nonce": "n", "acr": "mfa", "auth_time": ago(time.Second)}
			maps.Copy(claims, c.claims)
			issuer.Grant("code", issuer.Token(t, "risk-officer", nil, claims))
			id, err := web.Exchange(t.Context(), "code", request)
			if c.fault == nil {
				require.NoError(t, err)
				require.Equal(t, "risk-officer", id.Subject.ID)
				return
			}
			require.ErrorIs(t, err, c.fault)
			require.ErrorContains(t, err, c.says)
		})
	}
	issuer.Grant("code", "")
	_, err = web.Exchange(t.Context(), "code", request)
	require.ErrorContains(t, err, "sent no ID token")
	_, err = web.Exchange(t.Context(), "guessed", request)
	require.ErrorIs(t, err, auth.ErrToken)

	address, err := web.AuthURL(t.Context(), request)
	require.NoError(t, err)
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	for field, want := range map[string]string{
		"prompt": "login", "max_age": "300", "acr_values": "mfa hardware", "nonce": "n", "state": "s",
		"code_challenge_method": "S256", "redirect_uri": redirect, "client_id": "gateway", "scope": "openid profile email",
	} {
		require.Equal(t, want, parsed.Query().Get(field), field)
	}

	issuer.Stop()
	_, err = web.Exchange(t.Context(), "code", request)
	require.ErrorIs(t, err, auth.ErrIssuer)
	fresh, err := auth.NewWebLogin(config, time.Now)
	require.NoError(t, err)
	_, err = fresh.AuthURL(t.Context(), request)
	require.ErrorIs(t, err, auth.ErrIssuer)
	_, err = auth.NewWebLogin(auth.WebConfig{Issuer: config.Issuer}, time.Now)
	require.ErrorContains(t, err, "client id and redirect URL")
}
