package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// LoadPrivateKey reads an ECDSA P-256 private key from a PKCS #8 PEM file.
func LoadPrivateKey(path string) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("signing key %s: want an unencrypted PKCS #8 PEM block \"PRIVATE KEY\"; "+
			"make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("signing key %s is a %T, want an ECDSA key on curve P-256", path, parsed)
	}
	return key, nil
}

// LoadPublicKey reads an ECDSA P-256 public key from a PKIX PEM file, to be
// pinned into plans under id.
func LoadPublicKey(id, path string) (signals.PublicKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return signals.PublicKey{}, fmt.Errorf("public key %q: %w", id, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PUBLIC KEY" {
		return signals.PublicKey{}, fmt.Errorf("public key %q: %s holds no PEM block \"PUBLIC KEY\"", id, path)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return signals.PublicKey{}, fmt.Errorf("public key %q in %s: %w", id, path, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return signals.PublicKey{}, fmt.Errorf("public key %q in %s is a %T, want an ECDSA key on curve P-256", id, path, parsed)
	}
	return publicKey(id, key)
}

// LoadPublicKeyWithin reads a public key as LoadPublicKey does; signatures by it
// count from notBefore until notAfter, where a zero time is an open end.
func LoadPublicKeyWithin(id, path string, notBefore, notAfter time.Time) (signals.PublicKey, error) {
	if !notBefore.IsZero() && !notAfter.IsZero() && !notBefore.Before(notAfter) {
		return signals.PublicKey{}, fmt.Errorf("public key %q: it would be good from %s until %s, which is never",
			id, notBefore.Format(time.RFC3339), notAfter.Format(time.RFC3339))
	}
	key, err := LoadPublicKey(id, path)
	key.NotBefore, key.NotAfter = notBefore.UTC(), notAfter.UTC()
	return key, err
}

// publicKey encodes key afresh, so that the plan pins the key alone and not
// whatever else its file holds.
func publicKey(id string, key *ecdsa.PublicKey) (signals.PublicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return signals.PublicKey{}, fmt.Errorf("public key %q: %w", id, err)
	}
	return signals.PublicKey{ID: id, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, nil
}
