package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// GatewayConfig is the HTTP API, its signing keys and whom it believes.
type GatewayConfig struct {
	Listen    string `json:"listen"`
	PublicURL string `json:"publicURL"`
	// Keys sign every statement, each of them: while keys are rotated, releases
	// that pinned the old one and those that pinned the new one both find theirs.
	// KeyID and Key are the short form for one.
	Keys    []SigningKeyConfig `json:"keys"`
	KeyID   string             `json:"keyID"`
	Key     string             `json:"key"` // path of a PKCS #8 PEM file
	Issuers []IssuerConfig     `json:"issuers"`
	// Operators are the groups whose members may command any release and lane; a
	// release's own requester may always abort it. A catalog entry can narrow this.
	Operators []string `json:"operators"`
	// Docs serves a page for trying out the API at /docs. It loads scripts from
	// elsewhere, so it is off unless asked for.
	Docs bool `json:"docs"`
	// Login is the client of the page where decisions are made that ask for a
	// fresh login; without, there is no such page.
	Login *LoginConfig `json:"login"`
	Rate  RatesConfig  `json:"rate"`
	// Proxies are the networks (CIDR) of the reverse proxies in front of the
	// gateway, whose X-Forwarded-For is believed.
	Proxies []string `json:"proxies"`
	// Slack lets people decide in Slack; without, they can't.
	Slack *SlackConfig `json:"slack"`
}

// SigningKeyConfig is one signing key: Key is the path of a PKCS #8 PEM file.
type SigningKeyConfig struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// IssuerConfig is one OpenID Connect issuer. A URL may be listed several times,
// for tokens that are told apart by audience or by claims that they must have.
type IssuerConfig struct {
	URL      string `json:"url"`
	Audience string `json:"audience"`
	// GroupsClaim is the claim that lists groups, "groups" if empty.
	GroupsClaim string `json:"groupsClaim"`
	// Claims says what its tokens' claims mean.
	Claims ClaimsConfig `json:"claims"`
	// Groups are those that everybody is in whom this issuer knows.
	Groups []string `json:"groups"`
	// ClientID is the public client that `waybill login` uses, "waybill-cli" if
	// empty, and Scopes what it asks for.
	ClientID string   `json:"clientID"`
	Scopes   []string `json:"scopes"`
}

// ClaimsConfig names the claims that hold what is known of a subject. Require
// maps claims to values or patterns of which one must be there.
type ClaimsConfig struct {
	Subject string              `json:"subject"`
	Name    string              `json:"name"`
	Email   string              `json:"email"`
	Groups  string              `json:"groups"`
	Require map[string][]string `json:"require"`
}

// LoginConfig is the gateway's own client at the identity provider. Its redirect
// URL there is publicURL + "/login/callback".
type LoginConfig struct {
	Issuer       string `json:"issuer"` // one of gateway.issuers
	ClientID     string `json:"clientID"`
	ClientSecret string `json:"clientSecret"` // path
	// Scopes to ask for; openid, profile and email if empty.
	Scopes []string `json:"scopes"`
	// ACR are the kinds of login of which one is demanded.
	ACR []string `json:"acr"`
	// MaxAge is how long a login is good for decisions; five minutes if 0.
	MaxAge signals.Duration `json:"maxAge"`
}

// RatesConfig bounds the calls of one subject and of one address.
type RatesConfig struct {
	Subject RateConfig `json:"subject"`
	Address RateConfig `json:"address"`
}

// RateConfig is how many calls per second are served in the long run, and how
// many at once.
type RateConfig struct {
	PerSecond float64 `json:"perSecond"`
	Burst     int     `json:"burst"`
}

// SlackConfig is the Slack app of the gateway. The tokens and the secret are
// paths of files.
type SlackConfig struct {
	Mode          string   `json:"mode"` // http (as if empty) or socket
	BotToken      string   `json:"botToken"`
	SigningSecret string   `json:"signingSecret"` // for http
	AppToken      string   `json:"appToken"`      // for socket
	Teams         []string `json:"teams"`         // workspaces whose members may decide
	App           string   `json:"app"`           // the app's id
	APIURL        string   `json:"apiURL"`        // "" is Slack's own
}

func (g *GatewayConfig) fill() {
	g.PublicURL = strings.TrimSuffix(g.PublicURL, "/")
	if len(g.Keys) == 0 && (g.Key != "" || g.KeyID != "") {
		g.Keys = []SigningKeyConfig{{ID: g.KeyID, Key: g.Key}}
	}
	for i := range g.Issuers {
		issuer := &g.Issuers[i]
		if issuer.ClientID == "" {
			issuer.ClientID = "waybill-cli"
		}
		if len(issuer.Scopes) == 0 {
			issuer.Scopes = []string{"openid", "profile", "email", "groups"}
		}
	}
	for rate, usual := range map[*RateConfig]RateConfig{&g.Rate.Subject: {50, 200}, &g.Rate.Address: {200, 1000}} {
		if *rate == (RateConfig{}) {
			*rate = usual
		}
	}
	if g.Login != nil && g.Login.MaxAge == 0 {
		g.Login.MaxAge = signals.Duration(5 * time.Minute)
	}
	if g.Slack != nil && g.Slack.Mode == "" {
		g.Slack.Mode = slackHTTP
	}
}

