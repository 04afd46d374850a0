package registry

import "fmt"

// Kind is why an image could not be resolved.
type Kind string

// The kinds of error.
const (
	Malformed    Kind = "malformed reference"
	NoSuchTag    Kind = "no such tag"
	NoSuchDigest Kind = "no such digest"
	NotAnImage   Kind = "not an image"
	Unreachable  Kind = "registry unreachable"
)

// Error is an image that could not be resolved, with what to do about it.
type Error struct {
	Kind   Kind
	Image  string
	Detail string
	Err    error
}

// Error names the image, the kind of fault and the remedy.
func (e *Error) Error() string {
	text := fmt.Sprintf("image %q: %s: %s", e.Image, e.Kind, e.Detail)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap returns what the library said.
func (e *Error) Unwrap() error { return e.Err }

// BadRequest is true if asking again can't help: the request must change.
func (e *Error) BadRequest() bool { return e.Kind != Unreachable }
