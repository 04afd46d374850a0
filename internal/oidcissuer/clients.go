package oidcissuer

import (
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ClientID is the public client that people's tools log in with, by code with
// PKCE or by device flow.
const ClientID = "waybill-cli"

// WebClientID is the confidential client of the gateway's page for decisions: by
// code with PKCE and Secrets.Web. Codes go to WebRedirectPath on loopback.
const (
	WebClientID     = "waybill-gateway"
	WebRedirectPath = "/login/callback"
)

// Audience is whom tokens are for: Waybill's gateway.
const Audience = "waybill"

// redirectPath is where the code comes back, on any port of loopback.
const redirectPath = "/callback"

// kind tells clients apart.
type kind int

const (
	tool    kind = iota // on a person's machine: can keep no secret
	web                 // a server that people's browsers log in to
	machine             // an account of its own
)

// client is one registered client; it is op.Client.
type client struct {
	id       string
	kind     kind
	lifetime time.Duration
}

// GetID is the client_id.
func (c client) GetID() string { return c.id }

// RedirectURIs are where codes may be sent.
func (c client) RedirectURIs() []string {
	path := redirectPath
	switch c.kind {
	case machine:
		return nil
	case web:
		path = WebRedirectPath
	case tool:
	}
	return []string{"http://127.0.0.1" + path, "http://localhost" + path}
}

// PostLogoutRedirectURIs are none: there is no logout.
func (c client) PostLogoutRedirectURIs() []string { return nil }

// ApplicationType is native for all that redirect to loopback, so that they may
// use any port.
func (c client) ApplicationType() op.ApplicationType {
	if c.kind == machine {
		return op.ApplicationTypeWeb
	}
	return op.ApplicationTypeNative
}

// AuthMethod is none for people's tools, which can keep no secret.
func (c client) AuthMethod() oidc.AuthMethod {
	if c.kind == tool {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

// ResponseTypes allows codes only.
func (c client) ResponseTypes() []oidc.ResponseType {
	if c.kind == machine {
		return nil
	}
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

// GrantTypes are the flows open to the client.
func (c client) GrantTypes() []oidc.GrantType {
	switch c.kind {
	case machine:
		return []oidc.GrantType{oidc.GrantTypeClientCredentials}
	case web:
		return []oidc.GrantType{oidc.GrantTypeCode}
	case tool:
	}
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeDeviceCode}
}

// LoginURL is the form for an authorization request.
func (c client) LoginURL(request string) string { return loginPath + "?id=" + url.QueryEscape(request) }

// AccessTokenType is a JWT, which the gateway can verify by itself.
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// IDTokenLifetime is that of access tokens.
func (c client) IDTokenLifetime() time.Duration { return c.lifetime }

// DevMode is off: redirects are checked.
func (c client) DevMode() bool { return false }

// IsScopeAllowed allows the one scope beyond the standard ones.
func (c client) IsScopeAllowed(scope string) bool { return scope == groupsScope }

// IDTokenUserinfoClaimsAssertion puts name and groups into ID tokens too.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }

// ClockSkew is none on one machine.
func (c client) ClockSkew() time.Duration { return 0 }
func allScopes(scopes []string) []string  { return scopes }

// RestrictAdditionalIdTokenScopes keeps all scopes.
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:staticcheck // the interface spells it so
	return allScopes
}

// RestrictAdditionalAccessTokenScopes keeps all scopes.
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return allScopes }
