package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// State is how complete a release's papers are.
type State string

// The states of a release's papers.
const (
	// Complete: closed by a manifest, and nothing is wrong.
	Complete State = "complete"
	// Open: not closed yet, its newest record is recent, and nothing is wrong.
	Open State = "open"
	// Faulty: at least one fault.
	Faulty State = "faulty"
)

// ReleaseReport is the judgement on one release's papers.
type ReleaseReport struct {
	Lane
	Release string              `json:"release"`
	State   State               `json:"state"`
	Outcome signals.OutcomeKind `json:"outcome,omitempty"`
	Records int                 `json:"records"`
	// Began and Ended are the times of the first and the last sound record.
	Began    time.Time          `json:"began,omitzero"`
	Ended    time.Time          `json:"ended,omitzero"`
	Manifest *signals.RecordRef `json:"manifest,omitempty"`
	Faults   []Fault            `json:"faults,omitempty"`

	manifest *signals.ManifestPredicate // nil if it is not sound
}

// judgeRelease applies the rules of a release to its examined records. It is
// pure: the same entries at the same time always give the same report.
func judgeRelease(folder string, entries []*entry, o Options) ReleaseReport {
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.key.Sequence, b.key.Sequence), cmp.Compare(a.Ref.Key, b.Ref.Key))
	})
	c := chain{folder: folder, entries: entries, at: map[int][]*entry{}}
	for _, e := range entries {
		c.faults = append(c.faults, e.faults...)
		c.at[e.key.Sequence] = append(c.at[e.key.Sequence], e)
		if e.key.Kind == signals.RecordManifest && (c.closing == nil || c.closing.manifest == nil) {
			c.closing = e
		}
	}
	c.sequence()
	c.links()
	if c.closing != nil && c.closing.manifest != nil {
		c.listed(c.closing.manifest)
	}
	return c.report(o)
}

// chain is a release's records under judgement. closing is its manifest by name;
// what it lists counts only if it is sound.
type chain struct {
	folder  string
	entries []*entry
	at      map[int][]*entry
	closing *entry
	faults  []Fault
}

func (c *chain) fault(kind FaultKind, key, format string, args ...any) {
	c.faults = append(c.faults, fault(kind, key, format, args...))
}

// sequence finds holes and places taken twice.
func (c *chain) sequence() {
	last := 0
	for _, e := range c.entries {
		n := e.key.Sequence
		if n == last {
			if c.closing == nil || c.closing.manifest == nil {
				c.fault(ExtraRecord, e.Ref.Key, "two objects claim to be record %d", n)
			}
			continue
		}
		for missing := last + 1; missing < n && !c.listedAt(missing); missing++ {
			c.fault(RecordDropped, c.folder, "record %d is missing; record %d is there", missing, n)
			if missing-last > 100 {
				c.fault(RecordDropped, c.folder, "and so are all up to %d", n-1)
				break
			}
		}
		last = n
	}
}

// listedAt tells whether the manifest lists a record at this place; its absence
// is then reported by name.
func (c *chain) listedAt(sequence int) bool {
	return c.closing != nil && c.closing.manifest != nil && sequence <= len(c.closing.manifest.Records)
}

// links follows the digests from record to record. A link into or out of a
// record that is itself in doubt says nothing new.
func (c *chain) links() {
	for _, e := range c.entries {
		before := c.at[e.key.Sequence-1]
		if !e.sound || len(before) != 1 || !before[0].inPlace() {
			continue
		}
		if e.Header.Previous != before[0].Ref.Digest {
			c.fault(Reordered, e.Ref.Key, "it names %s as the record before it; there lies %s", e.Header.Previous, before[0].Ref.Digest)
		}
	}
}

// inPlace is false for an entry that was found not to belong where it lies.
func (e *entry) inPlace() bool {
	return !slices.ContainsFunc(e.faults, func(f Fault) bool {
		return f.Kind == ForeignRecord || f.Kind == Reordered || f.Kind == Schema || f.Kind == SignatureInvalid || f.Kind == UnknownSigner
	})
}

// listed compares the manifest with what is there, both ways.
func (c *chain) listed(manifest *signals.ManifestPredicate) {
	m := c.closing
	byKey := map[string]*entry{}
	for _, e := range c.entries {
		byKey[e.Ref.Key] = e
	}
	lists := map[string]bool{m.Ref.Key: true}
	for i, r := range manifest.Records {
		if r.Sequence != i+1 {
			c.fault(Schema, m.Ref.Key, "the manifest lists record %d at place %d", r.Sequence, i+1)
		}
		lists[r.Key] = true
		e := byKey[r.Key]
		switch {
		case e == nil:
			c.fault(RecordDropped, r.Key, "the manifest lists record %d (%s), and it is gone", r.Sequence, r.Kind)
		case e.Ref.Digest != r.Digest:
			c.fault(Schema, m.Ref.Key, "the manifest lists record %d with digest %s under a key that names another", r.Sequence, r.Digest)
		case e.Ref.Version != "" && r.Version != "" && !e.versions[r.Version]:
			c.fault(SecondVersion, r.Key, "the manifest pins version %s; there is %s", r.Version, e.Ref.Version)
		}
	}
	for _, e := range c.entries {
		if !lists[e.Ref.Key] && e.inPlace() {
			c.fault(ExtraRecord, e.Ref.Key, "the manifest does not list it")
		}
	}
	if want := len(manifest.Records) + 1; m.key.Sequence != want {
		c.fault(Schema, m.Ref.Key, "the manifest is record %d and should be %d, after all that it lists", m.key.Sequence, want)
	}
}

// report sums up; a release without a manifest is open or truncated.
func (c *chain) report(o Options) ReleaseReport {
	first := c.entries[0].key
	r := ReleaseReport{Lane: first.Lane(), Release: first.Release, Records: len(c.entries), State: Complete}
	for _, e := range c.entries {
		if !e.sound {
			continue
		}
		if r.Began.IsZero() || e.Header.At.Before(r.Began) {
			r.Began = e.Header.At
		}
		if e.Header.At.After(r.Ended) {
			r.Ended = e.Header.At
		}
	}
	switch {
	case c.closing != nil:
		ref := c.closing.Ref
		r.Manifest, r.manifest = &ref, c.closing.manifest
		if r.manifest != nil {
			r.Outcome = r.manifest.Outcome.Kind
		}
	case !o.Closed && o.Now.Sub(r.Ended) <= o.OpenWithin:
		r.State = Open
	default:
		last := c.entries[len(c.entries)-1].key.Sequence
		c.fault(Truncated, c.folder, "no manifest closes the release; record %d is the last%s", last, age(r.Ended, o.Now))
	}
	if r.Faults = c.faults; len(r.Faults) > 0 {
		r.State = Faulty
	}
	return r
}

func age(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(", %s old", now.Sub(at).Round(time.Second))
}
