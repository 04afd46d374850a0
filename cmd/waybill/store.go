package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/oauth2"
)

// store is the file that keeps logins, readable by its owner only.
type store struct {
	path string
	// Current is the gateway that was logged in to last.
	Current string           `json:"current,omitempty"`
	Logins  map[string]login `json:"logins,omitempty"` // by gateway
}

// login is one stored login with what it takes to renew it.
type login struct {
	Issuer   string        `json:"issuer"`
	ClientID string        `json:"clientId"`
	TokenURL string        `json:"tokenUrl"`
	Token    *oauth2.Token `json:"token"`
}

func openStore() (*store, error) {
	s := &store{path: credentials(), Logins: map[string]login{}}
	if s.path == "" {
		return s, nil
	}
	raw, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("stored logins: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(raw, s); err != nil {
			return nil, fmt.Errorf("stored logins in %s are damaged (remove the file and log in again): %w", s.path, err)
		}
	}
	if s.Logins == nil {
		s.Logins = map[string]login{}
	}
	return s, nil
}

// credentials is the file that keeps logins, "" if the user has no home. Without
// one nothing is stored; a token can still be given.
func credentials() string {
	if home := os.Getenv("WAYBILL_HOME"); home != "" {
		return filepath.Join(home, "credentials.json")
	}
	if config, err := os.UserConfigDir(); err == nil {
		return filepath.Join(config, "waybill", "credentials.json")
	}
	return ""
}

// save replaces the file in one step, so that it is never half written.
func (s *store) save() error {
	if s.path == "" {
		return errors.New("there is no home directory to keep a login in; set WAYBILL_HOME")
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("keep login: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("keep login: %w", err)
	}
	// CreateTemp makes the file with mode 0600.
	file, err := os.CreateTemp(filepath.Dir(s.path), ".credentials-*")
	if err != nil {
		return fmt.Errorf("keep login: %w", err)
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep login: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// tokenSource finds the bearer token for each call: a file, which may be
// renewed by others meanwhile, the environment, or the stored login.
func (a *app) tokenSource(s *store, gateway string) func(context.Context) (string, error) {
	if a.tokenFile != "" {
		return func(context.Context) (string, error) {
			raw, err := os.ReadFile(a.tokenFile)
			if err != nil {
				return "", failed(exitAuth, fmt.Errorf("token: %w", err))
			}
			return strings.TrimSpace(string(raw)), nil
		}
	}
	if token := os.Getenv("WAYBILL_TOKEN"); token != "" {
		return func(context.Context) (string, error) { return token, nil }
	}
	return func(ctx context.Context) (string, error) { return s.token(ctx, gateway) }
}

// token is the stored login's token, renewed if it has expired and can be.
func (s *store) token(ctx context.Context, gateway string) (string, error) {
	l, ok := s.Logins[gateway]
	if !ok || l.Token == nil {
		return "", failed(exitAuth, fmt.Errorf("not logged in at %s; log in with: waybill login --gateway %s", gateway, gateway))
	}
	config := oauth2.Config{ClientID: l.ClientID, Endpoint: oauth2.Endpoint{TokenURL: l.TokenURL, AuthStyle: oauth2.AuthStyleInParams}}
	token, err := config.TokenSource(ctx, l.Token).Token()
	if err != nil {
		return "", failed(exitAuth, fmt.Errorf("the login at %s has expired; log in again with: waybill login --gateway %s", gateway, gateway))
	}
	if token.AccessToken != l.Token.AccessToken {
		l.Token = token
		s.Logins[gateway] = l
		if err := s.save(); err != nil {
			return "", err
		}
	}
	return token.AccessToken, nil
}
