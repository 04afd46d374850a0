package oidcissuer

import (
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

func start(t *testing.T, cfg Config) *Issuer {
	t.Helper()
	issuer, err := StartWith(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, issuer.Close()) })
	return issuer
}

type tokenClaims struct {
	Subject  string   `json:"sub"`
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Groups   []string `json:"groups"`
	AuthTime int64    `json:"auth_time"`
	AMR      []string `json:"amr"`
	ACR      string   `json:"acr"`
	ClientID string   `json:"client_id"`
}

// verify checks a token with another library, as the gateway does.
func verify(t *testing.T, issuer *Issuer, raw string) (tokenClaims, error) {
	t.Helper()
	return verifyAt(t, issuer, raw, time.Now())
}

func verifyAt(t *testing.T, issuer *Issuer, raw string, now time.Time) (tokenClaims, error) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), issuer.URL)
	require.NoError(t, err)
	token, err := provider.VerifierContext(t.Context(), &oidc.Config{
		ClientID: Audience, Now: func() time.Time { return now },
	}).Verify(t.Context(), raw)
	if err != nil {
		return tokenClaims{}, err
	}
	var c tokenClaims
	require.NoError(t, token.Claims(&c))
	return c, nil
}

func TestEveryAccountGetsItsToken(t *testing.T) {
	issuer := start(t, Config{})
	for _, account := range Accounts() {
		raw, err := issuer.Token(t.Context(), account.ID)
		require.NoError(t, err)
		c, err := verify(t, issuer, raw)
		require.NoError(t, err)
		require.Equal(t, account.ID, c.Subject)
		require.Equal(t, account.ID, c.Name)
		require.Equal(t, account.Groups, c.Groups)
		require.Equal(t, account.ID+"@payments.example", c.Email)
		if account.Machine {
			require.Equal(t, account.ID, c.ClientID)
			continue
		}
		require.Equal(t, ClientID, c.ClientID)
		require.NotZero(t, c.AuthTime)
		require.Equal(t, []string{"pwd"}, c.AMR)
		require.Equal(t, ACRPassword, c.ACR)
	}
}

func TestWrongCredentialsGetNoToken(t *testing.T) {
	issuer := start(t, Config{})
	for _, account := range []string{"ci", "developer"} {
		for _, password := range []string{"", "wrong"} {
			_, err := LogIn(t.Context(), issuer.URL, Credentials{Account: account, Password: password})
			require.Error(t, err, "%s with %q", account, password)
		}
	}
	_, err := LogIn(t.Context(), issuer.URL, Credentials{Account: "nobody", Password: "x"})
	require.ErrorContains(t, err, "the accounts are ci, developer")

	// A machine's secret is no way into the form.
	_, err = logInPerson(t.Context(), issuer.URL, Credentials{Account: "ci", Password: issuer.storage.secrets.Passwords["ci"]})
	require.ErrorContains(t, err, "401")
}

