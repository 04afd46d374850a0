package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const full = `
temporal: {address: 127.0.0.1:7233}
listen: 127.0.0.1:9090
catalog: catalog
policies: /etc/waybill/policies
registry: {plainHTTP: ["127.0.0.1:5000"]}
trust:
  gateway:
  - {id: gateway-1, publicKey: keys/gateway.pub, notAfter: 2027-01-01T00:00:00Z}
  - {id: gateway-2, publicKey: keys/gateway-next.pub, notBefore: 2026-01-01T00:00:00Z}
  evidence: [{id: evidence-1, publicKey: keys/evidence.pub}]
clusters: [{name: local, kubeconfig: kubeconfig, prometheus: http://127.0.0.1:9091}]
notary:
  keyID: evidence-1
  key: keys/evidence.pem
  bucket: waybill-evidence
  endpoint: http://127.0.0.1:7070
  region: us-east-1
  pathStyle: true
  lockMode: COMPLIANCE
  retention: {default: 24h, tier2: 48h}
gateway:
  listen: 127.0.0.1:8080
  publicURL: http://127.0.0.1:8080/
  keys: [{id: gateway-1, key: keys/gateway.pem}, {id: gateway-2, key: keys/gateway-next.pem}]
  issuers:
  - {url: http://127.0.0.1:5556, audience: waybill}
  - url: https://token.actions.githubusercontent.com
    audience: waybill
    groups: [ci]
    claims: {subject: job_workflow_ref, name: repository, require: {repository_owner: [payments], ref: [refs/heads/main]}}
  operators: [payments-oncall]
  login: {issuer: http://127.0.0.1:5556, clientID: waybill-gateway, clientSecret: keys/login-secret, acr: [mfa]}
  rate: {address: {perSecond: 50, burst: 100}}
  proxies: [10.0.0.0/8]
  slack: {botToken: keys/slack-token, signingSecret: keys/slack-secret, teams: [T1], app: A1}
directory: {url: http://127.0.0.1:5556/scim/v2, token: keys/directory-token, issuer: http://127.0.0.1:5556}
slack: {botToken: keys/slack-token, apiURL: http://127.0.0.1:8090/api/, gateway: http://127.0.0.1:8080}
`

var all = []Role{RoleRelease, RoleDeploy, RoleNotary, RoleNotify, RoleGateway}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "waybilld.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfigFillsInAndFindsItsFiles(t *testing.T) {
	path := write(t, full)
	c, err := LoadConfig(path, all...)
	require.NoError(t, err)
	assert.Equal(t, "default", c.Temporal.Namespace)
	assert.Equal(t, "waybill-cli", c.Gateway.Issuers[0].ClientID)
	assert.Contains(t, c.Gateway.Issuers[0].Scopes, "openid")
	dir := filepath.Dir(path)
	assert.Equal(t, filepath.Join(dir, "catalog"), c.Catalog, "paths count from the file's directory")
	assert.Equal(t, filepath.Join(dir, "keys", "evidence.pub"), c.Trust.Evidence[0].PublicKey)
	assert.Equal(t, "/etc/waybill/policies", c.Policies)
	assert.Equal(t, 48*time.Hour, c.retention(), "the longest counts")
	assert.Equal(t, filepath.Join(dir, "keys", "gateway-next.pem"), c.Gateway.Keys[1].Key)
	assert.Equal(t, filepath.Join(dir, "keys", "login-secret"), c.Gateway.Login.ClientSecret)
	assert.Equal(t, filepath.Join(dir, "keys", "slack-secret"), c.Gateway.Slack.SigningSecret)
	assert.Equal(t, filepath.Join(dir, "keys", "directory-token"), c.Directory.Token)
	assert.Equal(t, filepath.Join(dir, "keys", "slack-token"), c.Slack.BotToken)
	assert.Equal(t, "http://127.0.0.1:8080", c.Gateway.PublicURL)
	assert.Equal(t, 5*time.Minute, c.Gateway.Login.MaxAge.D())
	assert.Equal(t, slackHTTP, c.Gateway.Slack.Mode)
	assert.Equal(t, RateConfig{PerSecond: 50, Burst: 100}, c.Gateway.Rate.Address)
	assert.Positive(t, c.Gateway.Rate.Subject.PerSecond)
	assert.Equal(t, 2027, c.Trust.Gateway[0].NotAfter.Year())
	assert.Equal(t, []string{"payments"}, c.Gateway.Issuers[1].Claims.Require["repository_owner"])
}

func TestARoleDemandsItsOwnPartOnly(t *testing.T) {
	for role, part := range map[Role]string{
		RoleRelease: "catalog: c\npolicies: p\ntrust: {gateway: [{id: a, publicKey: a}], evidence: [{id: b, publicKey: b}]}",
		RoleDeploy:  "trust: {evidence: [{id: b, publicKey: b}]}\nclusters: [{name: local, prometheus: 'http://p'}]",
		RoleNotary:  "notary: {keyID: e, key: k, bucket: b, region: r, lockMode: GOVERNANCE, retention: {default: 1h}}",
		RoleNotify:  "slack: {botToken: t, gateway: 'http://g'}",
		RoleGateway: "gateway: {listen: ':1', publicURL: 'http://g', keyID: g, key: k, issuers: [{url: 'https://i', audience: w}]}",
	} {
		t.Run(string(role), func(t *testing.T) {
			path := write(t, "temporal: {address: t:7233}\n"+part)
			_, err := LoadConfig(path, role)
			require.NoError(t, err)
			for _, other := range all {
				if other != role {
					_, err := LoadConfig(path, other)
					require.Error(t, err, "%s must not be content with the part of %s", other, role)
				}
			}
		})
	}
}

