package auth_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/auth/authtest"
)

func verifier(t *testing.T, issuers ...*authtest.Issuer) *auth.Verifier {
	t.Helper()
	var list []auth.Issuer
	for _, i := range issuers {
		list = append(list, auth.Issuer{URL: i.URL, Audience: authtest.Audience})
	}
	v, err := auth.NewVerifier(list, time.Now)
	require.NoError(t, err)
	return v
}

func TestVerifyTellsWhoAskedAndHow(t *testing.T) {
	issuer := authtest.Start(t)
	loggedIn := time.Now().Add(-time.Hour).Truncate(time.Second)
	token := issuer.Token(t, "risk-officer", []string{"risk"}, map[string]any{
		"email": "risk@example.com", "acr": "mfa", "auth_time": loggedIn.Unix(), "sub": "u-17",
	})

	id, err := verifier(t, issuer).Verify(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, issuer.URL+"#u-17", id.Subject.Key(), "decisions are made on issuer and sub, not on the name")
	assert.Equal(t, "risk-officer", id.Subject.Name)
	assert.Equal(t, []string{"risk"}, id.Subject.Groups)
	assert.Equal(t, "oidc", id.Authn.Method)
	assert.Equal(t, "mfa", id.Authn.ACR)
	assert.True(t, id.Authn.At.Equal(loggedIn))
}

func TestVerifyRefuses(t *testing.T) {
	issuer, stranger := authtest.Start(t), authtest.Start(t)
	v := verifier(t, issuer)
	good := issuer.Token(t, "developer", nil, nil)
	parts := strings.Split(good, ".")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

	for name, tc := range map[string]struct{ token, says string }{
		"expired":             {issuer.Token(t, "d", nil, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "expired at"},
		"without expiry":      {issuer.Token(t, "d", nil, map[string]any{"exp": nil}), "expired"},
		"not valid yet":       {issuer.Token(t, "d", nil, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "nbf"},
		"wrong audience":      {issuer.Token(t, "d", nil, map[string]any{"aud": "another-app"}), `expected audience "waybill"`},
		"unknown issuer":      {stranger.Token(t, "d", nil, nil), "not among the accepted issuers"},
		"stranger's key":      {stranger.Token(t, "d", nil, map[string]any{"iss": issuer.URL}), "signature"},
		"no subject":          {issuer.Token(t, "", nil, nil), "names no subject"},
		"groups not a list":   {issuer.Token(t, "d", nil, map[string]any{"groups": "risk"}), "not a list"},
		"alg none":            {part(`{"alg":"none"}`) + "." + parts[1] + ".", "none"},
		"alg none, signature": {part(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "none"},
		"symmetric key":       {symmetric(t, issuer), "HS256"},
		"payload changed":     {parts[0] + "." + part(`{"iss":"`+issuer.URL+`","sub":"risk-officer","aud":"waybill","exp":4102444800}`) + "." + parts[2], "signature"},
		"not a token":         {"hello", "not a JWT"},
		"empty":               {"", "not a JWT"},
		"payload not JSON":    {parts[0] + "." + part("hello") + "." + parts[2], "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), tc.token)
			require.ErrorIs(t, err, auth.ErrToken)
			assert.ErrorContains(t, err, tc.says)
		})
	}
	_, err := v.Verify(t.Context(), good)
	require.NoError(t, err, "the token that the bad ones were made from is good")
}

// symmetric signs with the issuer's public key as if it were a shared secret.
func symmetric(t *testing.T, issuer *authtest.Issuer) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	require.NoError(t, err)
	claims := map[string]any{"iss": issuer.URL, "sub": "d", "aud": authtest.Audience, "exp": 4102444800}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	require.NoError(t, err)
	return token
}

func TestVerifyFollowsKeyRotation(t *testing.T) {
	issuer := authtest.Start(t)
	v := verifier(t, issuer)
	old := issuer.Token(t, "developer", nil, nil)
	_, err := v.Verify(t.Context(), old)
	require.NoError(t, err)

	issuer.Rotate(t)
	_, err = v.Verify(t.Context(), issuer.Token(t, "developer", nil, nil))
	require.NoError(t, err, "a new key is fetched when a token names it")
	_, err = v.Verify(t.Context(), old)
	require.ErrorIs(t, err, auth.ErrToken, "a key that was withdrawn no longer counts")
}

func TestVerifyTellsAnIssuerThatIsDownFromABadToken(t *testing.T) {
	known, unknown := authtest.Start(t), authtest.Start(t)
	v := verifier(t, known, unknown)
	_, err := v.Verify(t.Context(), known.Token(t, "developer", nil, nil))
	require.NoError(t, err)

	known.Rotate(t)
	fresh := known.Token(t, "developer", nil, nil)
	known.Stop()
	_, err = v.Verify(t.Context(), fresh)
	require.ErrorIs(t, err, auth.ErrIssuer, "keys of a known issuer can't be fetched")

	token := unknown.Token(t, "developer", nil, nil)
	unknown.Stop()
	for range 2 {
		_, err = v.Verify(t.Context(), token)
		require.ErrorIs(t, err, auth.ErrIssuer, "an issuer that was never seen can't be discovered")
	}
}

func TestACallerThatHangsUpDoesNotSpoilDiscovery(t *testing.T) {
	issuer := authtest.Start(t)
	v := verifier(t, issuer)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	token := issuer.Token(t, "developer", nil, nil)
	_, err := v.Verify(gone, token)
	require.Error(t, err)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestNewVerifierNeedsAnAudience(t *testing.T) {
	_, err := auth.NewVerifier([]auth.Issuer{{URL: "https://issuer.example"}}, time.Now)
	require.ErrorContains(t, err, "audience")
}