// The ways in which Slack reaches the gateway.
const (
	slackHTTP   = "http"
	slackSocket = "socket"
)

// paths are the fields that name files.
func (g *GatewayConfig) paths() []*string {
	var paths []*string
	for i := range g.Keys {
		paths = append(paths, &g.Keys[i].Key)
	}
	if g.Login != nil {
		paths = append(paths, &g.Login.ClientSecret)
	}
	if g.Slack != nil {
		paths = append(paths, &g.Slack.BotToken, &g.Slack.SigningSecret, &g.Slack.AppToken)
	}
	return paths
}

func (g *GatewayConfig) check(f *faults, directory DirectoryConfig) {
	f.need(g.Listen, "gateway.listen", "the host:port that the API listens on")
	f.url(g.PublicURL, "gateway.publicURL")
	if len(g.Keys) == 0 {
		f.add("gateway.keys: want at least one signing key")
	}
	if g.Key != "" && (len(g.Keys) != 1 || g.Keys[0].ID != g.KeyID) {
		f.add("gateway.key: it is short for one of gateway.keys; give one of them")
	}
	for i, k := range g.Keys {
		f.need(k.ID, fmt.Sprintf("gateway.keys[%d].id", i), "the id that plans pin the gateway's key by")
		f.need(k.Key, fmt.Sprintf("gateway.keys[%d].key", i), "the path of the gateway's signing key")
	}
	if len(g.Issuers) == 0 {
		f.add("gateway.issuers: want at least one, or nobody can be authenticated")
	}
	for i, issuer := range g.Issuers {
		at := fmt.Sprintf("gateway.issuers[%d].", i)
		f.url(issuer.URL, at+"url")
		f.need(issuer.Audience, at+"audience", "what tokens must name in \"aud\"")
		if issuer.GroupsClaim != "" && issuer.Claims.Groups != "" {
			f.add("%sgroupsClaim: it is short for claims.groups; give one of them", at)
		}
	}
	for field, rate := range map[string]RateConfig{"subject": g.Rate.Subject, "address": g.Rate.Address} {
		if rate.PerSecond <= 0 || rate.Burst < 1 {
			f.add("gateway.rate.%s: want perSecond above 0 and burst of at least 1", field)
		}
	}
	for i, network := range g.Proxies {
		if _, err := netip.ParsePrefix(network); err != nil {
			f.add("gateway.proxies[%d] %q: want a network such as 10.0.0.0/8", i, network)
		}
	}
	g.checkLogin(f)
	g.checkSlack(f, directory)
}

func (g *GatewayConfig) checkLogin(f *faults) {
	if g.Login == nil {
		return
	}
	if _, ok := g.issuer(g.Login.Issuer); !ok {
		f.add("gateway.login.issuer %q: want the URL of one of gateway.issuers, or whoever logs in is somebody else than with a token", g.Login.Issuer)
	}
	f.need(g.Login.ClientID, "gateway.login.clientID", "the gateway's client at the issuer")
	f.need(g.Login.ClientSecret, "gateway.login.clientSecret", "the path of a file with the client's secret")
	if g.Login.MaxAge < 0 {
		f.add("gateway.login.maxAge %s: want more than nothing", g.Login.MaxAge)
	}
}

func (g *GatewayConfig) issuer(url string) (IssuerConfig, bool) {
	for _, issuer := range g.Issuers {
		if issuer.URL == url {
			return issuer, true
		}
	}
	return IssuerConfig{}, false
}

func (g *GatewayConfig) checkSlack(f *faults, directory DirectoryConfig) {
	s := g.Slack
	if s == nil {
		return
	}
	f.need(s.BotToken, "gateway.slack.botToken", "the path of a file with the app's bot token")
	if len(s.Teams) == 0 {
		f.add("gateway.slack.teams: want the ids of the workspaces whose members may decide")
	}
	f.need(s.App, "gateway.slack.app", "the app's id")
	if directory.URL == "" {
		f.add("directory.url: missing; Slack's members count as whom the directory knows by their e-mail address")
	}
	switch s.Mode {
	case slackHTTP:
		f.need(s.SigningSecret, "gateway.slack.signingSecret", "the path of a file with the app's signing secret")
	case slackSocket:
		f.need(s.AppToken, "gateway.slack.appToken", "the path of a file with the app-level token")
	default:
		f.add("gateway.slack.mode %q: want %s or %s", s.Mode, slackHTTP, slackSocket)
	}
	if s.APIURL != "" {
		f.url(s.APIURL, "gateway.slack.apiURL")
	}
}
