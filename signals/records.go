package signals

import (
	"encoding/json"
	"time"
)

// RecordKind names a kind of evidence. It stands in the object's key.
type RecordKind string

// The kinds of record, in the order they usually come.
const (
	RecordRequest      RecordKind = "request"
	RecordPlan         RecordKind = "plan"
	RecordVerification RecordKind = "verification"
	RecordDecision     RecordKind = "decision"
	RecordPermit       RecordKind = "permit"
	RecordApproval     RecordKind = "approval"
	RecordCommand      RecordKind = "command"
	RecordRefusal      RecordKind = "refusal"
	RecordLane         RecordKind = "lane"
	RecordDeployment   RecordKind = "deployment"
	RecordAnalysis     RecordKind = "analysis"
	RecordRollback     RecordKind = "rollback"
	RecordManifest     RecordKind = "manifest"
	// RecordVoid is an approval, or all of them, that lost what it rested on.
	RecordVoid RecordKind = "void"
	// RecordBreakGlass opens an emergency release; its terms come with it.
	RecordBreakGlass RecordKind = "break-glass"
)

// VSAType is the predicate type of a permit: SLSA's verification summary.
const VSAType = "https://slsa.dev/verification_summary/v1"

// PredicateType is the URI of the kind's in-toto predicate.
func (k RecordKind) PredicateType() string {
	if k == RecordPermit {
		return VSAType
	}
	return "https://waybill.dev/attestation/" + string(k) + "/v1"
}

// RecordRef finds one record and pins its content. Digest is the SHA-256 of the
// object's exact bytes; Version is the bucket's version id.
type RecordRef struct {
	Sequence int        `json:"sequence"`
	Kind     RecordKind `json:"kind"`
	Key      string     `json:"key"`
	Version  string     `json:"version"`
	Digest   string     `json:"digest"`
}

// RecordHeader stands as "record" in every predicate: which record of which
// release this is and which came before. Previous is the digest of the record
// before it in the same release, "" for the first.
type RecordHeader struct {
	Environment string    `json:"environment"`
	Service     string    `json:"service"`
	Release     string    `json:"release"`
	Run         string    `json:"run"`
	Sequence    int       `json:"sequence"`
	Previous    string    `json:"previous"`
	At          time.Time `json:"at"` // by the workflow's clock
}

// RecordInput asks the notary to sign and store one record. Predicate is the
// JSON object of the predicate without its "record" field, which the notary
// adds from Header. Subjects are what the record is about, at least one.
type RecordInput struct {
	Header    RecordHeader    `json:"header"`
	Kind      RecordKind      `json:"kind"`
	Subjects  []RecordSubject `json:"subjects"`
	Predicate json.RawMessage `json:"predicate"`
}

// RecordSubject is an in-toto subject with a SHA-256 digest ("sha256:<hex>").
type RecordSubject struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// RecordOutput is a record that is durably stored: written, read back by
// version, retention checked. Envelope is set for permits only.
type RecordOutput struct {
	Ref         RecordRef `json:"ref"`
	RetainUntil time.Time `json:"retainUntil"`
	Envelope    *Envelope `json:"envelope,omitempty"`
}

// CloseInput asks the notary to close the papers of a release that ended
// without doing so itself.
type CloseInput struct {
	Environment string     `json:"environment"`
	Service     string     `json:"service"`
	Release     string     `json:"release"`
	Run         string     `json:"run"`
	State       string     `json:"state"`
	Previous    *RecordRef `json:"previousManifest,omitempty"`
	At          time.Time  `json:"at"`
}

