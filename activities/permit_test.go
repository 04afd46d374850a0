package activities_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

const inTotoPayload = "application/vnd.in-toto+json"

// signer signs permits as the notary does.
type signer struct {
	id  string
	key *ecdsa.PrivateKey
}

func newSigner(t *testing.T, id string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &signer{id: id, key: key}
}

func (s *signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return ecdsa.SignASN1(rand.Reader, s.key, sum[:])
}

func (s *signer) KeyID() (string, error) { return s.id, nil }

func (s *signer) public(t *testing.T) signals.PublicKey {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(crypto.PublicKey(&s.key.PublicKey))
	require.NoError(t, err)
	return signals.PublicKey{ID: s.id, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func (s *signer) sign(t *testing.T, payloadType string, statement any) *signals.Envelope {
	t.Helper()
	payload, err := json.Marshal(statement)
	require.NoError(t, err)
	es, err := dsse.NewEnvelopeSigner(s)
	require.NoError(t, err)
	e, err := es.SignPayload(t.Context(), payloadType, payload)
	require.NoError(t, err)
	env := &signals.Envelope{PayloadType: e.PayloadType, Payload: e.Payload}
	for _, sig := range e.Signatures {
		env.Signatures = append(env.Signatures, signals.EnvelopeSignature{KeyID: sig.KeyID, Sig: sig.Sig})
	}
	return env
}

// statement is a good permit's, for a case to spoil.
func statement(digest, environment, service string, now time.Time) map[string]any {
	return map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"name": "app", "digest": map[string]any{"sha256": strings.TrimPrefix(digest, "sha256:")}}},
		"predicateType": signals.VSAType,
		"predicate": map[string]any{
			"verifier": map[string]any{"id": "waybill"}, "timeVerified": now, "resourceUri": "waybill://" + environment + "/" + service,
			"policy": map[string]any{"uri": "p"}, "verificationResult": "PASSED", "verifiedLevels": []any{},
			"waybill_expiresAt": now.Add(time.Hour), "record": map[string]any{"sequence": 6},
		},
	}
}

func predicate(s map[string]any) map[string]any { return s["predicate"].(map[string]any) }

func TestCheckPermit(t *testing.T) {
	now := time.Now().UTC()
	evidence, stranger := newSigner(t, "evidence-1"), newSigner(t, "evidence-1")
	digest := signals.Digest([]byte("v2"))
	type spoil func(map[string]any)
	cases := []struct {
		name  string
		spoil spoil
		by    *signer
		kind  string
		says  string // "" for a permit that holds
	}{
		{name: "good"},
		{name: "signed by a stranger under the same key id", by: stranger, says: "not signed by an evidence key"},
		{name: "another artifact", spoil: func(s map[string]any) {
			s["subject"].([]any)[0].(map[string]any)["digest"] = map[string]any{"sha256": strings.Repeat("0", 64)}
		}, says: "another artifact"},
		{name: "several artifacts", spoil: func(s map[string]any) {
			s["subject"] = append(s["subject"].([]any), s["subject"].([]any)[0])
		}, says: "another artifact"},
		{name: "no artifact", spoil: func(s map[string]any) { s["subject"] = []any{} }, says: "another artifact"},
		{name: "another environment", spoil: func(s map[string]any) { predicate(s)["resourceUri"] = "waybill://staging/payments-api" }, says: `for "waybill://staging/payments-api"`},
		{name: "another service", spoil: func(s map[string]any) { predicate(s)["resourceUri"] = "waybill://prod/payments" }, says: `for "waybill://prod/payments"`},
		{name: "failed", spoil: func(s map[string]any) { predicate(s)["verificationResult"] = "FAILED" }, says: `result is "FAILED"`},
		{name: "expired", spoil: func(s map[string]any) { predicate(s)["waybill_expiresAt"] = now }, says: "expired"},
		{name: "never expires", spoil: func(s map[string]any) { delete(predicate(s), "waybill_expiresAt") }, says: "expired"},
		{name: "another predicate", spoil: func(s map[string]any) { s["predicateType"] = signals.RecordDecision.PredicateType() }, says: "not a permit"},
		{name: "another statement", spoil: func(s map[string]any) { s["_type"] = "https://in-toto.io/Statement/v0.1" }, says: "has the type"},
		{name: "another payload", kind: signals.ApprovalPayload, says: "is of type"},
		{name: "made before the key was valid", spoil: func(s map[string]any) { predicate(s)["timeVerified"] = now.Add(-48 * time.Hour) }, says: "is valid from"},
		{name: "made after the key was valid", spoil: func(s map[string]any) { predicate(s)["timeVerified"] = now.Add(48 * time.Hour) }, says: "is valid from"},
	}
	key := evidence.public(t)
	key.NotBefore, key.NotAfter = now.Add(-24*time.Hour), now.Add(24*time.Hour)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := statement(digest, "prod", "payments-api", now)
			if c.spoil != nil {
				c.spoil(s)
			}
			by, kind := evidence, inTotoPayload
			if c.by != nil {
				by = c.by
			}
			if c.kind != "" {
				kind = c.kind
			}
			err := activities.CheckPermit(by.sign(t, kind, s), []signals.PublicKey{rotated(t), key}, digest, "prod", "payments-api", now)
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says)
			}
		})
	}

	good := evidence.sign(t, inTotoPayload, statement(digest, "prod", "payments-api", now))
	require.ErrorContains(t, activities.CheckPermit(nil, []signals.PublicKey{key}, digest, "prod", "payments-api", now), "no permit")
	require.ErrorContains(t, activities.CheckPermit(good, nil, digest, "prod", "payments-api", now), "no evidence key")
	unsigned := *good
	unsigned.Signatures = nil
	require.Error(t, activities.CheckPermit(&unsigned, []signals.PublicKey{key}, digest, "prod", "payments-api", now))
	altered := *good
	altered.Payload = evidence.sign(t, inTotoPayload, statement(digest, "prod", "other", now)).Payload
	require.ErrorContains(t, activities.CheckPermit(&altered, []signals.PublicKey{key}, digest, "prod", "payments-api", now), "not signed")
	require.ErrorContains(t, activities.CheckPermit(good, []signals.PublicKey{{ID: "evidence-1", PEM: "nonsense"}}, digest, "prod", "payments-api", now), `key "evidence-1"`)
}

// rotated is another valid evidence key, as during a rotation.
func rotated(t *testing.T) signals.PublicKey {
	t.Helper()
	return newSigner(t, "evidence-2").public(t)
}
