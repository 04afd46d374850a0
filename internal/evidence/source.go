package evidence

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// Object is one version of one object in a bucket, or a delete marker. Version
// is "" where the source keeps no versions. Versions of one key come newest
// first, as S3 lists them; delete markers stand anywhere among them.
type Object struct {
	Key          string    `json:"key"`
	Version      string    `json:"version"`
	Latest       bool      `json:"latest"`
	DeleteMarker bool      `json:"deleteMarker,omitempty"`
	Modified     time.Time `json:"modified"`
	Size         int64     `json:"size"`
}

// Lock is the retention of one object version.
type Lock struct {
	Mode        string    `json:"mode"` // COMPLIANCE or GOVERNANCE
	RetainUntil time.Time `json:"retainUntil"`
}

// Content is what an object version holds. Lock is nil if it has no retention,
// or if the source can't tell.
type Content struct {
	Body []byte
	Lock *Lock
}

// Source is a bucket, or a copy of one.
type Source interface {
	// List yields every version and delete marker under prefix. All of one key
	// come together, and all keys of one folder do.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Folders returns the names directly under prefix, which ends in "/".
	Folders(ctx context.Context, prefix string) ([]string, error)
	// Read returns an object version's content, at most MaxBytes+1 of it.
	Read(ctx context.Context, o Object) (Content, error)
	// Versioned tells whether versions, markers and locks can be judged here.
	Versioned() bool
}

// MaxBytes bounds a record's size; a larger object is no record.
const MaxBytes = 16 << 20

// versions is one key with all its versions and markers, newest first.
type versions []Object

// folder is the objects of one release, by key.
type folder struct {
	prefix string
	keys   []versions
}

// original is the version that was written first: what came later under the
// same key can't be the record.
func (v versions) original() (Object, bool) {
	for _, o := range slices.Backward(v) {
		if !o.DeleteMarker {
			return o, true
		}
	}
	return Object{}, false
}

// folders groups a listing by release. Objects outside any release's folder
// come one by one with prefix "".
func folders(list iter.Seq2[Object, error]) iter.Seq2[folder, error] {
	return func(yield func(folder, error) bool) {
		var current folder
		for o, err := range list {
			if err != nil {
				yield(folder{}, err)
				return
			}
			prefix := releaseFolder(o.Key)
			if len(current.keys) > 0 && (prefix == "" || prefix != current.prefix) {
				if !yield(current, nil) {
					return
				}
				current = folder{}
			}
			current.prefix = prefix
			if n := len(current.keys); n > 0 && current.keys[n-1][0].Key == o.Key {
				current.keys[n-1] = append(current.keys[n-1], o)
			} else {
				current.keys = append(current.keys, versions{o})
			}
		}
		if len(current.keys) > 0 {
			yield(current, nil)
		}
	}
}

// ErrTaken says that a key is not free: something was written there before.
var ErrTaken = errors.New("the key is taken")
