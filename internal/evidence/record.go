package evidence

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// Record is one stored record whose bytes, signature and place in the bucket
// have been judged.
type Record struct {
	Ref       signals.RecordRef    `json:"ref"`
	Header    signals.RecordHeader `json:"record"`
	Signer    string               `json:"signer"`
	Lock      *Lock                `json:"lock,omitempty"`
	Statement Statement            `json:"statement"`
}

// entry is a key of a release's folder with what was found under it. Only if
// sound is true does Record hold content that was proven; its Ref is always
// what the key says.
type entry struct {
	Record
	key      Key
	sound    bool
	versions map[string]bool
	manifest *signals.ManifestPredicate
	faults   []Fault
}

func (e *entry) fault(kind FaultKind, format string, args ...any) {
	e.faults = append(e.faults, fault(kind, e.key.String(), format, args...))
}

// examine judges one object with its versions: everything that can be said of
// it without its neighbours.
func examine(ctx context.Context, src Source, key Key, all versions, o Options) (*entry, error) {
	original, found := all.original()
	e := &entry{key: key, versions: map[string]bool{}}
	e.Ref = key.ref(original.Version)
	for _, v := range all {
		if v.DeleteMarker {
			e.fault(DeleteMarker, "marker %s of %s hides the record", v.Version, v.Modified.UTC().Format("2006-01-02 15:04:05Z"))
			continue
		}
		e.versions[v.Version] = true
		if v.Version != original.Version {
			e.fault(SecondVersion, "version %s was written over the record's version %s", v.Version, original.Version)
		}
	}
	if !found {
		e.fault(RecordDropped, "only delete markers are left of record %d", key.Sequence)
		return e, nil
	}
	content, err := src.Read(ctx, original)
	if err != nil {
		return nil, err
	}
	e.Lock = content.Lock
	if e.read(content.Body, o.Keys) {
		e.judgeLock(src, o)
	}
	return e, nil
}

// read takes the record out of the object's bytes, layer by layer, and tells
// whether it is sound; the first layer that does not hold is the fault.
func (e *entry) read(body []byte, keys Keyring) (sound bool) {
	if len(body) > MaxBytes {
		e.fault(Schema, "object is larger than %d bytes", MaxBytes)
		return false
	}
	if digest := signals.Digest(body); digest != e.key.Digest {
		e.fault(BitFlipped, "the bytes have digest %s", digest)
		return false
	}
	envelope, payload, err := Unseal(body)
	if err != nil {
		e.fault(Schema, "%v", err)
		return false
	}
	statement, header, parseErr := ParseStatement(payload)
	signer, err := keys.Verify(envelope, payload, header.At)
	switch {
	case errors.Is(err, ErrSigner):
		e.fault(UnknownSigner, "%v", err)
	case errors.Is(err, ErrSignature):
		e.fault(SignatureInvalid, "%v", err)
	case err != nil:
		e.fault(Schema, "%v", err)
	case parseErr != nil:
		e.fault(Schema, "%v", parseErr)
	default:
		e.Statement, e.Header, e.Signer = statement, header, signer
		e.sound = e.judgePlace()
	}
	return e.sound
}

// judgePlace compares what was signed with where it lies.
func (e *entry) judgePlace() bool {
	h, k := e.Header, e.key
	switch {
	case h.Environment != k.Environment || h.Service != k.Service || h.Release != k.Release:
		e.fault(ForeignRecord, "it was signed as record %d of release %s in lane %s", h.Sequence, h.Release, Lane{h.Environment, h.Service})
		return false
	case h.Sequence != k.Sequence:
		e.fault(Reordered, "it was signed as record %d and lies at %d", h.Sequence, k.Sequence)
		return false
	case e.Statement.PredicateType != k.Kind.PredicateType():
		e.fault(Schema, "its key says %s, its predicate is of type %s", k.Kind, e.Statement.PredicateType)
		return false
	}
	if k.Kind == signals.RecordManifest {
		var m signals.ManifestPredicate
		if err := e.Statement.Into(&m); err != nil {
			e.fault(Schema, "%v", err)
			return false
		}
		if m.Count != len(m.Records) {
			e.fault(Schema, "the manifest counts %d records and lists %d", m.Count, len(m.Records))
			return false
		}
		e.manifest = &m
	}
	return true
}

func (e *entry) judgeLock(src Source, o Options) {
	if !src.Versioned() {
		return
	}
	var wrong []string
	if lock := e.Lock; lock == nil {
		wrong = append(wrong, "it has no retention")
	} else {
		if o.LockMode != "" && lock.Mode != o.LockMode {
			wrong = append(wrong, fmt.Sprintf("retention mode is %s, want %s", lock.Mode, o.LockMode))
		}
		if until := e.Header.At.Add(o.Retention); lock.RetainUntil.Before(until) {
			wrong = append(wrong, fmt.Sprintf("retained until %s, want %s at least",
				lock.RetainUntil.UTC().Format("2006-01-02 15:04:05Z"), until.UTC().Format("2006-01-02 15:04:05Z")))
		}
	}
	if len(wrong) > 0 {
		e.fault(Unlocked, "%s", strings.Join(wrong, "; "))
	}
}
