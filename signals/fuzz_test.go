package signals

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// fuzzKey is a key that is the same in each process that fuzzes, so that a corpus
// that holds its signatures stays good.
func fuzzKey(f *testing.F, number int64) (*ecdsa.PrivateKey, string) {
	f.Helper()
	scalar := big.NewInt(number).FillBytes(make([]byte, 32))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func fuzzSign(f *testing.F, key *ecdsa.PrivateKey, id, payloadType string, payload []byte) EnvelopeSignature {
	f.Helper()
	sum := sha256.Sum256(dsse.PAE(payloadType, payload))
	sig, err := ecdsa.SignASN1(bytes.NewReader(make([]byte, 1024)), key, sum[:])
	if err != nil {
		f.Fatal(err)
	}
	return EnvelopeSignature{KeyID: id, Sig: base64.StdEncoding.EncodeToString(sig)}
}

// FuzzEnvelope looks for bytes that crash the parser of envelopes, or that open
// although nobody signed what they say.
func FuzzEnvelope(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good, goodPEM := fuzzKey(f, 7)
	old, oldPEM := fuzzKey(f, 11)
	stranger, _ := fuzzKey(f, 13)
	keys := []PublicKey{
		{ID: "gateway-1", PEM: oldPEM, NotAfter: now.Add(-time.Hour)}, {ID: "gateway-2", PEM: goodPEM},
		{ID: "broken", PEM: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
	}
	signed, err := json.Marshal(ApprovalStatement{
		Binding:  Binding{Release: "r-1", Run: "run-1", PlanDigest: Digest(nil), Nonce: "n", IssuedAt: now, ExpiresAt: now.Add(time.Minute)},
		Decision: Approve, Reason: "read it", Approver: Subject{Issuer: "https://issuer.example", ID: "release-lead"},
	})
	if err != nil {
		f.Fatal(err)
	}
	envelope := func(payload []byte, signatures ...EnvelopeSignature) []byte {
		raw, err := json.Marshal(Envelope{PayloadType: ApprovalPayload, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: signatures})
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	byGood := fuzzSign(f, good, "gateway-2", ApprovalPayload, signed)
	byOld := fuzzSign(f, old, "gateway-1", ApprovalPayload, signed)
	f.Add(envelope(signed, byGood))
	f.Add(envelope(signed, byOld, byGood))
	f.Add(envelope(signed, byOld))
	f.Add(envelope(signed, fuzzSign(f, stranger, "gateway-2", ApprovalPayload, signed)))
	f.Add(envelope(signed, fuzzSign(f, good, "gateway-2", CommandPayload, signed)))
	f.Add(envelope(signed, EnvelopeSignature{KeyID: "broken", Sig: "AAAA"}))
	f.Add(envelope(bytes.Replace(signed, []byte("approve"), []byte("deny"), 1), byGood))
	f.Add([]byte(`{"payloadType":"x","payload":"!","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Envelope
		if json.Unmarshal(raw, &e) != nil {
			return
		}
		payload, err := e.Open(ApprovalPayload, keys, now)
		if err != nil {
			if payload != nil {
				t.Fatalf("refused (%v), and given away all the same: %q", err, payload)
			}
			return
		}
		if !bytes.Equal(payload, signed) {
			t.Fatalf("opened %q, which nobody signed", payload)
		}
		var s ApprovalStatement
		if err := e.OpenInto(ApprovalPayload, keys, now, &s); err != nil || s.Reason != "read it" {
			t.Fatalf("opens as bytes but not as a statement: %+v, %v", s, err)
		}
	})
}

// FuzzRequest looks for requests that crash the parser, that are taken although
// they are not in form, or that mean something else when they are written again.
func FuzzRequest(f *testing.F) {
	good := `{"service":"payments-api","environment":"prod","image":"r.example/a@sha256:0000000000000000000000000000000000000000000000000000000000000000","commit":"` + aCommit + `"`
	f.Add([]byte(good + `}`))
	f.Add([]byte(good + `,"ticket":"CHG-1042","reason":"limits","breakGlass":"outage"}`))
	f.Add([]byte(good + `,"envelope":{"payloadType":"x","payload":"","signatures":[]}}`))
	f.Add([]byte(good + `,"service":"other"}`))
	f.Add([]byte(good + `,"Service":"other"}`))
	f.Add([]byte(good + `} {}`))
	f.Add([]byte(`{"service":"../x","environment":"_intake","image":" ","commit":"main"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRequest(raw)
		if err != nil {
			return
		}
		if !ValidName(r.Service) || !ValidName(r.Environment) || r.Image == "" || len(r.Reason) > 2000 {
			t.Fatalf("taken: %+v", r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > MaxRequestBytes {
			return // escapes can make it longer than what is read
		}
		back, err := ParseRequest(again)
		if err != nil || !reflect.DeepEqual(r, back) {
			t.Fatalf("%+v came back as %+v: %v", r, back, err)
		}
	})
}
