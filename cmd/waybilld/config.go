package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/signals"
)

// Config is the daemon's configuration file, one for all roles; each role
// reads, and demands, only what it needs. Paths that are not absolute count
// from the file's own directory.
type Config struct {
	Temporal TemporalConfig `json:"temporal"`
	// Listen serves /metrics, /healthz and /readyz of this process; "" for none.
	Listen   string          `json:"listen"`
	Catalog  string          `json:"catalog"`  // directory with one <service>.yaml per service
	Policies string          `json:"policies"` // OPA bundle directory
	Registry RegistryConfig  `json:"registry"`
	Trust    TrustConfig     `json:"trust"`
	Clusters []ClusterConfig `json:"clusters"`
	Notary   NotaryConfig    `json:"notary"`
	Gateway  GatewayConfig   `json:"gateway"`
}

// TemporalConfig says where the Temporal server's frontend is.
type TemporalConfig struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace"` // "default" if empty
}

// RegistryConfig lists the registries ("host:port") that speak HTTP without TLS.
type RegistryConfig struct {
	PlainHTTP []string `json:"plainHTTP"`
}

// TrustConfig is the public keys that are pinned into every plan.
type TrustConfig struct {
	Gateway  []KeyConfig `json:"gateway"`
	Evidence []KeyConfig `json:"evidence"`
}

// KeyConfig is one public key: PublicKey is the path of a PEM file.
type KeyConfig struct {
	ID        string `json:"id"`
	PublicKey string `json:"publicKey"`
}

