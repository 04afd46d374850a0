package evidence

import "fmt"

// FaultKind names what is wrong with a record, a release or a lane.
type FaultKind string

// The kinds of fault.
const (
	// BitFlipped: an object's bytes are not those that its key names.
	BitFlipped FaultKind = "bit-flipped"
	// SignatureInvalid: the content was changed after it was signed.
	SignatureInvalid FaultKind = "signature-invalid"
	// UnknownSigner: signed by a key that was not given for verification.
	UnknownSigner FaultKind = "unknown-signer"
	// RecordDropped: a record of a release is gone.
	RecordDropped FaultKind = "record-dropped"
	// Reordered: a record does not stand at the place it was signed for.
	Reordered FaultKind = "reordered"
	// Truncated: a release has no closing manifest.
	Truncated FaultKind = "truncated"
	// ForeignRecord: a record that was signed for another release or lane.
	ForeignRecord FaultKind = "foreign-record"
	// DeleteMarker: somebody deleted the object; its version is still there.
	DeleteMarker FaultKind = "delete-marker"
	// SecondVersion: somebody wrote under the key of a record again.
	SecondVersion FaultKind = "second-version"
	// Unlocked: retention is missing, too short, or not of the mode demanded.
	Unlocked FaultKind = "unlocked"
	// ExtraRecord: a record that the release's manifest doesn't list.
	ExtraRecord FaultKind = "extra-record"
	// ReleaseMissing: the lane's chain of manifests has a hole or a fork.
	ReleaseMissing FaultKind = "release-missing"
	// Schema: an object that is not a record at all, or not a well-formed one.
	Schema FaultKind = "schema"
)

// Fault is one thing that is wrong, by key.
type Fault struct {
	Kind   FaultKind `json:"kind"`
	Key    string    `json:"key"`
	Detail string    `json:"detail"`
}

func fault(kind FaultKind, key, format string, args ...any) Fault {
	return Fault{kind, key, fmt.Sprintf(format, args...)}
}

// FaultsError says that evidence did not verify. Its exit status is 6.
type FaultsError struct{ Faults int }

func (e *FaultsError) Error() string {
	return fmt.Sprintf("evidence does not verify: %d fault(s)", e.Faults)
}

// ExitCode is the client's exit status for evidence that does not verify.
func (e *FaultsError) ExitCode() int { return 6 }
