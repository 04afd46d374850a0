package signals

import "time"

// Payload types of the envelopes that the gateway signs.
const (
	RequestPayload  = "application/vnd.waybill.request.v1+json"
	ApprovalPayload = "application/vnd.waybill.approval.v1+json"
	CommandPayload  = "application/vnd.waybill.command.v1+json"
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

// Authentication is how the gateway came to know the subject.
type Authentication struct {
	Method  string    `json:"method"` // "oidc"
	ACR     string    `json:"acr,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Channel string    `json:"channel"` // "cli", "api", "slack"
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

// The decisions.
const (
	Approve Decision = "approve"
	Deny    Decision = "deny"
)

// ApprovalStatement is one person's signed decision on one plan digest.
type ApprovalStatement struct {
	Binding
	Decision Decision       `json:"decision"`
	Reason   string         `json:"reason"`
	Approver Subject        `json:"approver"`
	Authn    Authentication `json:"authn"`
}

// CommandKind is an operator's command to a release.
type CommandKind string

// Abort ends a release and puts the environment back.
const Abort CommandKind = "abort"

// CommandStatement is an operator's signed command to one release.
type CommandStatement struct {
	Binding
	Command  CommandKind    `json:"command"`
	Reason   string         `json:"reason"`
	Operator Subject        `json:"operator"`
	Authn    Authentication `json:"authn"`
}

// Receipt answers an accepted approval or command.
type Receipt struct {
	Accepted bool   `json:"accepted"`
	Message  string `json:"message"`
	// Missing is what the quorum still needs after an approval.
	Missing Quorum `json:"missing,omitzero"`
}
