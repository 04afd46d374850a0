package objectlock_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/objectlock/s3test"
	"github.com/waybill-dev/waybill/signals"
)

var lane = evidence.Lane{Environment: "prod", Service: "payments-api"}

// archive is a real bucket with two closed releases, of which some records were
// never written or written falsely.
type archive struct {
	t      *testing.T
	server s3test.Server
	writer *objectlock.Writer
	signer *evidence.LocalSigner
	papers []evidencetest.Papers
}

// newArchive prepares the papers, and writes nothing.
func newArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{t: t, server: provision(t, s3test.Owner)}
	a.writer = writer(t, a.server.Config(name))
	a.signer, _ = evidencetest.Signer(t, "evidence-1")
	var previous *signals.RecordRef
	for _, release := range []string{"r-1", "r-2"} {
		inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: lane, Release: release, Begin: time.Now().Add(-time.Hour), Bad: release == "r-2", Gateway: a.signer})
		papers := evidencetest.Seal(t, a.signer, inputs, outcome, previous)
		previous = papers.Manifest()
		a.papers = append(a.papers, papers)
	}
	return a
}

// fill writes all papers but those left out.
func (a *archive) fill(leftOut ...evidencetest.Stored) {
	a.t.Helper()
	for _, papers := range a.papers {
		for _, r := range papers {
			if !slices.ContainsFunc(leftOut, func(o evidencetest.Stored) bool { return o.Ref.Key == r.Ref.Key }) {
				a.lock(r.Ref.Key, r.Body)
			}
		}
	}
}

func (a *archive) lock(key string, body []byte) {
	a.t.Helper()
	_, err := a.writer.Put(a.t.Context(), key, body, time.Now().Add(2*time.Hour))
	require.NoError(a.t, err)
}

func (a *archive) owner() *s3.Client { return client(a.t, a.server) }

// plain writes as any S3 client does: no condition, no lock.
func (a *archive) plain(key string, body []byte) {
	a.t.Helper()
	_, err := a.owner().PutObject(a.t.Context(), &s3.PutObjectInput{Bucket: new(name), Key: &key, Body: bytes.NewReader(body)})
	require.NoError(a.t, err)
}

func (a *archive) mark(key string) {
	a.t.Helper()
	_, err := a.owner().DeleteObject(a.t.Context(), &s3.DeleteObjectInput{Bucket: new(name), Key: &key})
	require.NoError(a.t, err)
}

func (a *archive) options() evidence.Options {
	return evidence.Options{
		Keys: evidencetest.Keyring(a.t, a.signer), Now: time.Now(), Closed: true, Retention: time.Hour, LockMode: "COMPLIANCE",
	}
}

// judge verifies the bucket as the auditor, then an export of it as a folder:
// both must see the same.
func (a *archive) judge() []string {
	a.t.Helper()
	s3test.As(a.t, s3test.Auditor)
	reader, err := objectlock.NewReader(a.t.Context(), a.server.Config(name))
	require.NoError(a.t, err)
	online, err := evidence.Verify(a.t.Context(), reader, a.options())
	require.NoError(a.t, err)
	to := a.t.TempDir()
	_, err = evidence.Export(a.t.Context(), reader, name, to, time.Now())
	require.NoError(a.t, err)
	folder, err := evidence.OpenFolder(to)
	require.NoError(a.t, err)
	offline, err := evidence.Verify(a.t.Context(), folder, a.options())
	require.NoError(a.t, err)
	require.Equal(a.t, faultsOf(online), faultsOf(offline), "the copy is judged as the bucket is")
	return faultsOf(online)
}

func faultsOf(r evidence.Report) []string {
	var all []string
	faults := r.Faults
	for _, l := range r.Lanes {
		faults = append(faults, l.Faults...)
	}
	for _, release := range r.Releases {
		faults = append(faults, release.Faults...)
	}
	for _, f := range faults {
		all = append(all, string(f.Kind)+" "+f.Key)
	}
	slices.Sort(all)
	return all
}

// moved is the key of a record's bytes at another record's place.
func moved(r evidencetest.Stored, to signals.RecordRef) string {
	key, _ := evidence.ParseKey(to.Key)
	key.Kind, key.Digest = r.Ref.Kind, r.Ref.Digest
	return key.String()
}

