package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/signals"
)

// SigningKey is one ECDSA P-256 key with the id that verifiers pin it by.
type SigningKey struct {
	ID  string
	Key *ecdsa.PrivateKey
}

// KeyFile names the PKCS #8 PEM file of one signing key.
type KeyFile struct {
	ID   string
	Path string
}

// Signer signs statements as DSSE envelopes, with one signature by each of its
// keys: while keys are rotated, those who pinned the old one and those who pinned
// the new one both find theirs. It is safe for concurrent use.
type Signer struct {
	keys     []SigningKey
	envelope *dsse.EnvelopeSigner
}

// NewSigner signs with one key; id is the key id that verifiers have pinned.
func NewSigner(id string, key *ecdsa.PrivateKey) (*Signer, error) {
	return NewSigners([]SigningKey{{ID: id, Key: key}})
}

// NewSigners signs with each of keys, whose ids must differ.
func NewSigners(keys []SigningKey) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("signer needs at least one key")
	}
	seen := map[string]bool{}
	var providers []dsse.Signer
	for _, key := range keys {
		if key.ID == "" {
			return nil, errors.New("signer needs a key id; verifiers find the public key by it")
		}
		if seen[key.ID] {
			return nil, fmt.Errorf("signing key %q is listed twice; give each key an id of its own", key.ID)
		}
		seen[key.ID] = true
		providers = append(providers, dsseKey(key))
	}
	envelope, err := dsse.NewEnvelopeSigner(providers...)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	return &Signer{keys: keys, envelope: envelope}, nil
}

// LoadSigner reads one signing key from a PKCS #8 PEM file.
func LoadSigner(id, path string) (*Signer, error) {
	return LoadSigners([]KeyFile{{ID: id, Path: path}})
}

// LoadSigners reads the signer's keys from their files.
func LoadSigners(files []KeyFile) (*Signer, error) {
	keys := make([]SigningKey, 0, len(files))
	for _, file := range files {
		key, err := LoadPrivateKey(file.Path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, SigningKey{ID: file.ID, Key: key})
	}
	return NewSigners(keys)
}

// Sign encodes payload as JSON and signs it as payloadType with every key.
func (s *Signer) Sign(payloadType string, payload any) (signals.Envelope, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return signals.Envelope{}, fmt.Errorf("encode %s to sign it: %w", payloadType, err)
	}
	signed, err := s.envelope.SignPayload(context.Background(), payloadType, body)
	if err != nil {
		return signals.Envelope{}, fmt.Errorf("sign %s with %s: %w", payloadType, s.ids(), err)
	}
	out := signals.Envelope{PayloadType: signed.PayloadType, Payload: signed.Payload}
	for _, sig := range signed.Signatures {
		out.Signatures = append(out.Signatures, signals.EnvelopeSignature{KeyID: sig.KeyID, Sig: sig.Sig})
	}
	return out, nil
}

// PublicKey is the verification key that belongs to the first signing key.
func (s *Signer) PublicKey() (signals.PublicKey, error) {
	return publicKey(s.keys[0].ID, &s.keys[0].Key.PublicKey)
}

// PublicKeys are the verification keys, in the order of the signing keys.
func (s *Signer) PublicKeys() ([]signals.PublicKey, error) {
	list := make([]signals.PublicKey, 0, len(s.keys))
	for _, key := range s.keys {
		public, err := publicKey(key.ID, &key.Key.PublicKey)
		if err != nil {
			return nil, err
		}
		list = append(list, public)
	}
	return list, nil
}

func (s *Signer) ids() string {
	ids := make([]string, len(s.keys))
	for i, key := range s.keys {
		ids[i] = fmt.Sprintf("key %q", key.ID)
	}
	return strings.Join(ids, " and ")
}

// Nonce returns 128 random bits as 32 hex digits.
func Nonce() string {
	var b [16]byte
	// crypto/rand.Read never returns an error; it ends the program instead.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// dsseKey adapts one key to the dsse library.
type dsseKey SigningKey

// Sign signs the SHA-256 of data; the signature is ASN.1.
func (k dsseKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return k.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// KeyID is the id that envelopes name the key by.
func (k dsseKey) KeyID() (string, error) { return k.ID, nil }
