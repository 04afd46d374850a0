// Package evidencetest makes the papers of releases for tests: records as a
// release workflow writes them, signed, chained and closed by a manifest.
package evidencetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/signals"
)

// T is what a helper needs of a test; both testing and rapid have it.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Signer makes an evidence key and returns it with its private key's PEM.
func Signer(t T, id string) (*evidence.LocalSigner, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	signer, err := evidence.NewLocalSigner(id, private)
	if err != nil {
		t.Fatalf("load a key: %v", err)
	}
	return signer, private
}

// Keyring is the public half of signers.
func Keyring(t T, signers ...evidence.Signer) evidence.Keyring {
	t.Helper()
	var keys []signals.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	ring, err := evidence.NewKeyring(keys...)
	if err != nil {
		t.Fatalf("make a keyring: %v", err)
	}
	return ring
}

// Stored is one record as it lies in a bucket.
type Stored struct {
	Ref  signals.RecordRef
	Body []byte
}

// Papers is the records of one release in order, the manifest last.
type Papers []Stored

// Manifest is the reference of the last record.
func (p Papers) Manifest() *signals.RecordRef {
	ref := p[len(p)-1].Ref
	return &ref
}

// Seal signs records given without their place in the chain, and closes them
// with a manifest that names the lane's one before.
func Seal(t T, signer evidence.Signer, inputs []signals.RecordInput, outcome signals.Outcome, previous *signals.RecordRef) Papers {
	t.Helper()
	var papers Papers
	var refs []signals.RecordRef
	add := func(in signals.RecordInput) {
		in.Header.Sequence = len(papers) + 1
		if len(refs) > 0 {
			in.Header.Previous = refs[len(refs)-1].Digest
		}
		papers = append(papers, SealOne(t, signer, in))
		refs = append(refs, papers[len(papers)-1].Ref)
	}
	for _, in := range inputs {
		add(in)
	}
	last := inputs[len(inputs)-1]
	last.Header.At = last.Header.At.Add(time.Second)
	add(signals.RecordInput{
		Header: last.Header, Kind: signals.RecordManifest, Subjects: last.Subjects,
		Predicate: Predicate(t, signals.ManifestPredicate{Outcome: outcome, Count: len(refs), Records: refs, Previous: previous}),
	})
	return papers
}

// SealOne signs one record.
func SealOne(t T, signer evidence.Signer, in signals.RecordInput) Stored {
	t.Helper()
	payload, err := evidence.Payload(in)
	if err != nil {
		t.Fatalf("build a record: %v", err)
	}
	body, err := evidence.Seal(context.Background(), signer, payload)
	if err != nil {
		t.Fatalf("sign a record: %v", err)
	}
	key := evidence.KeyOf(in.Header, in.Kind, body)
	return Stored{signals.RecordRef{Sequence: key.Sequence, Kind: key.Kind, Key: key.String(), Digest: key.Digest}, body}
}

// Predicate encodes a predicate.
func Predicate(t T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode a predicate: %v", err)
	}
	return raw
}

// Write puts a file below a folder.
func Write(tb testing.TB, root, name string, body []byte) {
	tb.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		tb.Fatalf("make a folder: %v", err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		tb.Fatalf("write a file: %v", err)
	}
}
