package signals

// Error types of application errors that cross Temporal. They are what a client
// decides on; the text is for people.
const (
	// ErrBadRequest: the request can't be resolved (unknown service, no such
	// image, tag where a digest is demanded). Ends the release as rejected.
	ErrBadRequest = "BadRequest"
	// ErrRefused: verification or policy says no. Ends the release as rejected.
	ErrRefused = "Refused"
	// ErrUntrusted: a message without a valid envelope.
	ErrUntrusted = "Untrusted"
	// ErrNotNow: the message makes no sense in the phase the release is in.
	ErrNotNow = "NotNow"
	// ErrNotAllowed: the subject may not do this (separation of duties, groups).
	ErrNotAllowed = "NotAllowed"
	// ErrConflict: evidence or environment holds something else than expected
	// and going on could hide it. Needs a person.
	ErrConflict = "Conflict"
	// ErrReplayed: a message whose nonce was used before. Nothing is counted twice;
	// whoever sent it twice by accident need do nothing.
	ErrReplayed = "Replayed"
	// ErrStepUp: the decision needs a fresh login at the identity provider.
	ErrStepUp = "StepUp"
	// ErrStands: nothing has changed yet, look again later.
	ErrStands = "Stands"
	// ErrPermit: a deploy activity was asked to act without a valid permit.
	ErrPermit = "Permit"
	// ErrReset: the workflow was reset; what was approved belongs to another run.
	ErrReset = "Reset"
	// ErrNotReady: a rollout did not become ready in its time.
	ErrNotReady = "NotReady"
	// ErrCapacity: a side can't carry the share it is about to get.
	ErrCapacity = "Capacity"
	// ErrNotDelivered: people could not be told; it is tried again.
	ErrNotDelivered = "NotDelivered"
	// ErrUndo: a compensation could not be done.
	ErrUndo = "UndoFailed"
)
