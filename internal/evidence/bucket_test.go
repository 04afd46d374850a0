package evidence_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

var (
	prod  = evidence.Lane{Environment: "prod", Service: "payments-api"}
	begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

// bucket is what a bucket holds, to be changed by a test and then judged as a
// folder on disk with the versions file that an export writes.
type bucket struct {
	t        *testing.T
	signer   *evidence.LocalSigner
	stranger *evidence.LocalSigner
	bodies   map[string][]byte
	objects  map[string][]evidence.Recorded
	releases []evidencetest.Papers
}

const retention = 24 * time.Hour

// newBucket holds three closed releases of one lane; the second was rolled back.
func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{t: t, bodies: map[string][]byte{}, objects: map[string][]evidence.Recorded{}}
	b.signer, _ = evidencetest.Signer(t, "evidence-1")
	b.stranger, _ = evidencetest.Signer(t, "stranger")
	var previous *signals.RecordRef
	for i := range 3 {
		inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{
			Lane: prod, Release: fmt.Sprintf("payments-api-prod-%d", i+1), Begin: begin.Add(time.Duration(i) * time.Hour), Bad: i == 1, Gateway: b.stranger,
		})
		papers := evidencetest.Seal(t, b.signer, inputs, outcome, previous)
		b.put(papers...)
		b.releases = append(b.releases, papers)
		previous = papers.Manifest()
	}
	return b
}

func (b *bucket) put(records ...evidencetest.Stored) {
	for _, r := range records {
		b.putAt(r.Ref.Key, r.Body)
	}
}

func (b *bucket) putAt(key string, body []byte) {
	b.bodies[key] = body
	b.objects[key] = []evidence.Recorded{{
		Object: evidence.Object{Key: key, Version: "v-" + key, Latest: true, Size: int64(len(body))},
		Lock:   &evidence.Lock{Mode: "COMPLIANCE", RetainUntil: begin.Add(30 * 24 * time.Hour)},
	}}
}

// rekey stores a body under the key that its own bytes name, in place of old.
func (b *bucket) rekey(old signals.RecordRef, body []byte) string {
	key, err := evidence.ParseKey(old.Key)
	require.NoError(b.t, err)
	key.Digest = signals.Digest(body)
	b.drop(old)
	b.putAt(key.String(), body)
	return key.String()
}

func (b *bucket) drop(refs ...signals.RecordRef) {
	for _, r := range refs {
		delete(b.bodies, r.Key)
		delete(b.objects, r.Key)
	}
}

// folder writes the bucket out; with versions or as a plain copy.
func (b *bucket) folder(withVersions bool) *evidence.Folder {
	b.t.Helper()
	root := b.t.TempDir()
	require.NoError(b.t, os.MkdirAll(filepath.Join(root, evidence.Root), 0o750))
	for key, body := range b.bodies {
		evidencetest.Write(b.t, root, key, body)
	}
	if withVersions {
		var inventory evidence.Inventory
		for _, key := range slices.Sorted(keysOf(b.objects)) {
			inventory.Objects = append(inventory.Objects, b.objects[key]...)
		}
		raw, err := json.Marshal(inventory)
		require.NoError(b.t, err)
		evidencetest.Write(b.t, root, evidence.VersionsFile, raw)
	}
	f, err := evidence.OpenFolder(root)
	require.NoError(b.t, err)
	return f
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (b *bucket) options() evidence.Options {
	return evidence.Options{
		Keys: evidencetest.Keyring(b.t, b.signer), Now: begin.Add(48 * time.Hour), Closed: true,
		OpenWithin: 24 * time.Hour, Retention: retention, LockMode: "COMPLIANCE",
	}
}

func (b *bucket) verify(withVersions bool) evidence.Report {
	b.t.Helper()
	report, err := evidence.Verify(b.t.Context(), b.folder(withVersions), b.options())
	require.NoError(b.t, err)
	return report
}

// faults lists all faults of a report as "kind key".
func faults(r evidence.Report) []string {
	var all []string
	add := func(faults []evidence.Fault) {
		for _, f := range faults {
			all = append(all, string(f.Kind)+" "+f.Key)
		}
	}
	add(r.Faults)
	for _, l := range r.Lanes {
		add(l.Faults)
	}
	for _, release := range r.Releases {
		add(release.Faults)
	}
	slices.Sort(all)
	return all
}

// resigned changes a record's statement, and signs it anew if signer is set.
func resigned(t *testing.T, body []byte, signer evidence.Signer) []byte {
	t.Helper()
	envelope, payload, err := evidence.Unseal(body)
	require.NoError(t, err)
	payload = []byte(strings.Replace(string(payload), "payments-ci", "payments-cj", 1))
	payload = []byte(strings.Replace(string(payload), "registry.example", "registry.exarnple", 1))
	if signer != nil {
		out, err := evidence.Seal(t.Context(), signer, payload)
		require.NoError(t, err)
		return out
	}
	envelope.Payload = base64.StdEncoding.EncodeToString(payload)
	out, err := json.Marshal(envelope)
	require.NoError(t, err)
	return out
}

// moved stores a record's bytes at another record's place.
func (b *bucket) moved(r evidencetest.Stored, to signals.RecordRef) string {
	key, err := evidence.ParseKey(to.Key)
	require.NoError(b.t, err)
	key.Kind, key.Digest = r.Ref.Kind, r.Ref.Digest
	b.drop(r.Ref)
	b.putAt(key.String(), r.Body)
	return key.String()
}

// after is the input of a record that follows one.
func (b *bucket) after(r evidencetest.Stored) signals.RecordInput {
	_, payload, err := evidence.Unseal(r.Body)
	require.NoError(b.t, err)
	_, h, err := evidence.ParseStatement(payload)
	require.NoError(b.t, err)
	h.Sequence, h.Previous = h.Sequence+1, r.Ref.Digest
	return signals.RecordInput{
		Header: h, Kind: signals.RecordRefusal, Subjects: []signals.RecordSubject{{Name: "x", Digest: evidencetest.NewDigest}},
		Predicate: evidencetest.Predicate(b.t, signals.RefusalPredicate{What: "message"}),
	}
}
