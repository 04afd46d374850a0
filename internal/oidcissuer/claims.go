package oidcissuer

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// claims are what tokens say about an account beyond its subject.
func (s *storage) claims(id string) map[string]any {
	account, ok := s.people.get(id)
	if !ok {
		return nil
	}
	return map[string]any{
		"groups": account.Groups, "name": account.ID, "preferred_username": account.ID,
		"email": account.Email(), "email_verified": true,
	}
}

// GetPrivateClaimsFromRequest adds to an access token what an ID token has too:
// who it is, and how and when they authenticated.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, request op.TokenRequest, _ []string) (map[string]any, error) {
	out := s.claims(request.GetSubject())
	if authenticated, ok := request.(op.IDTokenRequest); ok {
		out["auth_time"] = authenticated.GetAuthTime().Unix()
		out["amr"] = authenticated.GetAMR()
		out["acr"] = ACRPassword
		if how, ok := request.(op.AuthRequest); ok {
			out["acr"] = how.GetACR()
		}
	}
	return out, nil
}

// GetPrivateClaimsFromScopes is what a token without a request says.
func (s *storage) GetPrivateClaimsFromScopes(_ context.Context, subject, _ string, _ []string) (map[string]any, error) {
	return s.claims(subject), nil
}

// SetUserinfoFromRequest fills an ID token.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, _ []string) error {
	s.setUserinfo(info, request.GetSubject())
	return nil
}

func (s *storage) setUserinfo(info *oidc.UserInfo, subject string) {
	info.Subject = subject
	for name, value := range s.claims(subject) {
		info.AppendClaims(name, value)
	}
}

// SetUserinfoFromScopes is left empty, as the library asks.
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromToken answers the userinfo endpoint.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	s.setUserinfo(info, subject)
	return nil
}

// StoreDeviceAuthorization begins a device's login.
func (s *storage) StoreDeviceAuthorization(_ context.Context, clientID, deviceCode, userCode string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, old := range s.devices {
		if time.Now().After(old.state.Expires) {
			delete(s.devices, code)
		} else if old.userCode == userCode {
			return op.ErrDuplicateUserCode
		}
	}
	s.devices[deviceCode] = &device{userCode: userCode, state: op.DeviceAuthorizationState{
		ClientID: clientID, Audience: []string{s.audience}, Scopes: scopes, Expires: expires,
	}}
	return nil
}

// GetDeviceAuthorizatonState tells a device how its login stands.
func (s *storage) GetDeviceAuthorizatonState(_ context.Context, clientID, deviceCode string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.devices[deviceCode]
	if !ok || d.state.ClientID != clientID {
		return nil, errors.New("unknown device code")
	}
	state := d.state
	if state.Done {
		// A device code is good for one token.
		delete(s.devices, deviceCode)
	}
	return &state, nil
}

// decideDevice records the answer of a person who logged in for a device.
func (s *storage) decideDevice(userCode, account string, allow bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.userCode != userCode || d.state.Done || d.state.Denied || time.Now().After(d.state.Expires) {
			continue
		}
		d.state.Done, d.state.Denied = allow, !allow
		d.state.Subject, d.state.AMR, d.state.AuthTime = account, amr(ACRPassword), time.Now()
		return nil
	}
	return errNoRequest
}

var errUnsupported = errors.New("not offered by the local issuer")

// CreateAccessAndRefreshTokens is not offered: tokens last a working day.
func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errUnsupported
}

// TokenRequestByRefreshToken is not offered.
func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errUnsupported
}

// GetRefreshTokenInfo knows no refresh tokens.
func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// TerminateSession has nothing to end: there are no sessions.
func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

// RevokeToken is not offered: tokens are self-contained.
func (s *storage) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return oidc.ErrInvalidRequest().WithDescription("access tokens of the local issuer can't be revoked: they run out")
}

// SetIntrospectionFromToken is not offered.
func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errUnsupported
}

// GetKeyByIDAndClientID is not offered: no client signs assertions.
func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errUnsupported
}

// ValidateJWTProfileScopes is not offered.
func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errUnsupported
}