// ClusterConfig is one cluster that a deploy role serves. Kubeconfig is a path,
// "" for the service account of the pod that the daemon runs in.
type ClusterConfig struct {
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`
	Prometheus string `json:"prometheus"`
}

// NotaryConfig is the evidence key and the bucket that it writes to.
type NotaryConfig struct {
	KeyID    string `json:"keyID"`
	Key      string `json:"key"` // path of a PKCS #8 PEM file
	Bucket   string `json:"bucket"`
	Endpoint string `json:"endpoint"` // "" is AWS
	Region   string `json:"region"`
	// PathStyle addresses the bucket in the path, as most S3 servers other than
	// AWS want it.
	PathStyle bool   `json:"pathStyle"`
	LockMode  string `json:"lockMode"` // COMPLIANCE or GOVERNANCE
	// Retention is how long records stay locked, by tier ("tier0", "tier1",
	// "tier2") or "default". A record does not carry its tier, so that all are
	// locked for the longest of these.
	Retention map[string]signals.Duration `json:"retention"`
}

// GatewayConfig is the HTTP API, its signing key and whom it believes.
type GatewayConfig struct {
	Listen    string         `json:"listen"`
	PublicURL string         `json:"publicURL"`
	KeyID     string         `json:"keyID"`
	Key       string         `json:"key"` // path of a PKCS #8 PEM file
	Issuers   []IssuerConfig `json:"issuers"`
	// Operators are the groups whose members may abort any release; a release's
	// own requester may always abort it.
	Operators []string `json:"operators"`
	// Docs serves a page for trying out the API at /docs. It loads scripts from
	// elsewhere, so it is off unless asked for.
	Docs bool `json:"docs"`
}

// IssuerConfig is one OpenID Connect issuer.
type IssuerConfig struct {
	URL      string `json:"url"`
	Audience string `json:"audience"`
	// GroupsClaim is the claim that lists groups, "groups" if empty.
	GroupsClaim string `json:"groupsClaim"`
	// ClientID is the public client that `waybill login` uses, "waybill-cli" if
	// empty, and Scopes what it asks for.
	ClientID string   `json:"clientID"`
	Scopes   []string `json:"scopes"`
}

// Role is a part of the daemon's work that runs with its own credentials.
type Role string

// The roles. A gateway runs by its own command, the others by `worker --roles`.
const (
	RoleRelease Role = "release"
	RoleDeploy  Role = "deploy"
	RoleNotary  Role = "notary"
	RoleGateway Role = "gateway"
)

// LoadConfig reads a configuration strictly and checks what roles need from it.
// The error lists every fault with the field it is in.
func LoadConfig(path string, roles ...Role) (Config, error) {
	var c Config
	raw, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.fill()
	c.resolve(filepath.Dir(path))
	if err := c.check(roles); err != nil {
		return c, fmt.Errorf("configuration %s, for %s:\n%w", path, join(roles), err)
	}
	return c, nil
}

func (c *Config) fill() {
	if c.Temporal.Namespace == "" {
		c.Temporal.Namespace = "default"
	}
	for i := range c.Gateway.Issuers {
		issuer := &c.Gateway.Issuers[i]
		if issuer.ClientID == "" {
			issuer.ClientID = "waybill-cli"
		}
		if len(issuer.Scopes) == 0 {
			issuer.Scopes = []string{"openid", "profile", "email", "groups"}
		}
	}
}

// resolve makes every path absolute.
func (c *Config) resolve(dir string) {
	paths := []*string{&c.Catalog, &c.Policies, &c.Notary.Key, &c.Gateway.Key}
	for i := range c.Trust.Gateway {
		paths = append(paths, &c.Trust.Gateway[i].PublicKey)
	}
	for i := range c.Trust.Evidence {
		paths = append(paths, &c.Trust.Evidence[i].PublicKey)
	}
	for i := range c.Clusters {
		paths = append(paths, &c.Clusters[i].Kubeconfig)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) && !strings.Contains(*p, "://") {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c *Config) check(roles []Role) error {
	f := &faults{}
	f.need(c.Temporal.Address, "temporal.address", "the frontend's host:port")
	for _, role := range roles {
		switch role {
		case RoleRelease:
			c.checkRelease(f)
		case RoleDeploy:
			c.checkDeploy(f)
		case RoleNotary:
			c.checkNotary(f)
		case RoleGateway:
			c.checkGateway(f)
		default:
			f.add("role %q is unknown; known: release, deploy, notary", role)
		}
	}
	return errors.Join(f.list...)
}

func (c *Config) checkRelease(f *faults) {
	f.need(c.Catalog, "catalog", "the directory of the service files")
	f.need(c.Policies, "policies", "the directory of the OPA bundle")
	f.keys("trust.gateway", c.Trust.Gateway)
	f.keys("trust.evidence", c.Trust.Evidence)
}

func (c *Config) checkDeploy(f *faults) {
	f.keys("trust.evidence", c.Trust.Evidence)
	if len(c.Clusters) == 0 {
		f.add("clusters: want at least one for the deploy role")
	}
	var names []string
	for i, cluster := range c.Clusters {
		at := fmt.Sprintf("clusters[%d].", i)
		if !signals.ValidName(cluster.Name) || slices.Contains(names, cluster.Name) {
			f.add("%sname %q: want a name of its own (lower case letters, digits, dashes)", at, cluster.Name)
		}
		names = append(names, cluster.Name)
		f.url(cluster.Prometheus, at+"prometheus")
	}
}

func (c *Config) checkNotary(f *faults) {
	n := c.Notary
	f.need(n.KeyID, "notary.keyID", "the id that verifiers know the evidence key by")
	f.need(n.Key, "notary.key", "the evidence key's file")
	f.need(n.Bucket, "notary.bucket", "the bucket with Object Lock")
	f.need(n.Region, "notary.region", "the bucket's region")
	if n.Endpoint != "" {
		f.url(n.Endpoint, "notary.endpoint")
	}
	if n.LockMode != "COMPLIANCE" && n.LockMode != "GOVERNANCE" {
		f.add("notary.lockMode %q: want COMPLIANCE or GOVERNANCE", n.LockMode)
	}
	if n.Retention["default"] <= 0 {
		f.add("notary.retention.default: want how long records are kept locked, such as 24h")
	}
	for tier, d := range n.Retention {
		if !slices.Contains([]string{"default", "tier0", "tier1", "tier2"}, tier) {
			f.add("notary.retention.%s: want default, tier0, tier1 or tier2", tier)
		} else if d <= 0 {
			f.add("notary.retention.%s %s: want more than nothing", tier, d)
		}
	}
}

func (c *Config) checkGateway(f *faults) {
	g := c.Gateway
	f.need(g.Listen, "gateway.listen", "the host:port that the API listens on")
	f.url(g.PublicURL, "gateway.publicURL")
	f.need(g.KeyID, "gateway.keyID", "the id that plans pin the gateway's key by")
	f.need(g.Key, "gateway.key", "the gateway's signing key")
	if len(g.Issuers) == 0 {
		f.add("gateway.issuers: want at least one, or nobody can be authenticated")
	}
	for i, issuer := range g.Issuers {
		at := fmt.Sprintf("gateway.issuers[%d].", i)
		f.url(issuer.URL, at+"url")
		f.need(issuer.Audience, at+"audience", "what tokens must name in \"aud\"")
	}
}

// retention is how long each record is locked.
func (c *Config) retention() time.Duration {
	var longest signals.Duration
	for _, d := range c.Notary.Retention {
		longest = max(longest, d)
	}
	return longest.D()
}

// faults collects what is wrong with a configuration.
type faults struct{ list []error }

func (f *faults) add(format string, args ...any) {
	f.list = append(f.list, fmt.Errorf(format, args...))
}

func (f *faults) need(value, field, what string) {
	if value == "" {
		f.add("%s: missing; want %s", field, what)
	}
}

func (f *faults) url(value, field string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		f.add("%s %q: want an http or https URL", field, value)
	}
}

func (f *faults) keys(field string, keys []KeyConfig) {
	if len(keys) == 0 {
		f.add("%s: want at least one public key", field)
	}
	for i, k := range keys {
		f.need(k.ID, fmt.Sprintf("%s[%d].id", field, i), "the key's id")
		f.need(k.PublicKey, fmt.Sprintf("%s[%d].publicKey", field, i), "the path of a PEM file")
	}
}

func join(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}
