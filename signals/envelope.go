package signals

import "time"

// Payload types of the envelopes that the gateway signs.
const (
	RequestPayload  = "application/vnd.waybill.request.v1+json"
	ApprovalPayload = "application/vnd.waybill.approval.v1+json"
	CommandPayload  = "application/vnd.waybill.command.v1+json"
	// LaneCommandPayload is a command to a lane, RefusalPayload what the gateway
	// itself refused, for the journal.
	LaneCommandPayload = "application/vnd.waybill.lane-command.v1+json"
	RefusalPayload     = "application/vnd.waybill.refusal.v1+json"
)

// Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse).
// Payload and signatures are base64.
type Envelope struct {
	PayloadType string              `json:"payloadType"`
	Payload     string              `json:"payload"`
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// EnvelopeSignature is one signature of an envelope.
type EnvelopeSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// Message is the argument of the approval and command updates and signals. It
// carries nothing but the envelope: whatever the sender says of itself outside
// the signature counts for nothing.
type Message struct {
	Envelope Envelope `json:"envelope"`
}

// Binding ties a signed statement to one moment and one use. Run and PlanDigest
// are empty in a RequestStatement only, which is made before either exists.
type Binding struct {
	Release    string    `json:"release"`
	Run        string    `json:"run,omitempty"`
	PlanDigest string    `json:"planDigest,omitempty"`
	Nonce      string    `json:"nonce"`
	IssuedAt   time.Time `json:"issuedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// Authentication is how the gateway came to know the subject. Method "oidc" is a
// login at the identity provider, At when it took place; "slack" is Slack's
// signature over a click and the directory's entry for the member's confirmed
// e-mail address, Account then naming the member as "team/user".
type Authentication struct {
	Method  string    `json:"method"` // "oidc", "slack"
	ACR     string    `json:"acr,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Channel string    `json:"channel"` // "cli", "api", "slack", "web"
	Account string    `json:"account,omitempty"`
}

// RequestStatement is the signed form of a request.
type RequestStatement struct {
	Binding
	Request   Request        `json:"request"` // without its Envelope
	Requester Subject        `json:"requester"`
	Authn     Authentication `json:"authn"`
}

// Decision is what an approver decides.
type Decision string

// The decisions. Withdraw takes back one's own approval while the quorum is not
// complete.
const (
	Approve  Decision = "approve"
	Deny     Decision = "deny"
	Withdraw Decision = "withdraw"
)

// ApprovalStatement is one person's signed decision on one plan digest.
type ApprovalStatement struct {
	Binding
	Decision Decision       `json:"decision"`
	Reason   string         `json:"reason"`
	Approver Subject        `json:"approver"`
	Authn    Authentication `json:"authn"`
	// Command is the nonce of the operator's command that is decided on, "" for
	// the release itself.
	Command string `json:"command,omitempty"`
}

// CommandKind is an operator's command to a release.
type CommandKind string

// The commands to a release.
const (
	// Abort ends a release and puts the environment back.
	Abort CommandKind = "abort"
	// Pause holds a release before its next step; what serves traffic is watched
	// on. Resume ends the hold.
	Pause  CommandKind = "pause"
	Resume CommandKind = "resume"
	// Skip ends the window under way as if it had passed; Extend watches for
	// CommandStatement.By longer.
	Skip   CommandKind = "skip"
	Extend CommandKind = "extend"
	// RollBackNow ends a release that has changed something as rolled back.
	RollBackNow CommandKind = "rollback"
	// RetryUndo tries the undos that failed once more.
	RetryUndo CommandKind = "retry"
)

// CommandKinds lists the commands to a release.
func CommandKinds() []CommandKind {
	return []CommandKind{Pause, Resume, Abort, Skip, Extend, RollBackNow, RetryUndo}
}

// CommandStatement is an operator's signed command to one release.
type CommandStatement struct {
	Binding
	Command CommandKind `json:"command"`
	// By is how much longer Extend watches.
	By       Duration       `json:"by,omitempty"`
	Reason   string         `json:"reason"`
	Operator Subject        `json:"operator"`
	Authn    Authentication `json:"authn"`
}

// LaneCommandKind is a signed command to a lane.
type LaneCommandKind string

// The commands to a lane.
const (
	// Freeze lets no ordinary release begin until a time, or until Unfreeze.
	// Releases under way, and rollbacks, go on.
	Freeze   LaneCommandKind = "freeze"
	Unfreeze LaneCommandKind = "unfreeze"
	// CloseReview closes the review that a break-glass release left due.
	CloseReview LaneCommandKind = "close-review"
)

// LaneCommandStatement is a signed command to the lane that Binding.Release
// names by its workflow id; it is bound to no run and no plan.
type LaneCommandStatement struct {
	Binding
	Command LaneCommandKind `json:"command"`
	// Until ends a freeze by itself.
	Until time.Time `json:"until,omitzero"`
	// Reviewed is the break-glass release whose review is closed.
	Reviewed string         `json:"reviewed,omitempty"`
	Reason   string         `json:"reason"`
	Operator Subject        `json:"operator"`
	Authn    Authentication `json:"authn"`
}

// RefusalStatement is what the gateway refused before it could reach a release,
// signed for the journal, whose workflow id is its Binding.Release.
type RefusalStatement struct {
	Binding
	What    string   `json:"what"` // such as "slack-request", "slack-user", "token"
	Channel string   `json:"channel"`
	Reasons []string `json:"reasons"`
	// Subject is who it was, as far as that is proven; Claimed as far as it isn't.
	Subject *Subject `json:"subject,omitempty"`
	Claimed string   `json:"claimed,omitempty"`
	Remote  string   `json:"remote,omitempty"`
	// About is the release that it was meant for, if it named one.
	About   string `json:"about,omitempty"`
	Message string `json:"message,omitempty"` // digest of what was refused
	// Count is how many like it this entry stands for, at least 1.
	Count int `json:"count"`
}

// Receipt answers an accepted approval or command.
type Receipt struct {
	Accepted bool   `json:"accepted"`
	Message  string `json:"message"`
	// Missing is what the quorum still needs after an approval.
	Missing Quorum `json:"missing,omitzero"`
	// Pending is the id under which a command waits for somebody's approval.
	Pending string `json:"pending,omitempty"`
}
