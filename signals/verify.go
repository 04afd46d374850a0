package signals

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Open verifies an envelope and returns its payload. At least one signature
// must be by one of keys within its validity window at now, and the payload
// type must be the one expected. Others may be by keys that are not known yet or
// no longer good, as while keys are rotated. It is a pure function, so that a
// workflow may call it. Errors say what was expected and what was found.
func (e Envelope) Open(payloadType string, keys []PublicKey, now time.Time) ([]byte, error) {
	if len(e.Signatures) == 0 {
		return nil, errors.New("envelope carries no signature; approvals and commands must come through the gateway")
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("envelope is of type %q, want %q", e.PayloadType, payloadType)
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("envelope's payload is not base64: %w", err)
	}
	sum := sha256.Sum256(dsse.PAE(e.PayloadType, payload))
	var ids []string
	var fault error // of the first signature by a known key
	for _, s := range e.Signatures {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("signature by %q is not base64: %w", s.KeyID, err)
		}
		ids = append(ids, s.KeyID)
		for _, k := range keys {
			if k.ID != s.KeyID {
				continue
			}
			err := k.verify(sum[:], sig, now)
			if err == nil {
				return payload, nil
			}
			if fault == nil {
				fault = err
			}
		}
	}
	if fault != nil {
		return nil, fault
	}
	return nil, fmt.Errorf("signed by key %s, want one of %s", quoted(ids), quoted(keyIDs(keys)))
}

// OpenInto verifies an envelope as Open does and decodes its payload strictly.
func (e Envelope) OpenInto(payloadType string, keys []PublicKey, now time.Time, into any) error {
	payload, err := e.Open(payloadType, keys, now)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(payload)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("signed payload of type %q can't be read: %w", payloadType, err)
	}
	return nil
}

// verify checks one signature over sum, made with k while k is good.
func (k PublicKey) verify(sum, sig []byte, now time.Time) error {
	pub, err := k.parse()
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(pub, sum, sig) {
		return fmt.Errorf("signature by key %q does not verify", k.ID)
	}
	if !k.validAt(now) {
		return fmt.Errorf("key %q is valid from %s to %s, not at %s", k.ID,
			k.NotBefore.Format(time.RFC3339), k.NotAfter.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return nil
}

func (k PublicKey) parse() (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(k.PEM))
	if block == nil {
		return nil, fmt.Errorf("public key %q is not PEM", k.ID)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key %q: %w", k.ID, err)
	}
	pub, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key %q is a %T, want an ECDSA key", k.ID, parsed)
	}
	return pub, nil
}

func (k PublicKey) validAt(now time.Time) bool {
	return (k.NotBefore.IsZero() || !now.Before(k.NotBefore)) && (k.NotAfter.IsZero() || now.Before(k.NotAfter))
}

func keyIDs(keys []PublicKey) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return ids
}

func quoted(list []string) string {
	if len(list) == 0 {
		return "(none)"
	}
	return `"` + strings.Join(list, `", "`) + `"`
}