func TestACodeIsWorthNothingWithoutItsVerifier(t *testing.T) {
	issuer := start(t, Config{})
	cfg := oauth2.Config{
		ClientID: ClientID, RedirectURL: "http://127.0.0.1" + redirectPath, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: issuer.URL + "/authorize", TokenURL: issuer.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	code := func(verifier string) string {
		next, err := redirected(t.Context(), browser(), cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), nil)
		require.NoError(t, err)
		next, err = redirected(t.Context(), browser(), next.String(), url.Values{
			"id": {next.Query().Get("id")}, "account": {"developer"}, "password": {issuer.storage.secrets.Passwords["developer"]},
		})
		require.NoError(t, err)
		next, err = redirected(t.Context(), browser(), next.String(), nil)
		require.NoError(t, err)
		require.NotEmpty(t, next.Query().Get("code"))
		return next.Query().Get("code")
	}
	verifier := oauth2.GenerateVerifier()
	_, err := cfg.Exchange(t.Context(), code(verifier), oauth2.VerifierOption(oauth2.GenerateVerifier()))
	require.Error(t, err)
	once := code(verifier)
	_, err = cfg.Exchange(t.Context(), once, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	_, err = cfg.Exchange(t.Context(), once, oauth2.VerifierOption(verifier))
	require.Error(t, err, "a code is good once")

	// Without PKCE there is no login at all; nor to another address.
	next, err := redirected(t.Context(), browser(), cfg.AuthCodeURL("state"), nil)
	require.NoError(t, err)
	require.Contains(t, next.Query().Get("error_description"), "PKCE")
	cfg.RedirectURL = "http://127.0.0.1.example/callback"
	response, err := get(t.Context(), browser(), cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, response.code)
}

func TestDeviceFlow(t *testing.T) {
	issuer := start(t, Config{})
	cfg := oauth2.Config{ClientID: ClientID, Scopes: scopes, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: issuer.URL + "/device_authorization", TokenURL: issuer.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
	device, err := cfg.DeviceAuth(t.Context())
	require.NoError(t, err)
	require.Equal(t, issuer.URL+devicePath, device.VerificationURI)
	shown, err := get(t.Context(), browser(), device.VerificationURIComplete)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, shown.code)

	require.Error(t, issuer.ApproveDevice(t.Context(), "WRONG-CODE", "on-call"))
	require.NoError(t, issuer.ApproveDevice(t.Context(), device.UserCode, "on-call"))
	token, err := cfg.DeviceAccessToken(t.Context(), device)
	require.NoError(t, err)
	c, err := verify(t, issuer, token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"payments-oncall"}, c.Groups)
	require.NotZero(t, c.AuthTime)
	require.Error(t, issuer.ApproveDevice(t.Context(), device.UserCode, "auditor"))

	denied, err := cfg.DeviceAuth(t.Context())
	require.NoError(t, err)
	_, err = post(t.Context(), browser(), issuer.URL+devicePath, url.Values{
		"user_code": {denied.UserCode}, "account": {"on-call"}, "password": {issuer.storage.secrets.Passwords["on-call"]}, "action": {"deny"},
	})
	require.NoError(t, err)
	_, err = cfg.DeviceAccessToken(t.Context(), denied)
	require.ErrorContains(t, err, "access_denied")
}

func TestTokensOutliveRestartAndRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "issuer.json")
	secrets, err := LoadSecrets(path)
	require.NoError(t, err)
	first, err := StartWith(Config{Secrets: secrets})
	require.NoError(t, err)
	old, err := first.Token(t.Context(), "developer")
	require.NoError(t, err)
	require.NoError(t, first.Close())

	again, err := LoadSecrets(path)
	require.NoError(t, err)
	second := start(t, Config{Addr: first.URL[len("http://"):], Secrets: again})
	_, err = verify(t, second, old)
	require.NoError(t, err)
	require.NoError(t, second.RotateKey())
	_, err = verify(t, second, old)
	require.NoError(t, err)
	fresh, err := second.Token(t.Context(), "developer")
	require.NoError(t, err)
	_, err = verify(t, second, fresh)
	require.NoError(t, err)
	stranger := start(t, Config{})
	foreign, err := stranger.Token(t.Context(), "developer")
	require.NoError(t, err)
	_, err = verify(t, second, foreign)
	require.Error(t, err)
}

func TestAudienceAndLifetimeAreAsConfigured(t *testing.T) {
	other := start(t, Config{Audience: "another-service"})
	raw, err := other.Token(t.Context(), "ci")
	require.NoError(t, err)
	_, err = verify(t, other, raw)
	require.ErrorContains(t, err, "audience")

	short := start(t, Config{Lifetime: time.Hour})
	raw, err = short.Token(t.Context(), "ci")
	require.NoError(t, err)
	_, err = verifyAt(t, short, raw, time.Now().Add(59*time.Minute))
	require.NoError(t, err)
	_, err = verifyAt(t, short, raw, time.Now().Add(61*time.Minute))
	require.ErrorContains(t, err, "expired")
}
