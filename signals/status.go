package signals

import "time"

// Phase is where a release stands.
type Phase string

// The phases in the order they come.
const (
	Intake      Phase = "intake"
	Verifying   Phase = "verification"
	Deciding    Phase = "policy"
	Approving   Phase = "approval"
	Queueing    Phase = "lane"
	Baseline    Phase = "baseline"
	Canary      Phase = "canary"
	Ramp        Phase = "ramp"
	Promotion   Phase = "promotion"
	Bake        Phase = "bake"
	RollingBack Phase = "rollback"
	Settled     Phase = "settled"
)

// Phases lists the forward phases in order.
func Phases() []Phase {
	return []Phase{Intake, Verifying, Deciding, Approving, Queueing, Baseline, Canary, Ramp, Promotion, Bake, Settled}
}

// Status answers the status query and is what `waybill status` and `watch`
// show. Everything in it can be read by a person who was just woken up.
type Status struct {
	Release     string   `json:"release"`
	Run         string   `json:"run"`
	Service     string   `json:"service"`
	Environment string   `json:"environment"`
	Tier        int      `json:"tier"`
	Artifact    Artifact `json:"artifact,omitzero"`
	Commit      string   `json:"commit,omitempty"`
	Ticket      string   `json:"ticket,omitempty"`
	Requester   string   `json:"requester,omitempty"`
	PlanDigest  string   `json:"planDigest,omitempty"`
	Phase       Phase    `json:"phase"`
	// Doing is what happens right now in a few words; Since when.
	Doing string    `json:"doing"`
	Since time.Time `json:"since"`
	// Until is when the current wait or window ends, if it does.
	Until time.Time `json:"until,omitzero"`
	// Weight is the canary's share of traffic as last read back, in percent.
	Weight   int32          `json:"weight"`
	Gates    []Gate         `json:"gates"`
	Approval ApprovalStatus `json:"approval,omitzero"`
	Windows  []WindowStatus `json:"windows,omitempty"`
	LKG      *Snapshot      `json:"lastKnownGood,omitempty"`
	Records  int            `json:"records"`
	Refused  int            `json:"refusedMessages,omitempty"`
	// Next is what a person can or must do now, with the exact command.
	Next    []NextAction `json:"next,omitempty"`
	Outcome *Outcome     `json:"outcome,omitempty"`
	// Paused says who holds the release and why, "" if nobody.
	Paused string `json:"paused,omitempty"`
	// Pending are commands that wait for somebody's approval.
	Pending []PendingCommand `json:"pendingCommands,omitempty"`
	// Excluded is whom separation of duties keeps from approving, and as what.
	Excluded []Exclusion `json:"excluded,omitempty"`
	// About is what approvers are shown besides; set while a release is running.
	About *Announcement `json:"about,omitempty"`
	// Live is the progress of the running watch, added by the gateway from the
	// activity's heartbeat.
	Live *WatchProgress `json:"live,omitempty"`
}

// Gate is one phase's state in the table that on-call reads.
type Gate struct {
	Phase  Phase     `json:"phase"`
	Name   string    `json:"name"`
	State  string    `json:"state"` // waiting, running, passed, failed, skipped
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

// ApprovalStatus is who must and who did decide.
type ApprovalStatus struct {
	Needed  Quorum         `json:"needed,omitzero"`
	Missing Quorum         `json:"missing,omitzero"`
	Given   []ApprovalView `json:"given,omitempty"`
	Expires time.Time      `json:"expires,omitzero"`
}

// ApprovalView is one decision as shown to people.
type ApprovalView struct {
	Decision Decision `json:"decision"`
	By       string   `json:"by"`
	Subject  string   `json:"subject"`
	// Void says why it no longer counts: withdrawn, expired, or what it rested on.
	Void   string    `json:"void,omitempty"`
	Place  string    `json:"place,omitempty"` // the group whose place it fills
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// WindowStatus is one watched window, running or done.
type WindowStatus struct {
	Phase   Phase         `json:"phase"`
	Weight  int32         `json:"weight"`
	Started time.Time     `json:"started"`
	Ends    time.Time     `json:"ends"`
	Verdict Verdict       `json:"verdict,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Checks  []CheckResult `json:"checks,omitempty"`
}

// PendingCommand is a command that takes effect once somebody other than who gave
// it approves. ID is the command's nonce.
type PendingCommand struct {
	ID      string      `json:"id"`
	Command CommandKind `json:"command"`
	By      string      `json:"by"`
	Reason  string      `json:"reason"`
	At      time.Time   `json:"at"`
}

// Exclusion is an identity that may not approve, and the part it had in the
// change: requester, author, committer, merger, configuration.
type Exclusion struct {
	Identity string `json:"identity"`
	As       string `json:"as"`
}

// NextAction is something a person can do, and how.
type NextAction struct {
	Who     string `json:"who"`
	What    string `json:"what"`
	Command string `json:"command"`
	// Optional marks what is possible and not waited for.
	Optional bool `json:"optional,omitempty"`
}
