package evidence_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

func TestUntouchedPapersAreComplete(t *testing.T) {
	b := newBucket(t)
	for _, versions := range []bool{true, false} {
		r := b.verify(versions)
		require.Empty(t, faults(r))
		require.NoError(t, r.Err())
		require.Equal(t, 3, r.Complete)
		require.Equal(t, versions, r.Versioned)
		require.Equal(t, []signals.OutcomeKind{signals.Promoted, signals.RolledBack, signals.Promoted},
			[]signals.OutcomeKind{r.Releases[0].Outcome, r.Releases[1].Outcome, r.Releases[2].Outcome})
		require.Equal(t, []string{b.releases[2].Manifest().Digest}, r.Lanes[0].Heads)
	}
}

// TestTampering is threat 10 (omitted or truncated evidence) and its kin: each
// way to falsify the bucket is named for what it is, by key.
func TestTampering(t *testing.T) {
	at := func(b *bucket, release, record int) evidencetest.Stored { return b.releases[release][record-1] }
	last := func(b *bucket, release int) evidencetest.Stored {
		return b.releases[release][len(b.releases[release])-1]
	}
	prefix := func(b *bucket, release int) string {
		return evidence.ReleasePrefix("prod", "payments-api", fmt.Sprintf("payments-api-prod-%d", release+1))
	}
	tests := []struct {
		name   string
		tamper func(b *bucket) []string // returns the faults to be found
	}{
		{"a flipped bit", func(b *bucket) []string {
			r := at(b, 1, 3)
			body := slices.Clone(r.Body)
			body[len(body)/2] ^= 4
			b.bodies[r.Ref.Key] = body
			return []string{"bit-flipped " + r.Ref.Key}
		}},
		{"a flipped bit in the manifest", func(b *bucket) []string {
			r := last(b, 1)
			body := slices.Clone(r.Body)
			body[len(body)/2] ^= 4
			b.bodies[r.Ref.Key] = body
			return []string{"bit-flipped " + r.Ref.Key}
		}},
		{"content changed and the key made to fit", func(b *bucket) []string {
			r := at(b, 0, 2)
			key := b.rekey(r.Ref, resigned(t, r.Body, nil))
			return []string{"signature-invalid " + key, "record-dropped " + r.Ref.Key}
		}},
		{"content changed and signed by a stranger", func(b *bucket) []string {
			r := at(b, 0, 2)
			key := b.rekey(r.Ref, resigned(t, r.Body, b.stranger))
			return []string{"unknown-signer " + key, "record-dropped " + r.Ref.Key}
		}},
		{"content changed and signed with the stolen key", func(b *bucket) []string {
			r := at(b, 0, 2)
			key := b.rekey(r.Ref, resigned(t, r.Body, b.signer))
			return []string{"extra-record " + key, "record-dropped " + r.Ref.Key, "reordered " + at(b, 0, 3).Ref.Key}
		}},
		{"an unsigned field slipped into the envelope", func(b *bucket) []string {
			r := at(b, 0, 2)
			key := b.rekey(r.Ref, []byte(strings.Replace(string(r.Body), `{`, `{"note":"x",`, 1)))
			return []string{"schema " + key, "record-dropped " + r.Ref.Key}
		}},
		{"a record dropped", func(b *bucket) []string {
			r := at(b, 1, 4)
			b.drop(r.Ref)
			return []string{"record-dropped " + r.Ref.Key}
		}},
		{"the first record dropped", func(b *bucket) []string {
			r := at(b, 1, 1)
			b.drop(r.Ref)
			return []string{"record-dropped " + r.Ref.Key}
		}},
		{"the record before the manifest dropped", func(b *bucket) []string {
			r := b.releases[1][len(b.releases[1])-2]
			b.drop(r.Ref)
			return []string{"record-dropped " + r.Ref.Key}
		}},
		{"the newest release cut short", func(b *bucket) []string {
			b.drop(last(b, 2).Ref)
			return []string{"truncated " + prefix(b, 2)}
		}},
		{"a gap and no manifest", func(b *bucket) []string {
			b.drop(at(b, 2, 4).Ref, last(b, 2).Ref)
			return []string{"record-dropped " + prefix(b, 2), "truncated " + prefix(b, 2)}
		}},
		{"an older release cut short", func(b *bucket) []string {
			b.drop(last(b, 0).Ref)
			return []string{"truncated " + prefix(b, 0), "release-missing " + last(b, 0).Ref.Key}
		}},
		{"two records swapped", func(b *bucket) []string {
			one, two := at(b, 1, 3), at(b, 1, 5)
			first, second := b.moved(one, two.Ref), b.moved(two, one.Ref)
			return []string{"reordered " + first, "reordered " + second, "record-dropped " + one.Ref.Key, "record-dropped " + two.Ref.Key}
		}},
		{"a record of another release put in its place", func(b *bucket) []string {
			mine, other := at(b, 1, 3), at(b, 0, 3)
			key := b.moved(other, mine.Ref)
			b.put(other)
			b.drop(mine.Ref)
			return []string{"foreign-record " + key, "record-dropped " + mine.Ref.Key}
		}},
		{"a release moved to another lane", func(b *bucket) []string {
			var want []string
			for _, r := range b.releases[2] {
				key := strings.Replace(r.Ref.Key, "v1/prod/", "v1/staging/", 1)
				b.drop(r.Ref)
				b.putAt(key, r.Body)
				want = append(want, "foreign-record "+key)
			}
			return want
		}},
		{"a delete marker", func(b *bucket) []string {
			key := at(b, 1, 2).Ref.Key
			b.objects[key] = slices.Insert(b.objects[key], 0, evidence.Recorded{Object: evidence.Object{Key: key, Version: "m", DeleteMarker: true, Latest: true}})
			return []string{"delete-marker " + key}
		}},
		{"a second version", func(b *bucket) []string {
			key := at(b, 1, 2).Ref.Key
			again := b.objects[key][0]
			again.Version = "v2"
			b.objects[key] = slices.Insert(b.objects[key], 0, again)
			return []string{"second-version " + key}
		}},
		{"retention missing", func(b *bucket) []string {
			key := at(b, 1, 2).Ref.Key
			b.objects[key][0].Lock = nil
			return []string{"unlocked " + key}
		}},
		{"retention too short", func(b *bucket) []string {
			key := at(b, 1, 2).Ref.Key
			b.objects[key][0].Lock.RetainUntil = begin.Add(time.Hour)
			return []string{"unlocked " + key}
		}},
		{"retention that a privileged user can lift", func(b *bucket) []string {
			key := at(b, 1, 2).Ref.Key
			b.objects[key][0].Lock.Mode = "GOVERNANCE"
			return []string{"unlocked " + key}
		}},
		{"a signed record that the manifest does not list", func(b *bucket) []string {
			in := b.after(last(b, 2))
			extra := evidencetest.SealOne(t, b.signer, in)
			b.put(extra)
			return []string{"extra-record " + extra.Ref.Key}
		}},
		{"a release removed whole", func(b *bucket) []string {
			for _, r := range b.releases[1] {
				b.drop(r.Ref)
			}
			return []string{"release-missing " + last(b, 1).Ref.Key}
		}},
		{"two manifests after one", func(b *bucket) []string {
			inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: prod, Release: "payments-api-prod-9", Begin: begin.Add(5 * time.Hour), Gateway: b.stranger})
			b.put(evidencetest.Seal(t, b.signer, inputs, outcome, b.releases[1].Manifest())...)
			return []string{"release-missing " + prod.Prefix()}
		}},
		{"a stray file", func(b *bucket) []string {
			b.putAt(prefix(b, 0)+"notes.txt", []byte("x"))
			b.putAt("v1/readme.txt", []byte("x"))
			return []string{"schema " + prefix(b, 0) + "notes.txt", "schema v1/readme.txt"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBucket(t)
			want := tt.tamper(b)
			r := b.verify(true)
			require.ElementsMatch(t, want, faults(r))
			var wrong *evidence.FaultsError
			require.ErrorAs(t, r.Err(), &wrong)
			require.Equal(t, 6, wrong.ExitCode())
		})
	}
}

