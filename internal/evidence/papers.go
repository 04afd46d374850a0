package evidence

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/signals"
)

// Papers is one release's records that proved sound, in order, with the
// judgement on all of them.
type Papers struct {
	Report  ReleaseReport `json:"report"`
	Records []Record      `json:"records"`
}

// NotFoundError says that the evidence knows no such thing. Its exit status is 4.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return e.What }

// ExitCode is the client's exit status for what is not found.
func (e *NotFoundError) ExitCode() int { return 4 }

// Find returns the lane whose folder holds a release's papers.
func Find(ctx context.Context, src Source, release string) (Lane, error) {
	var found []Lane
	environments, err := src.Folders(ctx, Root)
	if err != nil {
		return Lane{}, err
	}
	for _, environment := range environments {
		services, err := src.Folders(ctx, Root+environment+"/")
		if err != nil {
			return Lane{}, err
		}
		for _, service := range services {
			lane := Lane{environment, service}
			releases, err := src.Folders(ctx, lane.Prefix())
			if err != nil {
				return Lane{}, err
			}
			if slices.Contains(releases, release) {
				found = append(found, lane)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Lane{}, &NotFoundError{fmt.Sprintf("no papers of release %q; `waybill evidence list` shows what there is", release)}
	}
	return Lane{}, fmt.Errorf("release %q has papers in lanes %v; name one with --environment and --service", release, found)
}

// Load reads and judges one release's papers. Options.Lane saves the search for
// its folder.
func Load(ctx context.Context, src Source, release string, o Options) (Papers, error) {
	if len(o.Keys) == 0 {
		return Papers{}, ErrNoKeys
	}
	lane := o.Lane
	if lane == (Lane{}) {
		var err error
		if lane, err = Find(ctx, src, release); err != nil {
			return Papers{}, err
		}
	}
	prefix := lane.Prefix() + release + "/"
	for f, err := range folders(src.List(ctx, prefix)) {
		if err != nil {
			return Papers{}, fmt.Errorf("list %s: %w", prefix, err)
		}
		report, records, err := verifyFolder(ctx, src, f, o)
		return Papers{report, records}, err
	}
	return Papers{}, &NotFoundError{fmt.Sprintf("no papers of release %q in lane %s", release, lane)}
}

// read is one decoded predicate with the record it comes from.
type read[T any] struct {
	Record
	Body T
}

// all decodes every record of a kind.
func all[T any](p Papers, kind signals.RecordKind) ([]read[T], error) {
	var found []read[T]
	for _, r := range p.Records {
		if r.Ref.Kind != kind {
			continue
		}
		var body T
		if err := r.Statement.Into(&body); err != nil {
			return nil, fmt.Errorf("record %s: %w", r.Ref.Key, err)
		}
		found = append(found, read[T]{r, body})
	}
	return found, nil
}

// first decodes the first record of a kind, nil if there is none.
func first[T any](p Papers, kind signals.RecordKind) (*read[T], error) {
	found, err := all[T](p, kind)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func requester(r signals.RequesterView) string {
	switch {
	case r.Proven && r.Subject != nil:
		return r.Subject.Display() + " (proven)"
	case r.Claimed != "":
		return r.Claimed + " (claimed, not proven)"
	}
	return "nobody that could be proven"
}

// short is a digest cut to what a person compares at a glance.
func short(digest string) string {
	const keep = len("sha256:") + 12
	if len(digest) > keep {
		return digest[:keep]
	}
	return digest
}
