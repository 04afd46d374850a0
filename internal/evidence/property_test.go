package evidence_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

// randomBucket holds one to four releases in up to two lanes, each of one to
// nine records and its manifest.
func randomBucket(t *testing.T, rt *rapid.T, signer *evidence.LocalSigner) *bucket {
	t.Helper()
	b := &bucket{t: t, signer: signer, bodies: map[string][]byte{}, objects: map[string][]evidence.Recorded{}}
	heads := map[evidence.Lane]*signals.RecordRef{}
	for i := range rapid.IntRange(1, 4).Draw(rt, "releases") {
		lane := rapid.SampledFrom([]evidence.Lane{prod, {Environment: "staging", Service: "payments-api"}}).Draw(rt, "lane")
		var inputs []signals.RecordInput
		for n := range rapid.IntRange(1, 9).Draw(rt, "records") {
			inputs = append(inputs, signals.RecordInput{
				Header: signals.RecordHeader{
					Environment: lane.Environment, Service: lane.Service, Release: fmt.Sprintf("r-%d", i), Run: "run",
					At: begin.Add(time.Duration(i)*time.Hour + time.Duration(n)*time.Second),
				},
				Kind:      rapid.SampledFrom([]signals.RecordKind{signals.RecordRequest, signals.RecordRefusal, signals.RecordAnalysis}).Draw(rt, "kind"),
				Subjects:  []signals.RecordSubject{{Name: "image", Digest: evidencetest.NewDigest}},
				Predicate: evidencetest.Predicate(rt, map[string]string{"note": rapid.String().Draw(rt, "note")}),
			})
		}
		papers := evidencetest.Seal(rt, signer, inputs, signals.Outcome{Kind: signals.Promoted}, heads[lane])
		heads[lane] = papers.Manifest()
		b.put(papers...)
		b.releases = append(b.releases, papers)
	}
	return b
}

// pick draws one record of the bucket, with its release.
func (b *bucket) pick(rt *rapid.T, label string) (evidencetest.Papers, evidencetest.Stored) {
	papers := rapid.SampledFrom(b.releases).Draw(rt, label+" release")
	return papers, papers[rapid.IntRange(0, len(papers)-1).Draw(rt, label+" record")]
}

// mutations falsify a bucket in one way each. They return false if this bucket
// does not lend itself to it.
var mutations = map[string]func(rt *rapid.T, b *bucket) bool{
	"flip a bit": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "flip")
		body := slices.Clone(r.Body)
		body[rapid.IntRange(0, len(body)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		b.bodies[r.Ref.Key] = body
		return true
	},
	"flip a bit of what was signed and rename the object": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "flip")
		body := slices.Clone(r.Body)
		const begins = len(`{"payloadType":"application/vnd.in-toto+json","payload":"`)
		body[rapid.IntRange(begins, begins+400).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		b.rekey(r.Ref, body)
		return true
	},
	"drop a record": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "drop")
		b.drop(r.Ref)
		return true
	},
	"swap two contents": func(rt *rapid.T, b *bucket) bool {
		_, one := b.pick(rt, "one")
		_, two := b.pick(rt, "two")
		b.bodies[one.Ref.Key], b.bodies[two.Ref.Key] = two.Body, one.Body
		return one.Ref.Key != two.Ref.Key
	},
	"swap two places": func(rt *rapid.T, b *bucket) bool {
		_, one := b.pick(rt, "one")
		_, two := b.pick(rt, "two")
		if one.Ref.Key == two.Ref.Key {
			return false
		}
		b.moved(one, two.Ref)
		b.moved(two, one.Ref)
		return true
	},
	"truncate a release": func(rt *rapid.T, b *bucket) bool {
		papers, _ := b.pick(rt, "truncate")
		for _, r := range papers[rapid.IntRange(1, len(papers)-1).Draw(rt, "keep"):] {
			b.drop(r.Ref)
		}
		return true
	},
	"replay a record of another release": func(rt *rapid.T, b *bucket) bool {
		papers, at := b.pick(rt, "victim")
		other, r := b.pick(rt, "replayed")
		if papers[0].Ref.Key == other[0].Ref.Key {
			return false
		}
		if rapid.Bool().Draw(rt, "replace") {
			b.drop(at.Ref)
		}
		key, err := evidence.ParseKey(at.Ref.Key)
		if err != nil {
			rt.Fatal(err)
		}
		key.Kind, key.Digest = r.Ref.Kind, r.Ref.Digest
		b.putAt(key.String(), r.Body)
		return true
	},
	"repeat a record at another place": func(rt *rapid.T, b *bucket) bool {
		papers, r := b.pick(rt, "repeated")
		key, err := evidence.ParseKey(r.Ref.Key)
		if err != nil {
			rt.Fatal(err)
		}
		place := rapid.IntRange(1, len(papers)+3).Draw(rt, "place")
		same := key.Sequence == place
		key.Sequence = place
		b.putAt(key.String(), r.Body)
		return !same
	},
	"remove a release that another follows": func(rt *rapid.T, b *bucket) bool {
		papers, _ := b.pick(rt, "release")
		i := slices.IndexFunc(b.releases, func(p evidencetest.Papers) bool { return p[0].Ref.Key == papers[0].Ref.Key })
		key, err := evidence.ParseKey(papers[0].Ref.Key)
		if err != nil {
			rt.Fatal(err)
		}
		followed := slices.ContainsFunc(b.releases[i+1:], func(p evidencetest.Papers) bool {
			later, _ := evidence.ParseKey(p[0].Ref.Key)
			return later.Lane() == key.Lane()
		})
		for _, r := range papers {
			b.drop(r.Ref)
		}
		return followed
	},
	"set a delete marker": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "marked")
		marker := evidence.Recorded{Object: evidence.Object{Key: r.Ref.Key, Version: "m", DeleteMarker: true, Latest: true}}
		b.objects[r.Ref.Key] = slices.Insert(b.objects[r.Ref.Key], 0, marker)
		return true
	},
	"write a second version": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "doubled")
		again := b.objects[r.Ref.Key][0]
		again.Version = "again"
		b.objects[r.Ref.Key] = slices.Insert(b.objects[r.Ref.Key], 0, again)
		return true
	},
	"lift a lock": func(rt *rapid.T, b *bucket) bool {
		_, r := b.pick(rt, "unlocked")
		b.objects[r.Ref.Key][0].Lock = nil
		return true
	},
}

func TestEveryMutationIsFoundAndNothingElse(t *testing.T) {
	signer, _ := evidencetest.Signer(t, "evidence-1")
	names := slices.Sorted(maps.Keys(mutations))
	rapid.Check(t, func(rt *rapid.T) {
		b := randomBucket(t, rt, signer)
		if found := faults(b.verify(true)); len(found) > 0 {
			rt.Fatalf("untouched papers raise an alarm: %v", found)
		}
		name := rapid.SampledFrom(names).Draw(rt, "mutation")
		if !mutations[name](rt, b) {
			// Some need more than was drawn, for example two releases to swap between.
			// rapid draws anew, and fails the test if too few draws are of use.
			rt.Skip("not applicable to this bucket")
		}
		if len(faults(b.verify(true))) == 0 {
			rt.Fatalf("nobody noticed: %s", name)
		}
	})
}
