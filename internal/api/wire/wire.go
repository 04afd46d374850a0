// Package wire is the JSON of the gateway's HTTP API beyond what signals
// defines. Server and client share it, and it imports nothing but signals.
package wire

import (
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// Started answers a request that was accepted: the release's id, and its run.
type Started struct {
	Release string `json:"release" doc:"The release's id; also its Temporal workflow id"`
	Run     string `json:"run" doc:"The Temporal run id"`
}

// State is the state of a release's workflow as the Temporal server knows it.
type State string

// The states. Only Completed comes with an outcome; the three after it mean
// that the environment needs a person.
const (
	Running    State = "Running"
	Completed  State = "Completed"
	Failed     State = "Failed"
	Terminated State = "Terminated"
	TimedOut   State = "TimedOut"
	Canceled   State = "Canceled"
)

// Execution is what the Temporal server itself knows about a release.
type Execution struct {
	State     State     `json:"state" enum:"Running,Completed,Failed,Terminated,TimedOut,Canceled"`
	Failure   string    `json:"failure,omitempty" doc:"Why the workflow failed, if it did"`
	StartedAt time.Time `json:"startedAt"`
	ClosedAt  time.Time `json:"closedAt,omitzero"`
}

// Release is where a release stands.
type Release struct {
	signals.Status
	Execution Execution `json:"execution"`
}

// Over reports whether the release has ended, in whatever way.
func (r Release) Over() bool { return r.Execution.State != Running }

// ExitCode is the exit status that tells how a release ended; see Ended.
func (r Release) ExitCode() int { return Ended{Outcome: r.Outcome}.ExitCode() }

// Ended answers the wait for an outcome. Outcome is set if State is Completed.
type Ended struct {
	Release string           `json:"release"`
	Done    bool             `json:"done" doc:"False if the release was still running when the wait was over; ask again"`
	State   State            `json:"state" enum:"Running,Completed,Failed,Terminated,TimedOut,Canceled"`
	Failure string           `json:"failure,omitempty"`
	Outcome *signals.Outcome `json:"outcome,omitempty"`
}

// ExitCode is the exit status that tells this end: the outcome's, or
// signals.ExitFailed for a workflow that ended without one.
func (e Ended) ExitCode() int {
	if e.Outcome != nil {
		return e.Outcome.Kind.ExitCode()
	}
	return signals.ExitFailed
}

// Row is one release in a list.
type Row struct {
	Release     string              `json:"release"`
	Run         string              `json:"run"`
	Service     string              `json:"service"`
	Environment string              `json:"environment"`
	Tier        int64               `json:"tier"`
	Phase       signals.Phase       `json:"phase"`
	Outcome     signals.OutcomeKind `json:"outcome,omitempty"`
	Digest      string              `json:"digest,omitempty"`
	State       State               `json:"state"`
	StartedAt   time.Time           `json:"startedAt"`
	ClosedAt    time.Time           `json:"closedAt,omitzero"`
}

// List is one page of releases, newest first.
type List struct {
	Releases []Row  `json:"releases"`
	Next     string `json:"next,omitempty" doc:"Give it as \"after\" to get the next page; absent on the last"`
}

// Decision is what an approver sends. PlanDigest is the digest of the plan that
// the approver has read.
type Decision struct {
	Decision   signals.Decision `json:"decision" enum:"approve,deny,withdraw" doc:"withdraw takes back one's own approval while the quorum is not complete"`
	Reason     string           `json:"reason" minLength:"1" maxLength:"2000"`
	PlanDigest string           `json:"planDigest" pattern:"^sha256:[0-9a-f]{64}$" doc:"Digest of the plan that was read; the decision is refused if the release's plan is another"`
	Command    string           `json:"command,omitempty" maxLength:"128" doc:"Id of the pending command that is decided on, absent for the release itself"`
}

// Command is what an operator sends to a running release.
type Command struct {
	Command signals.CommandKind `json:"command" enum:"pause,resume,abort,skip,extend,rollback,retry"`
	By      signals.Duration    `json:"by,omitempty" doc:"How much longer extend watches, such as 10m"`
	Reason  string              `json:"reason" minLength:"1" maxLength:"2000"`
}

// LaneCommand is what an operator sends to a lane.
type LaneCommand struct {
	Command  signals.LaneCommandKind `json:"command" enum:"freeze,unfreeze,close-review"`
	Until    time.Time               `json:"until,omitzero" doc:"When a freeze ends by itself; absent for one that lasts until unfreeze"`
	Reviewed string                  `json:"reviewed,omitempty" maxLength:"127" doc:"The break-glass release whose review is closed"`
	Reason   string                  `json:"reason" minLength:"1" maxLength:"2000"`
}

// Login tells a client how to get a token.
type Login struct {
	Issuers []LoginIssuer `json:"issuers"`
}

// LoginIssuer is one issuer with the public client to use at it.
type LoginIssuer struct {
	URL      string   `json:"url"`
	Audience string   `json:"audience"`
	ClientID string   `json:"clientId"`
	Scopes   []string `json:"scopes"`
}

// Whoami is who the gateway takes the caller for.
type Whoami struct {
	Subject signals.Subject        `json:"subject"`
	Authn   signals.Authentication `json:"authn"`
}

// StepUpProblem is the type of the answer to a decision that has to be made on
// the gateway's page, after a fresh login. Its instance is that page.
const StepUpProblem = "https://waybill.dev/problems/step-up"

// ReplayedProblem is the type of the answer to a message that was counted before.
const ReplayedProblem = "https://waybill.dev/problems/replayed"

// Problem is an error answer (RFC 9457). Errors lists single faults.
type Problem struct {
	Type     string          `json:"type,omitempty"`
	Instance string          `json:"instance,omitempty"`
	Status   int             `json:"status"`
	Title    string          `json:"title"`
	Detail   string          `json:"detail"`
	Errors   []ProblemDetail `json:"errors,omitempty"`
}

// ProblemDetail is one fault in a request and where it is.
type ProblemDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"`
}
