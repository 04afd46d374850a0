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

// Audience is whom tokens are for: Waybill's gateway.
const Audience = "waybill"

// redirectPath is where the code comes back, on any port of loopback.
const redirectPath = "/callback"

// client is one registered client; it is op.Client.
type client struct {
	id       string
	machine  bool
	lifetime time.Duration
}

func (c client) GetID() string { return c.id }

func (c client) RedirectURIs() []string {
	if c.machine {
		return nil
	}
	return []string{"http://127.0.0.1" + redirectPath, "http://localhost" + redirectPath}
}

func (c client) PostLogoutRedirectURIs() []string { return nil }

func (c client) ApplicationType() op.ApplicationType {
	if c.machine {
		return op.ApplicationTypeWeb
	}
	return op.ApplicationTypeNative
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.machine {
		return oidc.AuthMethodBasic
	}
	return oidc.AuthMethodNone
}

func (c client) ResponseTypes() []oidc.ResponseType {
	if c.machine {
		return nil
	}
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c client) GrantTypes() []oidc.GrantType {
	if c.machine {
		return []oidc.GrantType{oidc.GrantTypeClientCredentials}
	}
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeDeviceCode}
}

func (c client) LoginURL(request string) string                               { return loginPath + "?id=" + url.QueryEscape(request) }
func (c client) AccessTokenType() op.AccessTokenType                          { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration                               { return c.lifetime }
func (c client) DevMode() bool                                                { return false }
func (c client) IsScopeAllowed(scope string) bool                             { return scope == groupsScope }
func (c client) IDTokenUserinfoClaimsAssertion() bool                         { return true }
func (c client) ClockSkew() time.Duration                                     { return 0 }
func allScopes(scopes []string) []string                                      { return scopes }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return allScopes }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return allScopes }
