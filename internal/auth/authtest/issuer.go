// Package authtest runs an OpenID Connect issuer inside a test: discovery and
// keys over real HTTP, tokens signed with real keys, and every claim in the
// test's hand, so that tokens no honest issuer would make can be tried too.
package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Audience is the "aud" of tokens unless a test overrides it.
const Audience = "waybill"

// Issuer is a running issuer. URL is its "iss".
type Issuer struct {
	URL string

	mu     sync.Mutex
	serial int
	grants map[string]string
	key    *ecdsa.PrivateKey
	server *httptest.Server
}

// Start runs an issuer until the test ends.
func Start(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{grants: map[string]string{}}
	i.Rotate(tb)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys",
			"authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			// Lists "none", as a careless issuer might: it must not be believed.
			"id_token_signing_alg_values_supported": []string{"ES256", "none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: &i.key.PublicKey, KeyID: i.keyID(), Algorithm: "ES256", Use: "sig"},
		}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		token, ok := i.grants[r.FormValue("code")]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			reply(w, map[string]any{"error": "invalid_grant"})
			return
		}
		answer := map[string]any{"access_token": "opaque", "token_type": "Bearer"}
		if token != "" {
			answer["id_token"] = token
		}
		reply(w, answer)
	})
	i.server = httptest.NewServer(mux)
	tb.Cleanup(i.server.Close)
	i.URL = i.server.URL
	return i
}

// Rotate replaces the signing key; the one before is no longer published.
func (i *Issuer) Rotate(tb testing.TB) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = key
	i.serial++
}

// Stop takes the issuer off the network.
func (i *Issuer) Stop() { i.server.Close() }

// Token signs a token for subject with groups, good for an hour. Claims in
// override replace the usual ones; a nil value removes the claim.
func (i *Issuer) Token(tb testing.TB, subject string, groups []string, override map[string]any) string {
	tb.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: i.keyID()}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(i.claims(subject, groups, override)).Serialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// Grant makes code good for an ID token, "" for an answer without one.
func (i *Issuer) Grant(code, token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.grants[code] = token
}

func (i *Issuer) keyID() string { return fmt.Sprintf("key-%d", i.serial) }

func (i *Issuer) claims(subject string, groups []string, override map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL, "sub": subject, "aud": []string{Audience}, "groups": groups,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "preferred_username": subject,
	}
	maps.Copy(claims, override)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
