package signals

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Request asks for one image to be released to one environment of one service.
// It is what CI sends, by hand-written JSON if it likes:
//
//	{"service":"payments-api","environment":"prod",
//	 "image":"registry.example/payments-api@sha256:…",
//	 "commit":"4f1c…","ticket":"CHG-1042"}
type Request struct {
	// Service and Environment name an entry of the catalog.
	Service     string `json:"service"`
	Environment string `json:"environment"`
	// Image is a reference with a digest, or with a tag where the tier allows
	// one; a tag is resolved once and the digest is used from then on.
	Image string `json:"image"`
	// Commit is the full Git commit id that the image must have been built from.
	Commit string `json:"commit"`
	// Ticket is the change ticket; tiers 1 and 2 demand one.
	Ticket string `json:"ticket,omitempty"`
	// Reason says in a sentence why this is released.
	Reason string `json:"reason,omitempty"`
	// RequestedBy is who asks, as claimed. Only a signed Envelope proves it.
	RequestedBy string `json:"requestedBy,omitempty"`
	// BreakGlass asks for the emergency path, by its reason: fewer and shorter
	// windows, two people's approval, and a review afterwards.
	BreakGlass string `json:"breakGlass,omitempty"`
	// Envelope is the gateway's signature over this request (a
	// RequestStatement). Without one the requester counts as unproven.
	Envelope *Envelope `json:"envelope,omitempty"`
}

// MaxRequestBytes bounds the JSON of a request.
const MaxRequestBytes = 64 << 10

var (
	dnsLabel   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	commitID   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	releaseID  = regexp.MustCompile(`^[A-Za-z0-9][-._A-Za-z0-9]{0,126}$`)
	digestText = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseRequest reads a request strictly: unknown fields, trailing data and
// values out of form are errors that name the field. Every fault is listed, so
// that one round trip is enough to mend a request.
func ParseRequest(raw []byte) (Request, error) {
	var r Request
	if len(raw) > MaxRequestBytes {
		return r, fmt.Errorf("request is %d bytes; at most %d are read", len(raw), MaxRequestBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("request is not valid JSON of a release request: %w", explainJSON(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("request has data after its JSON object; send exactly one object")
	}
	return r, r.Validate()
}

// explainJSON rewords the decoder's errors that do not tell a person what to do.
func explainJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w (at byte %d)", err, syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("field %q: got a %s, want a %s", kind.Field, kind.Value, kind.Type)
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	}
	return err
}

// Validate checks the form of every field and joins the faults found.
func (r Request) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(dnsLabel.MatchString(r.Service), "service %q: want a catalog name (lower case letters, digits, dashes)", r.Service)
	check(dnsLabel.MatchString(r.Environment), "environment %q: want a catalog name (lower case letters, digits, dashes)", r.Environment)
	check(r.Image != "" && !strings.ContainsAny(r.Image, " \t\n"), "image %q: want a reference such as registry.example/app@sha256:<hex>", r.Image)
	check(commitID.MatchString(r.Commit), "commit %q: want the full Git commit id (40 or 64 hex digits)", r.Commit)
	check(len(r.Ticket) <= 128, "ticket: want at most 128 characters, got %d", len(r.Ticket))
	check(len(r.BreakGlass) <= 2000, "breakGlass: want at most 2000 characters, got %d", len(r.BreakGlass))
	check(len(r.Reason) <= 2000, "reason: want at most 2000 characters, got %d", len(r.Reason))
	return errors.Join(faults...)
}

// ValidReleaseID reports whether id can name a release: it becomes part of
// object keys, so it is kept to letters, digits, dot, dash and underscore.
func ValidReleaseID(id string) bool { return releaseID.MatchString(id) }

// ValidDigest reports whether s has the form "sha256:<64 hex digits>".
func ValidDigest(s string) bool { return digestText.MatchString(s) }

// ValidName reports whether s can name a service or an environment.
func ValidName(s string) bool { return dnsLabel.MatchString(s) }
