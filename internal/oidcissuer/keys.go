package oidcissuer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// signingKey is one key that tokens are signed with; its id is derived from the
// public half, so that the same key has the same id after a restart.
type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newSigningKey() (signingKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("make the issuer's signing key: %w", err)
	}
	return signingKeyOf(key)
}

func signingKeyOf(key *rsa.PrivateKey) (signingKey, error) {
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return signingKey{}, fmt.Errorf("encode the issuer's public key: %w", err)
	}
	sum := sha256.Sum256(public)
	return signingKey{id: hex.EncodeToString(sum[:8]), key: key}, nil
}

func parseSigningKey(text string) (signingKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return signingKey{}, errors.New("the issuer's signing key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, fmt.Errorf("the issuer's signing key: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return signingKey{}, fmt.Errorf("the issuer's signing key is a %T, want RSA", parsed)
	}
	return signingKeyOf(key)
}

func (k signingKey) pem() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return "", fmt.Errorf("encode the issuer's signing key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// SignatureAlgorithm is that of the private half, for op.SigningKey.
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

// Key is the half that the type stands for.
func (k signingKey) Key() any { return k.key }

// ID is the kid of tokens and of the published key.
func (k signingKey) ID() string { return k.id }

// publicKey is the half that is published; it is op.Key.
type publicKey struct{ signingKey }

// Algorithm is that of the public half, for op.Key.
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }

// Use says what the published key is for.
func (k publicKey) Use() string { return "sig" }

// Key is the half that the type stands for.
func (k publicKey) Key() any { return &k.key.PublicKey }
