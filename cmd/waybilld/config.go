package main

import (
	"errors"
	"fmt"
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
	// Directory is where people are looked up; none if it has no URL.
	Directory DirectoryConfig `json:"directory"`
	// Slack is where the notify role tells people.
	Slack SlackWorkerConfig `json:"slack"`
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

// KeyConfig is one public key: PublicKey is the path of a PEM file. Signatures by
// it count from NotBefore until NotAfter; an end that is left out is open.
type KeyConfig struct {
	ID        string    `json:"id"`
	PublicKey string    `json:"publicKey"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

// DirectoryConfig is the company's directory, a SCIM 2.0 service that lists the
// subjects of Issuer. Token is the path of a file with a bearer token.
type DirectoryConfig struct {
	URL    string `json:"url"`
	Token  string `json:"token"`
	Issuer string `json:"issuer"`
	// Subject is the attribute that holds the subject: externalId (as if empty),
	// id or userName.
	Subject string `json:"subject"`
	// Cache is how long an answer counts; a minute if 0.
	Cache signals.Duration `json:"cache"`
}

// SlackWorkerConfig is the app that tells people in Slack. BotToken is the path
// of a file; APIURL is Slack's own if empty; Gateway is the public URL of the
// gateway, which messages link to.
type SlackWorkerConfig struct {
	BotToken string `json:"botToken"`
	APIURL   string `json:"apiURL"`
	Gateway  string `json:"gateway"`
}

func (s SlackWorkerConfig) check(f *faults) {
	f.need(s.BotToken, "slack.botToken", "the path of a file with the app's bot token")
	if s.APIURL != "" {
		f.url(s.APIURL, "slack.apiURL")
	}
	f.url(s.Gateway, "slack.gateway")
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

// Role is a part of the daemon's work that runs with its own credentials.
type Role string

// The roles. A gateway runs by its own command, the others by `worker --roles`.
const (
	RoleRelease Role = "release"
	RoleDeploy  Role = "deploy"
	RoleNotary  Role = "notary"
	RoleNotify  Role = "notify"
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
	c.Gateway.fill()
}

// resolve makes every path absolute.
func (c *Config) resolve(dir string) {
	paths := append([]*string{&c.Catalog, &c.Policies, &c.Notary.Key, &c.Directory.Token, &c.Slack.BotToken}, c.Gateway.paths()...)
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
	c.Directory.check(f)
	for _, role := range roles {
		switch role {
		case RoleRelease:
			c.checkRelease(f)
		case RoleDeploy:
			c.checkDeploy(f)
		case RoleNotary:
			c.checkNotary(f)
		case RoleNotify:
			c.Slack.check(f)
		case RoleGateway:
			c.Gateway.check(f, c.Directory)
		default:
			f.add("role %q is unknown; known: release, deploy, notary, notify", role)
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

func (d DirectoryConfig) check(f *faults) {
	if d == (DirectoryConfig{}) {
		return
	}
	f.url(d.URL, "directory.url")
	f.need(d.Token, "directory.token", "the path of a file with the directory's bearer token")
	f.url(d.Issuer, "directory.issuer")
}

// retention is how long each record is locked.
func (c *Config) retention() time.Duration {
	var longest signals.Duration
	for _, d := range c.Notary.Retention {
		longest = max(longest, d)
	}
	return longest.D()
}
