package activities

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/signals"
)

const (
	inTotoPayload   = "application/vnd.in-toto+json"
	inTotoStatement = "https://in-toto.io/Statement/v1"
)

// permitStatement is the in-toto statement of a permit, as far as it is judged.
type permitStatement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string               `json:"predicateType"`
	Predicate     signals.VSAPredicate `json:"predicate"`
}

// PermitURI is the resource that a permit for a service in an environment names.
func PermitURI(environment, service string) string {
	return "waybill://" + environment + "/" + service
}

// CheckPermit says whether env is a permit, signed by one of keys, that lets
// digest into service's environment at now. The error says what is wrong.
func CheckPermit(env *signals.Envelope, keys []signals.PublicKey, digest, environment, service string, now time.Time) error {
	if env == nil {
		return errors.New("there is no permit")
	}
	payload, signers, err := openPermit(env, keys)
	if err != nil {
		return err
	}
	var statement permitStatement
	if err := json.Unmarshal(payload, &statement); err != nil {
		return fmt.Errorf("the permit's payload is not an in-toto statement: %w", err)
	}
	p := statement.Predicate
	wantedURI := PermitURI(environment, service)
	switch {
	case statement.Type != inTotoStatement:
		return fmt.Errorf("the permit's statement has the type %q, want %q", statement.Type, inTotoStatement)
	case statement.PredicateType != signals.VSAType:
		return fmt.Errorf("the signed statement is a %q, not a permit (%q)", statement.PredicateType, signals.VSAType)
	case len(statement.Subject) != 1 || "sha256:"+statement.Subject[0].Digest["sha256"] != digest:
		return fmt.Errorf("the permit is for another artifact than %s", digest)
	case p.ResourceURI != wantedURI:
		return fmt.Errorf("the permit is for %q, not for %q", p.ResourceURI, wantedURI)
	case p.VerificationResult != "PASSED":
		return fmt.Errorf("the permit's result is %q, want \"PASSED\"", p.VerificationResult)
	case !now.Before(p.ExpiresAt):
		return fmt.Errorf("the permit expired at %s", p.ExpiresAt.UTC().Format(time.RFC3339))
	}
	for _, k := range signers {
		if (k.NotBefore.IsZero() || !p.TimeVerified.Before(k.NotBefore)) && (k.NotAfter.IsZero() || !p.TimeVerified.After(k.NotAfter)) {
			return nil
		}
	}
	return fmt.Errorf("the permit was made at %s, outside the validity of its key", p.TimeVerified.UTC().Format(time.RFC3339))
}

// openPermit verifies the envelope and returns its payload with the keys that
// signed it.
func openPermit(env *signals.Envelope, keys []signals.PublicKey) ([]byte, []signals.PublicKey, error) {
	if env.PayloadType != inTotoPayload {
		return nil, nil, fmt.Errorf("the permit's payload type is %q, want %q", env.PayloadType, inTotoPayload)
	}
	verifiers := make([]dsse.Verifier, 0, len(keys))
	public := make([]*ecdsa.PublicKey, 0, len(keys))
	for _, k := range keys {
		v, err := newECDSAVerifier(k)
		if err != nil {
			return nil, nil, err
		}
		verifiers, public = append(verifiers, v), append(public, v.key)
	}
	if len(verifiers) == 0 {
		return nil, nil, errors.New("no evidence key is configured to check permits with")
	}
	verifier, err := dsse.NewEnvelopeVerifier(verifiers...)
	if err != nil {
		return nil, nil, fmt.Errorf("evidence keys: %w", err)
	}
	envelope := &dsse.Envelope{PayloadType: env.PayloadType, Payload: env.Payload}
	for _, s := range env.Signatures {
		envelope.Signatures = append(envelope.Signatures, dsse.Signature{KeyID: s.KeyID, Sig: s.Sig})
	}
	accepted, payload, err := verifier.VerifyAndDecode(context.Background(), envelope)
	if err != nil {
		return nil, nil, fmt.Errorf("the permit is not signed by an evidence key: %w", err)
	}
	var signers []signals.PublicKey
	for _, a := range accepted {
		for i, key := range public {
			if key.Equal(a.Public) {
				signers = append(signers, keys[i])
			}
		}
	}
	return payload, signers, nil
}

// ecdsaVerifier verifies ECDSA P-256 signatures over SHA-256.
type ecdsaVerifier struct {
	id  string
	key *ecdsa.PublicKey
}

func newECDSAVerifier(k signals.PublicKey) (*ecdsaVerifier, error) {
	block, rest := pem.Decode([]byte(k.PEM))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("evidence key %q: want one PEM block with a public key", k.ID)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("evidence key %q: %w", k.ID, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("evidence key %q: want an ECDSA key, got a %T", k.ID, parsed)
	}
	return &ecdsaVerifier{id: k.ID, key: key}, nil
}

// Verify checks an ASN.1 signature of data.
func (v *ecdsaVerifier) Verify(_ context.Context, data, sig []byte) error {
	sum := sha256.Sum256(data)
	if !ecdsa.VerifyASN1(v.key, sum[:], sig) {
		return errors.New("the signature does not match")
	}
	return nil
}

// KeyID is the id under which the key is configured; it never fails.
func (v *ecdsaVerifier) KeyID() (string, error) { return v.id, nil }

// Public is the key itself.
func (v *ecdsaVerifier) Public() crypto.PublicKey { return v.key }
