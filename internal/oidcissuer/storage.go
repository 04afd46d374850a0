package oidcissuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	groupsScope = "groups"
	// requestTime is how long somebody may take to log in.
	requestTime = 10 * time.Minute
)

// The kinds of login (acr): with a password, and with a code of a second factor
// besides, which is asked for if a request's acr_values names it.
const (
	ACRPassword = "urn:waybill:acr:password" //nolint:gosec // the name of a method, not a password
	ACRMFA      = "urn:waybill:acr:mfa"
)

// amr are the means of a kind of login.
func amr(acr string) []string {
	if acr == ACRMFA {
		return []string{"pwd", "otp", "mfa"}
	}
	return []string{"pwd"}
}

var (
	_ op.Storage                        = (*storage)(nil)
	_ op.ClientCredentialsStorage       = (*storage)(nil)
	_ op.DeviceAuthorizationStorage     = (*storage)(nil)
	_ op.CanGetPrivateClaimsFromRequest = (*storage)(nil)
	_ op.CanSetUserinfoFromRequest      = (*storage)(nil)
)

// storage keeps in memory what is under way. Access tokens are self-contained
// and are not kept.
type storage struct {
	audience string
	lifetime time.Duration
	secrets  Secrets
	people   *people

	mu      sync.Mutex
	keys    []signingKey // the last one signs
	logins  map[string]*login
	devices map[string]*device // by device code
}

// login is one authorization request on its way; it is op.AuthRequest.
type login struct {
	*oidc.AuthRequest
	id       string
	audience string
	begun    time.Time
	code     string
	subject  string
	acr      string
	at       time.Time
}

// GetID is the request's own id.
func (l *login) GetID() string { return l.id }

// GetACR says how strong the login was.
func (l *login) GetACR() string { return l.acr }

// GetAMR says by what means it was made.
func (l *login) GetAMR() []string { return amr(l.acr) }

// GetAudience is whom the tokens are for: the gateway, and the client itself.
func (l *login) GetAudience() []string { return []string{l.audience, l.ClientID} }

// GetAuthTime is when the person logged in.
func (l *login) GetAuthTime() time.Time { return l.at }

// GetClientID is who asked.
func (l *login) GetClientID() string { return l.ClientID }

// GetNonce goes into the ID token.
func (l *login) GetNonce() string { return l.Nonce }

// GetScopes are those asked for.
func (l *login) GetScopes() []string { return l.Scopes }

// GetSubject is who logged in, "" before that.
func (l *login) GetSubject() string { return l.subject }

// Done tells whether somebody logged in.
func (l *login) Done() bool { return l.subject != "" }

// GetResponseMode is the one asked for.
func (l *login) GetResponseMode() oidc.ResponseMode { return l.ResponseMode }

// GetCodeChallenge is what the code's verifier must hash to.
func (l *login) GetCodeChallenge() *oidc.CodeChallenge {
	if l.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: l.CodeChallenge, Method: l.CodeChallengeMethod}
}

// device is one device authorization on its way.
type device struct {
	userCode string
	state    op.DeviceAuthorizationState
}

// needsCode tells whether a second factor was asked for.
func (l *login) needsCode() bool { return slices.Contains(l.ACRValues, ACRMFA) }

// CreateAuthRequest begins a login. There are no sessions: everybody logs in
// every time, which is what prompt=login and any max_age ask for.
func (s *storage) CreateAuthRequest(_ context.Context, request *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if request.CodeChallenge == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("this issuer demands PKCE: send a code_challenge")
	}
	if len(request.Prompt) == 1 && request.Prompt[0] == oidc.PromptNone {
		return nil, oidc.ErrLoginRequired()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.logins {
		if time.Since(old.begun) > requestTime {
			delete(s.logins, id)
		}
	}
	l := &login{AuthRequest: request, id: rand.Text(), audience: s.audience, begun: time.Now()}
	s.logins[l.id] = l
	return l, nil
}

// asksForCode tells whether the login under way wants a second factor.
func (s *storage) asksForCode(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	return ok && l.needsCode()
}

// loggedIn notes who logged in for an authorization request, and how.
func (s *storage) loggedIn(id, account, acr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok || l.Done() {
		return errNoRequest
	}
	l.subject, l.acr, l.at = account, acr, time.Now()
	return nil
}

var errNoRequest = errors.New("there is no such login under way: it was used already or took too long; start again")

// AuthRequestByID finds a login under way.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok {
		return nil, errNoRequest
	}
	copied := *l
	return &copied, nil
}

// AuthRequestByCode finds the login that a code was given for.
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logins {
		if l.code != "" && l.code == code {
			copied := *l
			return &copied, nil
		}
	}
	return nil, errNoRequest
}

// SaveAuthCode notes the code given for a login.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok {
		return errNoRequest
	}
	l.code = code
	return nil
}

// DeleteAuthRequest ends a login, and with it its code.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.logins, id)
	return nil
}

// CreateAccessToken gives a new token its id and its end.
func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(s.lifetime), nil
}

// SigningKey is the newest key.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *storage) rotate(key signingKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
}

// KeySet is every key that a good token may be signed with.
func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]op.Key, 0, len(s.keys))
	for _, key := range s.keys {
		keys = append(keys, publicKey{key})
	}
	return keys, nil
}

// SignatureAlgorithms is the one in use.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// GetClientByClientID finds the people's client, or a machine account's.
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	switch account, ok := find(id); {
	case id == ClientID:
		return client{id: id, kind: tool, lifetime: s.lifetime}, nil
	case id == WebClientID:
		return client{id: id, kind: web, lifetime: s.lifetime}, nil
	case ok && account.Machine:
		return client{id: id, kind: machine, lifetime: s.lifetime}, nil
	}
	return nil, fmt.Errorf("no client %q", id)
}

// AuthorizeClientIDSecret checks the secret of a machine account or of the
// gateway's client.
func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id == WebClientID && same(s.secrets.Web, secret) {
		return nil
	}
	if account, ok := find(id); !ok || !account.Machine || !s.secrets.check(id, secret) {
		return errors.New("unknown client or wrong secret")
	}
	return nil
}

// ClientCredentials logs a machine account in.
func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest says what a machine account's token holds.
func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{s.audience}, Scopes: scopes}, nil
}

// Health is always good in memory.
func (s *storage) Health(context.Context) error { return nil }