func TestRunningReleaseIsOpen(t *testing.T) {
	b := newBucket(t)
	newest := b.releases[2]
	b.drop(newest[len(newest)-1].Ref)
	o := b.options()
	o.Closed, o.Now = false, begin.Add(3*time.Hour)
	r, err := evidence.Verify(t.Context(), b.folder(true), o)
	require.NoError(t, err)
	require.Empty(t, faults(r))
	require.Equal(t, 1, r.Open)
	o.Now = begin.Add(72 * time.Hour)
	r, err = evidence.Verify(t.Context(), b.folder(true), o)
	require.NoError(t, err)
	require.Equal(t, 1, r.ByKind[evidence.Truncated], "a release that has been silent for long is not running")
}

// TestNewestReleaseRemoved shows what the chain alone can't: a head that is
// remembered elsewhere can.
func TestNewestReleaseRemoved(t *testing.T) {
	b := newBucket(t)
	o := b.options()
	o.Heads = []string{b.releases[2].Manifest().Digest}
	for _, r := range b.releases[2] {
		b.drop(r.Ref)
	}
	r, err := evidence.Verify(t.Context(), b.folder(true), o)
	require.NoError(t, err)
	require.Equal(t, []string{"release-missing v1/"}, faults(r))
}

func TestVerifyNeedsKeys(t *testing.T) {
	b := newBucket(t)
	_, err := evidence.Verify(t.Context(), b.folder(false), evidence.Options{})
	require.ErrorIs(t, err, evidence.ErrNoKeys)
}