func TestConfigFaultsNameTheirField(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, says string }{
		"typo":                {"keyID: evidence-1", "keyid2: evidence-1", `unknown field "keyid2"`},
		"twice":               {"listen: 127.0.0.1:9090", "listen: a\nlisten: b", "listen"},
		"not YAML":            {"temporal:", "temporal: [", "yaml"},
		"no address":          {"address: 127.0.0.1:7233", "", "temporal.address: missing"},
		"wrong kind":          {"pathStyle: true", "pathStyle: maybe", "pathStyle"},
		"number as duration":  {"default: 24h", "default: 24", "want a string with a unit"},
		"no default":          {"default: 24h, ", "", "notary.retention.default"},
		"nothing kept":        {"tier2: 48h", "tier2: 0s", "notary.retention.tier2"},
		"unknown tier":        {"tier2: 48h", "tier7: 48h", "notary.retention.tier7"},
		"lock mode":           {"COMPLIANCE", "compliance", "notary.lockMode"},
		"issuer without URL":  {"url: http://127.0.0.1:5556,", "url: 127.0.0.1:5556,", "gateway.issuers[0].url"},
		"no audience":         {", audience: waybill", "", "gateway.issuers[0].audience"},
		"groups named twice":  {"groups: [ci]", "groupsClaim: a\n    claims: {groups: b}\n    groups: [ci]", "claims"},
		"both forms of keys":  {"keys: [{id: gateway-1", "keyID: a\n  key: b\n  keys: [{id: gateway-1", "gateway.key: it is short"},
		"no signing keys":     {"keys: [{id: gateway-1, key: keys/gateway.pem}, {id: gateway-2, key: keys/gateway-next.pem}]", "keys: []", "gateway.keys: want at least one"},
		"key that never was":  {"notAfter: 2027-01-01T00:00:00Z", "notBefore: 2028-01-01T00:00:00Z, notAfter: 2027-01-01T00:00:00Z", "trust.gateway[0].notAfter"},
		"login elsewhere":     {"login: {issuer: http://127.0.0.1:5556", "login: {issuer: http://127.0.0.1:5557", "gateway.login.issuer"},
		"login without key":   {"clientSecret: keys/login-secret, ", "", "gateway.login.clientSecret: missing"},
		"no burst":            {"burst: 100", "burst: 0", "gateway.rate.address"},
		"proxy is no network": {"10.0.0.0/8", "10.0.0.1", "gateway.proxies[0]"},
		"slack's mode":        {"slack: {botToken", "slack: {mode: carrier, botToken", "gateway.slack.mode"},
		"slack's app token":   {"slack: {botToken", "slack: {mode: socket, botToken", "gateway.slack.appToken: missing"},
		"slack's secret":      {"signingSecret: keys/slack-secret, ", "", "gateway.slack.signingSecret: missing"},
		"slack's teams":       {"teams: [T1], ", "", "gateway.slack.teams"},
		"slack, no directory": {"directory: {url: http://127.0.0.1:5556/scim/v2, token: keys/directory-token, issuer: http://127.0.0.1:5556}", "", "directory.url: missing"},
		"worker's slack":      {"apiURL: http://127.0.0.1:8090/api/", "apiURL: 127.0.0.1:8090", "slack.apiURL"},
		"worker's gateway":    {", gateway: http://127.0.0.1:8080}", "}", "slack.gateway"},
		"directory's token":   {"token: keys/directory-token, ", "", "directory.token: missing"},
		"cluster's name":      {"name: local", "name: Local One", "clusters[0].name"},
		"prometheus":          {"prometheus: http://127.0.0.1:9091", "prometheus: ''", "clusters[0].prometheus"},
		"key without an id":   {"id: gateway-1, publicKey", "publicKey", "trust.gateway[0].id"},
		"no keys of evidence": {"[{id: evidence-1, publicKey: keys/evidence.pub}]", "[]", "trust.evidence: want at least one"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, full, tc.from)
			_, err := LoadConfig(write(t, strings.Replace(full, tc.from, tc.to, 1)), all...)
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, err := LoadConfig(write(t, "temporal: {}"), RoleNotary)
	for _, field := range []string{"temporal.address", "notary.keyID", "notary.key", "notary.bucket", "notary.region", "notary.lockMode"} {
		require.ErrorContains(t, err, field, "every fault is listed")
	}
	_, err = LoadConfig("/nowhere.yaml", RoleGateway)
	require.ErrorContains(t, err, "no such file")
}

func TestRolesAreKnownByName(t *testing.T) {
	roles, err := parseRoles([]string{"release", " notary"})
	require.NoError(t, err)
	assert.Equal(t, []Role{RoleRelease, RoleNotary}, roles)
	for _, bad := range [][]string{nil, {"gateway"}, {"relaese"}} {
		_, err := parseRoles(bad)
		require.Error(t, err)
	}
}
