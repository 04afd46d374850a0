package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/signals"
)

// Signer signs statements as DSSE envelopes with one ECDSA P-256 key. It is
// safe for concurrent use.
type Signer struct {
	id       string
	key      *ecdsa.PrivateKey
	envelope *dsse.EnvelopeSigner
}

// NewSigner signs with key; id is the key id that verifiers have pinned.
func NewSigner(id string, key *ecdsa.PrivateKey) (*Signer, error) {
	if id == "" {
		return nil, fmt.Errorf("signer needs a key id; verifiers find the public key by it")
	}
	s := &Signer{id: id, key: key}
	envelope, err := dsse.NewEnvelopeSigner(dsseKey{s})
	if err != nil {
		return nil, fmt.Errorf("signer %q: %w", id, err)
	}
	s.envelope = envelope
	return s, nil
}

// LoadSigner reads the signer's key from a PKCS #8 PEM file.
func LoadSigner(id, path string) (*Signer, error) {
	key, err := LoadPrivateKey(path)
	if err != nil {
		return nil, err
	}
	return NewSigner(id, key)
}

// Sign encodes payload as JSON and signs it as payloadType.
func (s *Signer) Sign(payloadType string, payload any) (signals.Envelope, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return signals.Envelope{}, fmt.Errorf("encode %s to sign it: %w", payloadType, err)
	}
	signed, err := s.envelope.SignPayload(context.Background(), payloadType, body)
	if err != nil {
		return signals.Envelope{}, fmt.Errorf("sign %s with key %q: %w", payloadType, s.id, err)
	}
	out := signals.Envelope{PayloadType: signed.PayloadType, Payload: signed.Payload}
	for _, sig := range signed.Signatures {
		out.Signatures = append(out.Signatures, signals.EnvelopeSignature{KeyID: sig.KeyID, Sig: sig.Sig})
	}
	return out, nil
}

// PublicKey is the verification key that belongs to the signer.
func (s *Signer) PublicKey() (signals.PublicKey, error) { return publicKey(s.id, &s.key.PublicKey) }

// Nonce returns 128 random bits as 32 hex digits.
func Nonce() string {
	var b [16]byte
	// crypto/rand.Read never returns an error; it ends the program instead.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// dsseKey adapts the key to the dsse library.
type dsseKey struct{ *Signer }

// Sign signs the SHA-256 of data; the signature is ASN.1.
func (k dsseKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return k.key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// KeyID is the id that envelopes name the key by.
func (k dsseKey) KeyID() (string, error) { return k.id, nil }
