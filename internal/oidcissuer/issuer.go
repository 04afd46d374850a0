// Package oidcissuer is the identity provider of the local stack and of tests:
// a real OpenID Connect issuer with one account for each role. Discovery, flows
// and tokens are the work of zitadel/oidc; this package adds the accounts, the
// login form, the directory (SCIM) and storage in memory. It is not for
// production: passwords are kept as they are.
package oidcissuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Config says how an issuer is to be. The zero value of a field means its
// default.
type Config struct {
	// Addr is where to listen (host:port); "" means a free port of loopback.
	Addr string
	// Audience of the tokens; "" means the constant Audience.
	Audience string
	// Lifetime of the tokens; zero means eight hours.
	Lifetime time.Duration
	// Secrets to go by; those that are missing are made.
	Secrets Secrets
}

// Issuer is a running issuer.
type Issuer struct {
	// URL is the issuer as it stands in tokens.
	URL string

	storage *storage
	server  *http.Server
	ended   chan error
}

// Start runs an issuer on addr (host:port, or "" for a free port of loopback)
// with new accounts' passwords. Close ends it.
func Start(addr string) (*Issuer, error) { return StartWith(Config{Addr: addr}) }

// StartWith runs an issuer as cfg says. Close ends it.
func StartWith(cfg Config) (*Issuer, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Audience == "" {
		cfg.Audience = Audience
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 8 * time.Hour
	}
	if _, err := cfg.Secrets.complete(); err != nil {
		return nil, err
	}
	key, err := parseSigningKey(cfg.Secrets.SigningKey)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("OIDC issuer: %w", err)
	}
	i := &Issuer{
		URL: "http://" + listener.Addr().String(),
		storage: &storage{
			audience: cfg.Audience, lifetime: cfg.Lifetime, secrets: cfg.Secrets, people: newPeople(), keys: []signingKey{key},
			logins: map[string]*login{}, devices: map[string]*device{},
		},
		ended: make(chan error, 1),
	}
	handler, err := i.handler()
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	i.server = &http.Server{
		Handler: http.MaxBytesHandler(handler, 64<<10), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	go func() { i.ended <- i.server.Serve(listener) }()
	return i, nil
}

func (i *Issuer) handler() (http.Handler, error) {
	// The key encrypts the codes that are under way; after a restart there are none.
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("OIDC issuer: %w", err)
	}
	provider, err := op.NewProvider(&op.Config{
		CryptoKey:       secret,
		CryptoKeyId:     "codes",
		CodeMethodS256:  true,
		AuthMethodPost:  true,
		SupportedScopes: []string{"openid", "profile", "email", groupsScope},
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: requestTime, PollInterval: time.Second, UserFormPath: devicePath, UserCode: op.UserCodeBase20,
		},
	}, i.storage, op.StaticIssuer(i.URL), op.WithAllowInsecure())
	if err != nil {
		return nil, fmt.Errorf("OIDC issuer: %w", err)
	}
	interceptor := op.NewIssuerInterceptor(provider.IssuerFromRequest)
	mux := http.NewServeMux()
	mux.Handle(loginPath, interceptor.Handler(i.loginPage(provider)))
	mux.HandleFunc(devicePath, i.devicePage)
	mux.Handle(SCIMPath+"/", i.scimHandler())
	mux.Handle("/", provider)
	return mux, nil
}

// RotateKey signs tokens with a new key from now on. Keys used before stay
// published, so that tokens signed with them remain good.
func (i *Issuer) RotateKey() error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	i.storage.rotate(key)
	return nil
}

// Close ends the issuer and the requests under way.
func (i *Issuer) Close() error {
	if err := i.server.Close(); err != nil {
		return fmt.Errorf("OIDC issuer: %w", err)
	}
	return i.Wait()
}

// Wait blocks until the issuer has ended; an end by Close is no error.
func (i *Issuer) Wait() error {
	err := <-i.ended
	i.ended <- err
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("OIDC issuer: %w", err)
}

// Shutdown ends the issuer once the requests under way are answered.
func (i *Issuer) Shutdown(ctx context.Context) error {
	if err := i.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("OIDC issuer: %w", err)
	}
	return i.Wait()
}