// Predicates of our own. Each is the body beside the record header.
type (
	// RequestPredicate keeps the request as it came and who asked.
	RequestPredicate struct {
		Raw       string          `json:"raw"`
		Requester RequesterView   `json:"requester"`
		Identity  string          `json:"temporalIdentity,omitempty"`
		Envelope  *Envelope       `json:"envelope,omitempty"`
		Authn     *Authentication `json:"authn,omitempty"`
	}
	// RequesterView is who asked. Proven is true if the gateway signed for it.
	RequesterView struct {
		Proven  bool     `json:"proven"`
		Subject *Subject `json:"subject,omitempty"`
		Claimed string   `json:"claimed,omitempty"`
	}
	// PlanPredicate holds the plan's canonical bytes, base64 by encoding/json,
	// so that the plan digest can be taken over exactly what was digested.
	PlanPredicate struct {
		PlanDigest string `json:"planDigest"`
		Plan       []byte `json:"plan"`
	}
	// VerificationPredicate is what was found about the artifact.
	VerificationPredicate struct {
		PlanDigest   string       `json:"planDigest"`
		Verification Verification `json:"verification"`
	}
	// DecisionPredicate is the policy's verdict with all that is needed to
	// compute it again: the input and the digest of the bundle.
	DecisionPredicate struct {
		PlanDigest string          `json:"planDigest"`
		Policy     string          `json:"policyDigest"`
		Input      json.RawMessage `json:"input"`
		Result     PolicyResult    `json:"result"`
	}
	// VSAPredicate is SLSA's verification summary v1; see slsa.dev/spec/v1.0/verification_summary.
	VSAPredicate struct {
		Verifier           map[string]string `json:"verifier"`
		TimeVerified       time.Time         `json:"timeVerified"`
		ResourceURI        string            `json:"resourceUri"`
		Policy             VSAPolicy         `json:"policy"`
		VerificationResult string            `json:"verificationResult"`
		VerifiedLevels     []string          `json:"verifiedLevels"`
		ExpiresAt          time.Time         `json:"waybill_expiresAt"`
	}
	// VSAPolicy names the policy bundle of a verification summary.
	VSAPolicy struct {
		URI    string            `json:"uri"`
		Digest map[string]string `json:"digest"`
	}
	// ApprovalPredicate keeps the signed decision and how it counted.
	ApprovalPredicate struct {
		PlanDigest string            `json:"planDigest"`
		Statement  ApprovalStatement `json:"statement"`
		Envelope   Envelope          `json:"envelope"`
		Place      string            `json:"place,omitempty"`
		Missing    Quorum            `json:"missing"`
		// Excluded is whom separation of duties kept out of this release.
		Excluded []string `json:"excluded"`
	}
	// VoidPredicate is what an approval lost, or why it was taken back.
	VoidPredicate struct {
		PlanDigest string           `json:"planDigest"`
		Changes    []StandingChange `json:"changes"`
		// Nonces are those of the approvals that no longer count.
		Nonces  []string `json:"nonces"`
		Missing Quorum   `json:"missing"`
	}
	// BreakGlassPredicate says who broke the glass, and when a review is due.
	BreakGlassPredicate struct {
		PlanDigest string          `json:"planDigest"`
		Terms      BreakGlassTerms `json:"terms"`
		Requester  RequesterView   `json:"requester"`
	}
	// LaneCommandPredicate keeps a signed command to a lane.
	LaneCommandPredicate struct {
		Statement LaneCommandStatement `json:"statement"`
		Envelope  Envelope             `json:"envelope"`
	}
	// JournalRefusalPredicate keeps what the gateway refused.
	JournalRefusalPredicate struct {
		Statement RefusalStatement `json:"statement"`
		Envelope  Envelope         `json:"envelope"`
	}
	// CommandPredicate keeps a signed command that was accepted.
	CommandPredicate struct {
		PlanDigest string           `json:"planDigest"`
		Statement  CommandStatement `json:"statement"`
		Envelope   Envelope         `json:"envelope"`
		Phase      Phase            `json:"phase"`
		// State is "pending" until somebody else approves what needs that;
		// ApprovedBy is who did. Both are empty for commands that need nobody.
		State      string `json:"state,omitempty"` // pending, approved
		ApprovedBy string `json:"approvedBy,omitempty"`
	}
	// RefusalPredicate is a no: to a request, an artifact, or a message.
	RefusalPredicate struct {
		PlanDigest string   `json:"planDigest,omitempty"`
		Phase      Phase    `json:"phase"`
		What       string   `json:"what"` // request, artifact, policy, message, approval
		Reasons    []string `json:"reasons"`
		// Message is what was refused, as far as it could be read.
		Message string `json:"message,omitempty"`
	}
	// LanePredicate is the grant of the lane and what it ran then.
	LanePredicate struct {
		PlanDigest string   `json:"planDigest"`
		WaitedFor  Duration `json:"waited"`
		LKG        Snapshot `json:"lastKnownGood"`
		LKGFrom    string   `json:"lastKnownGoodFrom"`
		Observed   Snapshot `json:"observed"`
	}
	// DeploymentPredicate is one change of the environment: first as intended,
	// before it is made, then as observed after it.
	DeploymentPredicate struct {
		PlanDigest string   `json:"planDigest"`
		Stage      string   `json:"stage"` // intended, observed
		Step       string   `json:"step"`
		Phase      Phase    `json:"phase"`
		Desired    string   `json:"desiredDigest"`
		Previous   string   `json:"previousDigest"`
		Asked      int32    `json:"askedWeight"`
		Weights    *Weights `json:"observedWeights,omitempty"`
		Rollout    *Rollout `json:"observedRollout,omitempty"`
		// Verdict is the digest of the analysis record that allowed this step.
		Verdict string `json:"verdictRecord,omitempty"`
		Run     string `json:"workflowRun"`
	}
	// AnalysisPredicate is a window's verdict with its raw material.
	AnalysisPredicate struct {
		PlanDigest string       `json:"planDigest"`
		Track      string       `json:"track"`
		Method     string       `json:"method"`
		Checks     []Check      `json:"checks"`
		Result     WindowResult `json:"result"`
	}
	// RollbackPredicate is what was undone and why.
	RollbackPredicate struct {
		PlanDigest string         `json:"planDigest"`
		Report     RollbackReport `json:"report"`
		// Target is the verification of the digest that was gone back to, as far
		// as it could be had; a rollback is not blocked by it.
		Target *Verification `json:"target,omitempty"`
		Health *Rollout      `json:"health,omitempty"`
	}
	// ManifestPredicate closes a release: every record before it in order, the
	// outcome, and the manifest of the lane's release before this one.
	ManifestPredicate struct {
		Outcome  Outcome     `json:"outcome"`
		Count    int         `json:"count"`
		Records  []RecordRef `json:"records"`
		Previous *RecordRef  `json:"previousManifest,omitempty"`
		// Refused counts messages refused beyond those recorded one by one.
		Refused int `json:"refusedUnrecorded,omitempty"`
	}
)
