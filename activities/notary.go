package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/signals"
)

// RecordStore is the bucket, as far as the notary needs it. Every call has its
// own timeout.
type RecordStore interface {
	// List yields every version and delete marker under prefix, newest first
	// within a key.
	List(ctx context.Context, prefix string) iter.Seq2[evidence.Object, error]
	// Put stores a body under a free key, locked until a time, and returns its
	// version; evidence.ErrTaken if the key is not free.
	Put(ctx context.Context, key string, body []byte, retainUntil time.Time) (version string, err error)
	// Get returns the bytes of one version.
	Get(ctx context.Context, key, version string) ([]byte, error)
	// Retention returns the lock of one version, nil if it has none.
	Retention(ctx context.Context, key, version string) (*evidence.Lock, error)
	// Mode is the retention mode that Put asks for.
	Mode() string
}

// Notary signs records and stores them. It alone holds the evidence key and the
// right to write to the bucket.
type Notary struct {
	signer    evidence.Signer
	own       evidence.Keyring
	store     RecordStore
	retention time.Duration
	// turns lets one attempt at a time at a release: an attempt that outlived its
	// workflow must not write beside the lane that closes its papers.
	turns [64]sync.Mutex
}

// NewNotary makes a notary that locks each record for retention.
func NewNotary(signer evidence.Signer, store RecordStore, retention time.Duration) (*Notary, error) {
	own, err := evidence.NewKeyring(signer.Public())
	if err != nil {
		return nil, err
	}
	if retention <= 0 {
		return nil, fmt.Errorf("retention %s: want a time for which records are locked", retention)
	}
	return &Notary{signer: signer, own: own, store: store, retention: retention}, nil
}

// WriteRecord signs and stores one record, and reads it back: it returns only
// when the bytes are there under a version that is locked long enough. A second
// attempt finds the first one's object and adopts it. Anything else at the
// record's place is an ErrConflict, for a person to look at.
func (n *Notary) WriteRecord(ctx context.Context, in signals.RecordInput) (signals.RecordOutput, error) {
	defer n.turn(in.Header.Release)()
	return n.write(ctx, in)
}

func (n *Notary) turn(release string) (done func()) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(release))
	turn := &n.turns[h.Sum32()%uint32(len(n.turns))]
	turn.Lock()
	return turn.Unlock
}

func (n *Notary) write(ctx context.Context, in signals.RecordInput) (signals.RecordOutput, error) {
	payload, err := evidence.Payload(in)
	if err != nil {
		return signals.RecordOutput{}, conflict("record %d of release %s can't be written: %v", in.Header.Sequence, in.Header.Release, err)
	}
	w := writing{n, in, payload}
	ref, body, err := w.place(ctx)
	if err != nil {
		return signals.RecordOutput{}, err
	}
	lock, err := w.confirm(ctx, ref)
	if err != nil {
		return signals.RecordOutput{}, err
	}
	out := signals.RecordOutput{Ref: ref, RetainUntil: lock.RetainUntil}
	if in.Kind == signals.RecordPermit {
		envelope, _, err := evidence.Unseal(body)
		if err != nil {
			return out, err
		}
		out.Envelope = &envelope
	}
	return out, nil
}

// writing is one attempt at one record.
type writing struct {
	*Notary
	in      signals.RecordInput
	payload []byte
}

// place finds the record of an earlier attempt, or writes it.
func (w writing) place(ctx context.Context) (signals.RecordRef, []byte, error) {
	if ref, body, err := w.adopt(ctx); err != nil || body != nil {
		return ref, body, err
	}
	body, err := evidence.Seal(ctx, w.signer, w.payload)
	if err != nil {
		return signals.RecordRef{}, nil, err
	}
	key := evidence.KeyOf(w.in.Header, w.in.Kind, body)
	if _, err = w.store.Put(ctx, key.String(), body, w.until(time.Now())); err != nil && !errors.Is(err, evidence.ErrTaken) {
		return signals.RecordRef{}, nil, err
	}
	// Whether it was written now or just before, by an attempt whose answer was
	// lost: what counts is what the bucket shows, and that nobody else wrote to
	// the same place meanwhile.
	ref, body, err := w.adopt(ctx)
	if err == nil && body == nil {
		err = fmt.Errorf("record %s was written and is not listed; trying again", key)
	}
	return ref, body, err
}

