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
)

// Account is one role that somebody, or CI, plays on the local stack.
type Account struct {
	// ID is the subject in tokens and the name to log in with.
	ID     string
	Groups []string
	// Machine accounts authenticate as a client and never by the login form.
	Machine bool
}

// Accounts are the roles of the local stack.
func Accounts() []Account {
	return []Account{
		{ID: "ci", Groups: []string{"ci"}, Machine: true},
		{ID: "developer", Groups: []string{"payments-dev"}},
		{ID: "release-lead", Groups: []string{"payments-leads"}},
		{ID: "risk-officer", Groups: []string{"risk"}},
		{ID: "on-call", Groups: []string{"payments-oncall"}},
		{ID: "auditor", Groups: []string{"audit"}},
	}
}

func find(id string) (Account, bool) {
	for _, account := range Accounts() {
		if account.ID == id {
			return account, true
		}
	}
	return Account{}, false
}

// Secrets is what an issuer must keep to be the same issuer after a restart:
// the accounts' passwords and its signing key.
type Secrets struct {
	Passwords map[string]string `json:"passwords"`
	// SigningKey is an RSA key, PKCS #8 PEM.
	SigningKey string `json:"signingKey"`
}

// NewSecrets makes a password for each account, and a signing key.
func NewSecrets() (Secrets, error) {
	key, err := newSigningKey()
	if err != nil {
		return Secrets{}, err
	}
	text, err := key.pem()
	if err != nil {
		return Secrets{}, err
	}
	s := Secrets{Passwords: map[string]string{}, SigningKey: text}
	for _, account := range Accounts() {
		s.Passwords[account.ID] = rand.Text()
	}
	return s, nil
}

// LoadSecrets reads the secrets kept at path, or makes them there, readable by
// the owner only.
func LoadSecrets(path string) (Secrets, error) {
	var s Secrets
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("%s does not hold the issuer's secrets (remove it to get new ones): %w", path, err)
		}
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("read the issuer's secrets: %w", err)
	}
	if s, err = NewSecrets(); err != nil {
		return s, err
	}
	if raw, err = json.MarshalIndent(s, "", "  "); err != nil {
		return s, fmt.Errorf("keep the issuer's secrets: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return s, fmt.Errorf("keep the issuer's secrets: %w", err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return s, fmt.Errorf("keep the issuer's secrets: %w", err)
	}
	return s, nil
}

// check answers whether this is the account's password.
func (s Secrets) check(id, password string) bool {
	want, known := s.Passwords[id]
	return known && want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1
}
