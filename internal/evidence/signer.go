package evidence

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/signals"
)

// Signer holds the evidence key, or the way to it.
type Signer interface {
	// KeyID names the key in envelopes and in the trust of plans.
	KeyID() string
	// Sign returns an ASN.1 ECDSA signature over the SHA-256 of message.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// Public is the key to verify with.
	Public() signals.PublicKey
}

// LocalSigner signs with a private key in memory.
type LocalSigner struct {
	id  string
	key *ecdsa.PrivateKey
}

// NewLocalSigner reads an ECDSA P-256 private key (PKCS #8, PEM).
func NewLocalSigner(keyID string, keyPEM []byte) (*LocalSigner, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("evidence key %q: want a PEM block \"PRIVATE KEY\" (PKCS #8)", keyID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("evidence key %q: %w", keyID, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("evidence key %q: want ECDSA on P-256", keyID)
	}
	return &LocalSigner{keyID, key}, nil
}

// KeyID names the key.
func (s *LocalSigner) KeyID() string { return s.id }

// Sign signs deterministically (RFC 6979, which a nil source of randomness asks
// for): the same record gives the same bytes and so the same object key, and a
// conditional write lets only one of two racing attempts through.
func (s *LocalSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return s.key.Sign(nil, sum[:], crypto.SHA256)
}

// Public is the key's public half.
func (s *LocalSigner) Public() signals.PublicKey {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		panic(fmt.Sprintf("evidence key %q on P-256 can't be encoded: %v", s.id, err))
	}
	return signals.PublicKey{ID: s.id, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// Keyring is the set of public keys that evidence is judged with.
type Keyring []verifier

type verifier struct {
	signals.PublicKey
	key *ecdsa.PublicKey
}

// NewKeyring parses public keys (PKIX, PEM, ECDSA P-256).
func NewKeyring(keys ...signals.PublicKey) (Keyring, error) {
	var ring Keyring
	for _, k := range keys {
		block, _ := pem.Decode([]byte(k.PEM))
		if block == nil {
			return nil, fmt.Errorf("public key %q is not PEM", k.ID)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("public key %q: %w", k.ID, err)
		}
		key, ok := parsed.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("public key %q: want ECDSA on P-256", k.ID)
		}
		ring = append(ring, verifier{k, key})
	}
	return ring, nil
}

// KeyFromFile makes a public key of a file's content; its id is the file's base
// name without ".pub" or ".pem".
func KeyFromFile(path string, content []byte) signals.PublicKey {
	id := filepath.Base(path)
	id = strings.TrimSuffix(strings.TrimSuffix(id, ".pem"), ".pub")
	return signals.PublicKey{ID: id, PEM: string(content)}
}

// Verify checks an envelope's signature and returns the id of the key that made
// it. The key id in an envelope is a hint: a key kept under another name counts
// as well. at is when the record says it was made; the key must have been valid
// then.
func (ring Keyring) Verify(e signals.Envelope, payload []byte, at time.Time) (string, error) {
	if len(e.Signatures) != 1 {
		return "", fmt.Errorf("%w: %d signatures, want one", ErrEnvelope, len(e.Signatures))
	}
	s := e.Signatures[0]
	sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
	if err != nil {
		return "", fmt.Errorf("%w: signature is not base64: %w", ErrEnvelope, err)
	}
	sum := sha256.Sum256(dsse.PAE(e.PayloadType, payload))
	named := false
	for _, k := range ring {
		named = named || k.ID == s.KeyID
		if !ecdsa.VerifyASN1(k.key, sum[:], sig) {
			continue
		}
		if !k.NotBefore.IsZero() && at.Before(k.NotBefore) || !k.NotAfter.IsZero() && at.After(k.NotAfter) {
			return "", fmt.Errorf("%w: key %q was not valid at %s", ErrSigner, k.ID, at.Format(time.RFC3339))
		}
		return k.ID, nil
	}
	if named {
		return "", fmt.Errorf("%w: key %q did not sign this content", ErrSignature, s.KeyID)
	}
	return "", fmt.Errorf("%w: signed by key %q, want one of %s", ErrSigner, s.KeyID, strings.Join(ring.ids(), ", "))
}

func (ring Keyring) ids() []string {
	var ids []string
	for _, k := range ring {
		ids = append(ids, k.ID)
	}
	return ids
}

// ErrNoKeys says that nothing can be judged without a public key.
var ErrNoKeys = errors.New("no public key given; name the evidence keys' PEM files")