// until is when the lock ends, in whole seconds as S3 keeps it. It is reckoned
// from the later of two clocks, so that no skew makes it too short.
func (w writing) until(now time.Time) time.Time {
	from := w.in.Header.At
	if now.After(from) {
		from = now
	}
	return from.Add(w.retention + time.Second).UTC().Truncate(time.Second)
}

// adopt looks for this very record at its place: the same payload under a valid
// signature of this notary. It returns no body if the place is free. The first
// record looks at the whole release: an id must not be used twice.
func (w writing) adopt(ctx context.Context) (signals.RecordRef, []byte, error) {
	h := w.in.Header
	scope := evidence.SequencePrefix(h)
	if h.Sequence == 1 {
		scope = evidence.ReleasePrefix(h.Environment, h.Service, h.Release)
	}
	held, err := w.held(ctx, scope)
	if err != nil {
		return signals.RecordRef{}, nil, err
	}
	var found signals.RecordRef
	var stored []byte
	for _, ref := range held {
		if ref.Sequence != h.Sequence {
			continue
		}
		body, err := w.store.Get(ctx, ref.Key, ref.Version)
		if err != nil {
			return found, nil, err
		}
		if !w.same(body) {
			return found, nil, conflict("record %d (%s) of release %s was to be written, and the bucket holds %s there; somebody must look at it",
				h.Sequence, w.in.Kind, h.Release, ref.Key)
		}
		if stored == nil {
			found, stored = ref, body
		}
	}
	if stored == nil && len(held) > 0 {
		return found, nil, conflict("release id %s already has papers, such as %s; start under a new id", h.Release, held[0].Key)
	}
	return found, stored, nil
}

// same tells whether a stored object is the record that is being written.
func (w writing) same(body []byte) bool {
	envelope, payload, err := evidence.Unseal(body)
	if err != nil || !bytes.Equal(payload, w.payload) {
		return false
	}
	_, err = w.own.Verify(envelope, payload, w.in.Header.At)
	return err == nil
}

// confirm reads back what was written: the bytes of that version, and its lock.
func (w writing) confirm(ctx context.Context, ref signals.RecordRef) (evidence.Lock, error) {
	body, err := w.store.Get(ctx, ref.Key, ref.Version)
	if err != nil {
		return evidence.Lock{}, err
	}
	if digest := signals.Digest(body); digest != ref.Digest {
		return evidence.Lock{}, conflict("record %s was written, and version %s reads back with digest %s", ref.Key, ref.Version, digest)
	}
	lock, err := w.store.Retention(ctx, ref.Key, ref.Version)
	if err != nil {
		return evidence.Lock{}, err
	}
	least := w.in.Header.At.Add(w.retention)
	switch {
	case lock == nil:
		return evidence.Lock{}, fmt.Errorf("record %s, version %s, has no retention; lock it until %s in mode %s, or mend the bucket", ref.Key, ref.Version, least.Format(time.RFC3339), w.store.Mode())
	case lock.Mode != w.store.Mode() || lock.RetainUntil.Before(least):
		return *lock, fmt.Errorf("record %s, version %s, is locked until %s in mode %s; want %s in mode %s at least",
			ref.Key, ref.Version, lock.RetainUntil.Format(time.RFC3339), lock.Mode, least.Format(time.RFC3339), w.store.Mode())
	}
	return *lock, nil
}

// held lists the records under a prefix, each with the version written first.
// An object whose key is not a record's counts as one of sequence 0.
func (n *Notary) held(ctx context.Context, prefix string) ([]signals.RecordRef, error) {
	var refs []signals.RecordRef
	for o, err := range n.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if o.DeleteMarker {
			continue
		}
		ref := signals.RecordRef{Key: o.Key}
		if key, err := evidence.ParseKey(o.Key); err == nil {
			ref.Sequence, ref.Kind, ref.Digest = key.Sequence, key.Kind, key.Digest
		}
		ref.Version = o.Version
		if last := len(refs) - 1; last >= 0 && refs[last].Key == o.Key {
			refs[last] = ref
		} else {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// conflict is an error that no retry mends.
func conflict(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), signals.ErrConflict, nil)
}
