package signals

import "time"

// OutcomeKind is how a release ended.
type OutcomeKind string

// The outcomes. All of them complete the workflow; a workflow that fails means
// a defect, or an undo that could not be done, and pages.
const (
	Promoted   OutcomeKind = "promoted"
	RolledBack OutcomeKind = "rolled-back"
	Rejected   OutcomeKind = "rejected"
	Denied     OutcomeKind = "denied"
	Expired    OutcomeKind = "expired"
	Aborted    OutcomeKind = "aborted"
	Superseded OutcomeKind = "superseded"
	// Terminated stands in the manifest that a lane writes for a release which
	// was terminated or failed, and so could not close its own papers.
	Terminated OutcomeKind = "terminated"
	// Recorded stands in the manifests of the journal, which releases nothing.
	Recorded OutcomeKind = "recorded"
)

// Outcome is the result of a release workflow.
type Outcome struct {
	Kind        OutcomeKind `json:"outcome"`
	Release     string      `json:"release"`
	Run         string      `json:"run"`
	Service     string      `json:"service"`
	Environment string      `json:"environment"`
	Tier        int         `json:"tier"`
	Artifact    Artifact    `json:"artifact,omitzero"`
	PlanDigest  string      `json:"planDigest,omitempty"`
	// Phase is where the release was when this outcome was decided.
	Phase   Phase    `json:"phase"`
	Reasons []string `json:"reasons,omitempty"`
	// By is who decided it, if a person did.
	By       string          `json:"by,omitempty"`
	Rollback *RollbackReport `json:"rollback,omitempty"`
	// LKG is what the lane goes back to from now on.
	LKG      *Snapshot  `json:"lastKnownGood,omitempty"`
	Manifest *RecordRef `json:"manifest,omitempty"`
	// Commit is what the image was built from.
	Commit string `json:"commit,omitempty"`
	// Review is what a break-glass release leaves due.
	Review    *ReviewDue `json:"review,omitempty"`
	StartedAt time.Time  `json:"startedAt"`
	EndedAt   time.Time  `json:"endedAt"`
}

// ReviewDue is the review that a break-glass release leaves to be done, by
// somebody who neither asked for it nor approved it.
type ReviewDue struct {
	Release string    `json:"release"`
	Reason  string    `json:"reason"`
	Due     time.Time `json:"due"`
	// Excluded are the identities of those who can't close it: keys, ids, names and
	// addresses.
	Excluded []string `json:"excluded"`
}

// RollbackReport tells what was undone, in the order it was done.
type RollbackReport struct {
	Cause    string     `json:"cause"`
	Trigger  string     `json:"trigger"` // check, operator, cancel, error
	From     string     `json:"from"`    // digest
	To       string     `json:"to"`      // digest
	Steps    []UndoStep `json:"steps"`
	Started  time.Time  `json:"startedAt"`
	Ended    time.Time  `json:"endedAt"`
	Duration Duration   `json:"duration"`
	// Complete is false if any step failed; the release then fails and pages.
	Complete bool `json:"complete"`
}

// UndoStep is one compensation and what it came to.
type UndoStep struct {
	Name     string    `json:"name"`
	Started  time.Time `json:"startedAt"`
	Duration Duration  `json:"duration"`
	Observed string    `json:"observed,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// ExitCode is the exit status of `waybill start --wait`, `watch` and `status
// --exit-code` for an outcome. Codes below 10 are the client's own: 1 any other
// error, 2 bad input, 3 not authenticated or not allowed, 4 not found,
// 5 conflict, 6 evidence does not verify, 7 unreachable.
func (k OutcomeKind) ExitCode() int {
	switch k {
	case Promoted:
		return 0
	case RolledBack:
		return 10
	case Rejected:
		return 11
	case Denied:
		return 12
	case Expired:
		return 13
	case Aborted:
		return 14
	case Superseded:
		return 15
	}
	return ExitFailed
}

// ExitFailed is the exit status for a release workflow that failed or was
// terminated: the environment needs a person.
const ExitFailed = 20
