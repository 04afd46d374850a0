package oidcissuer

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scim sends a request and returns the status and the body.
func scim(t *testing.T, issuer *Issuer, token, method, path, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, issuer.URL+SCIMPath+path, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := browser().Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, "application/scim+json", response.Header.Get("Content-Type"), "%s", raw)
	var out map[string]any
	require.NoError(t, json.Unmarshal(raw, &out))
	return response.StatusCode, out
}

func TestPeopleAreFoundInTheDirectory(t *testing.T) {
	issuer := start(t, Config{})
	token := issuer.Secrets().Directory
	people := 0
	for _, account := range Accounts() {
		if !account.Machine {
			people++
		}
	}
	for filter, want := range map[string][]string{
		`userName eq "RISK-officer"`:                          {"risk-officer"},
		`externalId eq "risk-officer"`:                        {"risk-officer"},
		`ID EQ "on-call"`:                                     {"on-call"},
		`emails.value eq "Release-Lead@payments.example"`:     {"release-lead"},
		`emails.value eq "developer@payments.example"`:        {"developer", "developer-second"},
		`userName eq "ci"`:                                    {},
		`userName eq "nobody"`:                                {},
		`userName eq "x\" or userName eq \"risk-officer"`:     {},
		`emails.value eq "DEVELOPER-SECOND@payments.example"`: {"developer", "developer-second"},
	} {
		status, answer := scim(t, issuer, token, http.MethodGet, "/Users?"+url.Values{"filter": {filter}}.Encode(), "")
		require.Equal(t, http.StatusOK, status, filter)
		got := []string{}
		for _, one := range answer["Resources"].([]any) {
			got = append(got, one.(map[string]any)["id"].(string))
		}
		require.Equal(t, want, got, filter)
		require.InDelta(t, len(want), answer["totalResults"], 0)
	}
	for _, filter := range []string{`userName sw "r"`, `active eq true`, `title eq "x"`, `userName eq "a" or userName eq "b"`, `x`} {
		status, answer := scim(t, issuer, token, http.MethodGet, "/Users?"+url.Values{"filter": {filter}}.Encode(), "")
		require.Equal(t, http.StatusBadRequest, status, filter)
		require.Equal(t, "invalidFilter", answer["scimType"])
	}

	_, page := scim(t, issuer, token, http.MethodGet, "/Users?startIndex=2&count=3", "")
	require.Len(t, page["Resources"], 3)
	require.InDelta(t, people, page["totalResults"], 0)
	_, beyond := scim(t, issuer, token, http.MethodGet, "/Users?startIndex=99", "")
	require.Empty(t, beyond["Resources"])
	_, config := scim(t, issuer, token, http.MethodGet, "/ServiceProviderConfig", "")
	require.Equal(t, map[string]any{"supported": true}, config["patch"])
	status, _ := scim(t, issuer, token, http.MethodGet, "/Groups", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestTheDirectoryIsClosedToStrangers(t *testing.T) {
	issuer := start(t, Config{})
	const leave = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}`
	for _, token := range []string{"", "wrong", issuer.Password("risk-officer")} {
		status, _ := scim(t, issuer, token, http.MethodGet, "/Users/risk-officer", "")
		require.Equal(t, http.StatusUnauthorized, status)
	}
	status, _ := scim(t, issuer, issuer.Secrets().Directory, http.MethodPatch, "/Users/risk-officer", leave)
	require.Equal(t, http.StatusUnauthorized, status, "the token for reading changes nothing")
	_, still := scim(t, issuer, issuer.Secrets().Directory, http.MethodGet, "/Users/risk-officer", "")
	require.Equal(t, true, still["active"])
}

func TestWhoLeavesIsOutOfDirectoryAndLogin(t *testing.T) {
	issuer := start(t, Config{})
	groups := func(raw string) []string {
		t.Helper()
		c, err := verify(t, issuer, raw)
		require.NoError(t, err)
		return c.Groups
	}
	require.NoError(t, issuer.Amend(t.Context(), "risk-officer", Standing{Groups: []string{"audit"}}))
	raw, err := issuer.Token(t.Context(), "risk-officer")
	require.NoError(t, err)
	require.Equal(t, []string{"audit"}, groups(raw))
	_, user := scim(t, issuer, issuer.Secrets().Directory, http.MethodGet, "/Users/risk-officer", "")
	require.Equal(t, []any{map[string]any{"value": "audit", "display": "audit"}}, user["groups"])
	require.Equal(t, true, user["active"])

	inactive, active := false, true
	require.NoError(t, issuer.Amend(t.Context(), "risk-officer", Standing{Active: &inactive, Groups: []string{}}))
	_, err = issuer.Token(t.Context(), "risk-officer")
	require.ErrorContains(t, err, "401")
	_, user = scim(t, issuer, issuer.Secrets().Directory, http.MethodGet, "/Users/risk-officer", "")
	require.Equal(t, false, user["active"])
	require.Empty(t, user["groups"])

	require.NoError(t, issuer.Amend(t.Context(), "risk-officer", Standing{Active: &active}))
	_, err = issuer.Token(t.Context(), "risk-officer")
	require.NoError(t, err)
	for _, nobody := range []string{"nobody", "ci"} {
		require.ErrorContains(t, issuer.Amend(t.Context(), nobody, Standing{Active: &inactive}), "404")
	}
}

func TestPatchOperations(t *testing.T) {
	issuer := start(t, Config{})
	patch := func(operations string) (int, []any, any) {
		t.Helper()
		status, answer := scim(t, issuer, issuer.Secrets().Admin, http.MethodPatch, "/Users/on-call",
			`{"schemas":["`+patchSchema+`"],"Operations":[`+operations+`]}`)
		var names []any
		if list, ok := answer["groups"].([]any); ok {
			for _, one := range list {
				names = append(names, one.(map[string]any)["value"])
			}
		}
		return status, names, answer["scimType"]
	}
	for _, c := range []struct {
		operations string
		status     int
		groups     []any
		kind       any
	}{
		{`{"op":"add","path":"groups","value":[{"value":"risk"},{"value":"payments-oncall"}]}`, 200, []any{"payments-oncall", "risk"}, nil},
		{`{"op":"Remove","path":"groups[value eq \"risk\"]"}`, 200, []any{"payments-oncall"}, nil},
		{`{"op":"replace","value":{"active":true,"groups":[{"value":"audit"}]}}`, 200, []any{"audit"}, nil},
		{`{"op":"remove","path":"groups"},{"op":"replace","path":"userName","value":"x"}`, 400, nil, "invalidPath"},
		{`{"op":"replace","path":"active","value":"no"}`, 400, nil, "invalidValue"},
		{`{"op":"remove","path":"groups[risk]"}`, 400, nil, "invalidPath"},
		{``, 400, nil, "invalidSyntax"},
		{`{"op":"add","path":"groups","value":[]}`, 200, []any{"audit"}, nil}, // the refused ones changed nothing
	} {
		status, groups, kind := patch(c.operations)
		require.Equal(t, c.status, status, c.operations)
		require.Equal(t, c.groups, groups, c.operations)
		require.Equal(t, c.kind, kind, c.operations)
	}
}
