package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/waybill-dev/waybill/signals"
)

// Issuer is an OpenID Connect issuer whose tokens are accepted. One URL may be
// listed several times, for tokens that are told apart by audience or by required
// claims and that give different groups.
type Issuer struct {
	// URL is the issuer exactly as tokens name it in "iss".
	URL string
	// Audience must stand in a token's "aud".
	Audience string
	// GroupsClaim is short for Claims.Groups.
	GroupsClaim string
	// Claims says what its tokens' claims mean.
	Claims Claims
	// Groups are what everybody is in whom this issuer knows, beside those that
	// the token lists.
	Groups []string
}

// Identity is who a verified token speaks for and how that became known.
// Channel is left to the caller, who knows by which way the token came.
type Identity struct {
	Subject signals.Subject
	Authn   signals.Authentication
}

// ErrToken means that a token was refused: the caller must authenticate anew.
var ErrToken = errors.New("token refused")

// ErrIssuer means that the issuer's keys could not be had, so that nothing can
// be said about the token. Trying again later may help.
var ErrIssuer = errors.New("identity provider can't be reached")

// signingAlgorithms are the signatures a token may carry: asymmetric ones only.
var signingAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// fetchTimeout bounds each request to an issuer (discovery, keys); a failed
// discovery is answered from memory for retryPause, so that an issuer that
// hangs doesn't make every caller wait in line.
const (
	fetchTimeout = 5 * time.Second
	retryPause   = time.Second
)

// Verifier verifies bearer tokens of a fixed set of issuers. An issuer's keys
// are fetched when first needed and again when a token names an unknown key, so
// an issuer may start later than the gateway and may rotate its keys.
type Verifier struct {
	issuers map[string][]*lazyIssuer
	client  *http.Client
	now     func() time.Time
}

type lazyIssuer struct {
	Issuer
	mu       sync.Mutex
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	failed   error
	retryAt  time.Time
}

// newIssuer fills in the defaults and checks what is left to the operator.
func newIssuer(i Issuer) (*lazyIssuer, error) {
	if i.URL == "" || i.Audience == "" {
		return nil, fmt.Errorf("issuer %q: url and audience are both needed", i.URL)
	}
	var err error
	if i.Claims, err = i.Claims.complete(i.GroupsClaim); err != nil {
		return nil, fmt.Errorf("issuer %q: %w", i.URL, err)
	}
	return &lazyIssuer{Issuer: i}, nil
}

// NewVerifier accepts tokens of these issuers, judged by the clock now. Where
// several entries have the same URL, the first that accepts a token counts.
func NewVerifier(issuers []Issuer, now func() time.Time) (*Verifier, error) {
	v := &Verifier{
		issuers: make(map[string][]*lazyIssuer, len(issuers)),
		client:  &http.Client{Timeout: fetchTimeout},
		now:     now,
	}
	for _, i := range issuers {
		issuer, err := newIssuer(i)
		if err != nil {
			return nil, err
		}
		v.issuers[i.URL] = append(v.issuers[i.URL], issuer)
	}
	return v, nil
}

// Verify checks a token's signature, issuer, audience, times and required claims,
// and returns who it speaks for. The error wraps ErrToken or ErrIssuer.
func (v *Verifier) Verify(ctx context.Context, raw string) (Identity, error) {
	claimed, err := unverifiedIssuer(raw)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	entries := v.issuers[claimed]
	if len(entries) == 0 {
		return Identity{}, fmt.Errorf("%w: it was issued by %q, which is not among the accepted issuers", ErrToken, claimed)
	}
	var faults []error
	for _, issuer := range entries {
		id, err := issuer.verify(oidc.ClientContext(ctx, v.client), raw, v.now)
		if err == nil {
			return id, nil
		}
		if errors.Is(err, ErrIssuer) {
			return Identity{}, err
		}
		faults = append(faults, err)
	}
	return Identity{}, errors.Join(faults...)
}

func (i *lazyIssuer) verify(ctx context.Context, raw string, now func() time.Time) (Identity, error) {
	_, verifier, err := i.get(ctx, now)
	if err != nil {
		return Identity{}, err
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return Identity{}, classify(i.URL, err)
	}
	return i.identity(token)
}

// get discovers the issuer on first use. The error wraps ErrIssuer.
func (i *lazyIssuer) get(ctx context.Context, now func() time.Time) (*oidc.Provider, *oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.provider, i.verifier, nil
	}
	if i.failed != nil && now().Before(i.retryAt) {
		return nil, nil, i.failed
	}
	// Whoever comes first fetches for all; its own hanging up must not count
	// as the issuer's failure.
	provider, err := oidc.NewProvider(context.WithoutCancel(ctx), i.URL)
	if err != nil {
		i.failed, i.retryAt = fmt.Errorf("%w: %s: %w", ErrIssuer, i.URL, err), now().Add(retryPause)
		return nil, nil, i.failed
	}
	i.provider = provider
	i.verifier = provider.VerifierContext(context.WithoutCancel(ctx),
		&oidc.Config{ClientID: i.Audience, SupportedSigningAlgs: signingAlgorithms, Now: now})
	return i.provider, i.verifier, nil
}

// classify tells a bad token from keys that could not be fetched.
func classify(issuer string, err error) error {
	// go-oidc marks the failed fetch by its text alone.
	if strings.Contains(err.Error(), "fetching keys") {
		return fmt.Errorf("%w: %s: %w", ErrIssuer, issuer, err)
	}
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return fmt.Errorf("%w: it expired at %s; log in again", ErrToken, expired.Expiry.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("%w: %w", ErrToken, err)
}

// unverifiedIssuer reads "iss" to choose the verifier, which then checks it.
func unverifiedIssuer(raw string) (string, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", errors.New("it is not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("its payload is not base64")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return "", errors.New("its payload is not JSON")
	}
	return claims.Issuer, nil
}
