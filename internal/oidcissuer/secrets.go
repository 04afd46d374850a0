package oidcissuer

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pquerna/otp/totp"
)

// Secrets is what an issuer must keep to be the same issuer after a restart.
type Secrets struct {
	// Passwords and Seconds are the accounts' passwords, and the secrets of their
	// second factors (TOTP, base32).
	Passwords map[string]string `json:"passwords"`
	Seconds   map[string]string `json:"secondFactors"`
	// SigningKey is an RSA key, PKCS #8 PEM.
	SigningKey string `json:"signingKey"`
	// Web is the secret of the client WebClientID.
	Web string `json:"webClient"`
	// Directory is the bearer token that may read the SCIM service, Admin the one
	// that may change people there too.
	Directory string `json:"directoryToken"`
	Admin     string `json:"adminToken"`
}

// NewSecrets makes a password and a second factor for each account, a signing
// key, and the tokens.
func NewSecrets() (Secrets, error) {
	var s Secrets
	_, err := s.complete()
	return s, err
}

// complete makes what is missing and tells whether anything was.
func (s *Secrets) complete() (bool, error) {
	added := false
	if s.SigningKey == "" {
		key, err := newSigningKey()
		if err != nil {
			return false, err
		}
		if s.SigningKey, err = key.pem(); err != nil {
			return false, err
		}
		added = true
	}
	if s.Passwords == nil {
		s.Passwords = map[string]string{}
	}
	if s.Seconds == nil {
		s.Seconds = map[string]string{}
	}
	for _, account := range Accounts() {
		if s.Passwords[account.ID] == "" {
			s.Passwords[account.ID], added = rand.Text(), true
		}
		if !account.Machine && s.Seconds[account.ID] == "" {
			// Random text is base32, as TOTP wants its secrets.
			s.Seconds[account.ID], added = rand.Text(), true
		}
	}
	for _, token := range []*string{&s.Web, &s.Directory, &s.Admin} {
		if *token == "" {
			*token, added = rand.Text(), true
		}
	}
	return added, nil
}

// LoadSecrets reads the secrets kept at path, and makes and keeps there what is
// missing. The file is readable by its owner only.
func LoadSecrets(path string) (Secrets, error) {
	var s Secrets
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("read the issuer's secrets: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("%s does not hold the issuer's secrets (remove it to get new ones): %w", path, err)
		}
	}
	added, err := s.complete()
	if err != nil || !added {
		return s, err
	}
	if err := s.keep(path); err != nil {
		return s, fmt.Errorf("keep the issuer's secrets: %w", err)
	}
	return s, nil
}

// keep writes the secrets in one step, so that no reader finds half of them.
func (s Secrets) keep(path string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), ".secrets-*") // readable by the owner only
	if err != nil {
		return err
	}
	_, err = fresh.Write(raw)
	if err := errors.Join(err, fresh.Close()); err != nil {
		return errors.Join(err, os.Remove(fresh.Name()))
	}
	return os.Rename(fresh.Name(), path)
}

// Code is what the account's second factor shows at a time: six digits, good for
// about a minute.
func (s Secrets) Code(account string, now time.Time) (string, error) {
	secret := s.Seconds[account]
	if secret == "" {
		return "", fmt.Errorf("account %q has no second factor", account)
	}
	code, err := totp.GenerateCode(secret, now)
	if err != nil {
		return "", fmt.Errorf("second factor of account %q: %w", account, err)
	}
	return code, nil
}

// check answers whether this is the account's password.
func (s Secrets) check(id, password string) bool { return same(s.Passwords[id], password) }

// checkCode answers whether the account's second factor shows this code now.
func (s Secrets) checkCode(id, code string) bool {
	secret := s.Seconds[id]
	return secret != "" && totp.Validate(code, secret)
}

// same compares secrets; one that was never set is equal to nothing.
func same(want, got string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1
}
