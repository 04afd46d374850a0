package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/wire"
)

// TestNothingAboutReleasesIsOpen walks the API's own description, so that an
// operation added later is covered too.
func TestNothingAboutReleasesIsOpen(t *testing.T) {
	d := open(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	require.Equal(t, http.StatusOK, d.call("", "GET", "/openapi.json", "", &doc))
	require.Greater(t, len(doc.Paths), 6)
	public := map[string]bool{"/v1/auth-config": true}
	for path, methods := range doc.Paths {
		for method := range methods {
			if public[path] {
				continue
			}
			req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, http.NoBody)
			require.NoError(t, err)
			req.Method = map[string]string{"get": "GET", "post": "POST"}[method]
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			_ = res.Body.Close()
			assert.Equal(t, http.StatusUnauthorized, res.StatusCode, "%s %s", method, path)
			assert.Contains(t, res.Header.Get("WWW-Authenticate"), "Bearer")
		}
	}
}

func TestTheDescriptionShowsHowARequestLooks(t *testing.T) {
	d := open(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Type any } `json:"properties"`
				Required   []string                      `json:"required"`
			} `json:"schemas"`
		} `json:"components"`
	}
	require.Equal(t, http.StatusOK, d.call("", "GET", "/openapi.json", "", &doc))
	request := doc.Components.Schemas["Request"]
	assert.ElementsMatch(t, []string{"service", "environment", "image", "commit"}, request.Required)
	assert.Equal(t, "string", doc.Components.Schemas["RollbackReport"].Properties["duration"].Type, "durations are text")
}

func TestLoginAndWhoami(t *testing.T) {
	d := open(t)
	var login wire.Login
	require.Equal(t, http.StatusOK, d.call("", "GET", "/v1/auth-config", "", &login))
	require.Len(t, login.Issuers, 1)
	assert.Equal(t, d.issuer.URL, login.Issuers[0].URL)

	var who wire.Whoami
	require.Equal(t, http.StatusOK, d.call("release-lead", "GET", "/v1/whoami", "", &who))
	assert.Equal(t, "release-lead", who.Subject.ID)
	assert.Equal(t, "api", who.Authn.Channel)
}

func TestTokensAreNeverLogged(t *testing.T) {
	d := open(t)
	token := d.token("ci")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/v1/whoami?access_token="+token, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.NotContains(t, string(body), token)
	assert.Contains(t, d.log.String(), `"path":"/v1/whoami"`)
	assert.Contains(t, d.log.String(), d.issuer.URL+"#ci")
	assert.NotContains(t, d.log.String(), token)
	assert.NotContains(t, d.log.String(), token[:20])
}

func TestHealthAndMetrics(t *testing.T) {
	d := open(t)
	assert.Equal(t, http.StatusNoContent, d.call("", "GET", "/healthz", "", nil))
	assert.Equal(t, http.StatusNoContent, d.call("", "GET", "/readyz", "", nil))
	assert.Equal(t, http.StatusNotFound, d.call("", "GET", "/docs", "", nil), "no page with scripts unless asked for")
	d.call("ci", "GET", "/v1/releases/nothing", "", nil)
	families, err := d.Metrics.Gather()
	require.NoError(t, err)
	found := map[string]string{}
	for _, f := range families {
		found[f.GetName()] = f.String()
	}
	assert.Contains(t, found["waybill_gateway_request_duration_seconds"], `value:"get-release"`)
	assert.Contains(t, found, "waybill_gateway_refusals_dropped_total")
}