// TestTamperedBucket falsifies a real bucket in every way that the owner of one
// can, most of them before the lock closes over a record.
func TestTamperedBucket(t *testing.T) {
	flipped := func(body []byte) []byte {
		body = slices.Clone(body)
		body[len(body)/2] ^= 1
		return body
	}
	tests := map[string]func(a *archive) []string{
		"untouched": func(a *archive) []string { a.fill(); return nil },
		"bit-flipped": func(a *archive) []string {
			r := a.papers[0][3]
			a.fill(r)
			a.lock(r.Ref.Key, flipped(r.Body))
			return []string{"bit-flipped " + r.Ref.Key}
		},
		"signature-invalid": func(a *archive) []string {
			r := a.papers[0][3]
			a.fill(r)
			key, _ := evidence.ParseKey(r.Ref.Key)
			body := []byte(strings.Replace(string(r.Body), `"payload":"eyJ`, `"payload":"eyK`, 1))
			key.Digest = signals.Digest(body)
			a.lock(key.String(), body)
			return []string{"record-dropped " + r.Ref.Key, "signature-invalid " + key.String()}
		},
		"unknown-signer": func(a *archive) []string {
			a.fill()
			stranger, _ := evidencetest.Signer(t, "stranger")
			inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: lane, Release: "r-3", Begin: time.Now(), Gateway: stranger})
			var want []string
			papers := evidencetest.Seal(t, stranger, inputs[:1], outcome, a.papers[1].Manifest())
			for _, r := range papers {
				a.lock(r.Ref.Key, r.Body)
				want = append(want, "unknown-signer "+r.Ref.Key)
			}
			return want
		},
		"record-dropped": func(a *archive) []string {
			r := a.papers[1][3]
			a.fill(r)
			return []string{"record-dropped " + r.Ref.Key}
		},
		"truncated": func(a *archive) []string {
			papers := a.papers[1]
			a.fill(papers[len(papers)-1], papers[len(papers)-2])
			return []string{"truncated " + evidence.ReleasePrefix("prod", "payments-api", "r-2")}
		},
		"reordered": func(a *archive) []string {
			one, two := a.papers[1][3], a.papers[1][4]
			a.fill(one, two)
			a.lock(moved(one, two.Ref), one.Body)
			a.lock(moved(two, one.Ref), two.Body)
			return []string{"record-dropped " + one.Ref.Key, "record-dropped " + two.Ref.Key, "reordered " + moved(one, two.Ref), "reordered " + moved(two, one.Ref)}
		},
		"foreign-record": func(a *archive) []string {
			mine, other := a.papers[1][3], a.papers[0][3]
			a.fill(mine)
			a.lock(moved(other, mine.Ref), other.Body)
			return []string{"foreign-record " + moved(other, mine.Ref), "record-dropped " + mine.Ref.Key}
		},
		"extra-record": func(a *archive) []string {
			a.fill()
			in := signals.RecordInput{
				Header: signals.RecordHeader{Environment: "prod", Service: "payments-api", Release: "r-2", Run: "run-r-2", At: time.Now(),
					Sequence: len(a.papers[1]) + 1, Previous: a.papers[1].Manifest().Digest},
				Kind: signals.RecordRefusal, Subjects: []signals.RecordSubject{{Name: "x", Digest: evidencetest.NewDigest}},
				Predicate: evidencetest.Predicate(t, signals.RefusalPredicate{}),
			}
			extra := evidencetest.SealOne(t, a.signer, in)
			a.lock(extra.Ref.Key, extra.Body)
			return []string{"extra-record " + extra.Ref.Key}
		},
		"delete-marker": func(a *archive) []string {
			a.fill()
			key := a.papers[0][2].Ref.Key
			a.mark(key)
			return []string{"delete-marker " + key}
		},
		"second-version": func(a *archive) []string {
			a.fill()
			r := a.papers[0][2]
			a.plain(r.Ref.Key, []byte("forged"))
			return []string{"second-version " + r.Ref.Key}
		},
		"deleted and written again": func(a *archive) []string {
			a.fill()
			r := a.papers[0][2]
			a.mark(r.Ref.Key)
			a.plain(r.Ref.Key, r.Body)
			return []string{"delete-marker " + r.Ref.Key, "second-version " + r.Ref.Key}
		},
		"unlocked": func(a *archive) []string {
			none, short := a.papers[0][2], a.papers[0][5]
			a.fill(none, short)
			a.plain(none.Ref.Key, none.Body)
			_, err := a.writer.Put(t.Context(), short.Ref.Key, short.Body, time.Now().Add(2*time.Second))
			require.NoError(t, err)
			return []string{"unlocked " + none.Ref.Key, "unlocked " + short.Ref.Key}
		},
		"release-missing": func(a *archive) []string {
			a.fill(a.papers[0]...)
			return []string{"release-missing " + a.papers[0].Manifest().Key}
		},
		"schema": func(a *archive) []string {
			a.fill()
			key := evidence.ReleasePrefix("prod", "payments-api", "r-1") + "readme.txt"
			a.plain(key, []byte("hello"))
			return []string{"schema " + key}
		},
	}
	for what, tamper := range tests {
		t.Run(what, func(t *testing.T) {
			a := newArchive(t)
			a.t = t
			want := tamper(a)
			slices.Sort(want)
			require.Equal(t, want, a.judge())
		})
	}
}
