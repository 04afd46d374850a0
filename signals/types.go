package signals

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duration is a length of time whose JSON form is Go's text form: "90s", "1h30m".
type Duration time.Duration

// D returns the standard library's form.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String renders the duration as text, for example "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the duration as a JSON string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a JSON string such as "30s"; a bare number is refused,
// because its unit could only be guessed.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("duration %s: want a string with a unit, such as \"30s\" or \"5m\"", b)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit, such as \"30s\" or \"5m\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Subject is a person or machine as an identity provider knows it. Issuer and
// ID together are immutable and are what decisions are made on; the other
// fields are for people to read.
type Subject struct {
	Issuer string   `json:"issuer"`
	ID     string   `json:"subject"`
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Aliases are the other accounts and addresses that the directory knows to be
	// the same person's.
	Aliases []string `json:"aliases,omitempty"`
}

// Person is somebody as the directory knows them now.
type Person struct {
	Subject
	Active bool `json:"active"`
}

// Key identifies the subject in comparisons: issuer and id, nothing mutable.
func (s Subject) Key() string { return s.Issuer + "#" + s.ID }

// Display is what a person calls the subject: name, else id.
func (s Subject) Display() string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

// PublicKey is a verification key pinned into a plan, PEM encoded (PKIX). A
// signature counts only if it was made within the validity window; a zero bound
// is open.
type PublicKey struct {
	ID        string    `json:"id"`
	PEM       string    `json:"pem"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
}

// Digest is the SHA-256 of bytes in the form "sha256:<hex>".
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// PlainDigest is a digest in a form that two people can compare, or one person
// on two screens: its hex digits in groups of eight. Anything that is not a
// SHA-256 digest comes back as it is.
func PlainDigest(digest string) string {
	if !ValidDigest(digest) {
		return digest
	}
	digits := strings.TrimPrefix(digest, "sha256:")
	groups := make([]string, 0, len(digits)/8)
	for i := 0; i < len(digits); i += 8 {
		groups = append(groups, digits[i:i+8])
	}
	return strings.Join(groups, " ")
}
