package signals

import (
	"encoding/json"
	"time"
)

// Verification is what was found about an artifact's supply chain. Refusals is
// empty if everything held; each entry says what was expected and what was found.
type Verification struct {
	Digest     string       `json:"digest"`
	Signatures []SignedFact `json:"signatures"`
	Provenance *Provenance  `json:"provenance,omitempty"`
	Tests      []TestResult `json:"tests,omitempty"`
	// Source is who wrote and reviewed the change, nil if nobody attests it.
	Source *SourceReview `json:"source,omitempty"`
	// Scans are vulnerability scans of the image.
	Scans    []Scan    `json:"scans,omitempty"`
	Refusals []string  `json:"refusals,omitempty"`
	At       time.Time `json:"at"`
}

// SignedFact is one signature that verified: by which pinned key, in which form.
type SignedFact struct {
	KeyID     string `json:"keyId"`
	Form      string `json:"form"` // legacy or bundle
	Predicate string `json:"predicateType,omitempty"`
	// Digest is the SHA-256 of the envelope or payload as stored.
	Digest string `json:"digest"`
}

// Provenance is what a verified SLSA provenance v1 says.
type Provenance struct {
	SignedFact
	Builder    string `json:"builder"`
	BuildType  string `json:"buildType"`
	Source     string `json:"source"`
	Commit     string `json:"commit"`
	Invocation string `json:"invocation,omitempty"`
}

// TestResult is what a verified in-toto test result says.
type TestResult struct {
	SignedFact
	Result string   `json:"result"` // PASSED, WARNED, FAILED
	Suites []string `json:"suites,omitempty"`
	Commit string   `json:"commit,omitempty"`
	Failed []string `json:"failed,omitempty"`
}

// SourceReviewType is the predicate type by which CI attests where a change came
// from; `waybill attest source` makes it.
const SourceReviewType = "https://waybill.dev/attestation/source/v1"

// SourceReview is what a verified source attestation says: who wrote, committed,
// merged and reviewed the commits after Base up to Commit.
type SourceReview struct {
	SignedFact
	Repository string        `json:"repository"`
	Commit     string        `json:"commit"`
	Base       string        `json:"base,omitempty"`
	Commits    int           `json:"commits"`
	Authors    []Contributor `json:"authors"`
	Committers []Contributor `json:"committers"`
	Merger     *Contributor  `json:"merger,omitempty"`
	Reviewers  []Contributor `json:"reviewers,omitempty"`
}

// Contributor is somebody as Git or the code host knows them.
type Contributor struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	Login string `json:"login,omitempty"`
}

// Scan is what a verified in-toto vulnerability attestation says: how many were
// found by severity, as the scanner spells it.
type Scan struct {
	SignedFact
	Scanner  string         `json:"scanner"`
	Found    map[string]int `json:"found"`
	Finished time.Time      `json:"finished,omitzero"`
	Database time.Time      `json:"database,omitzero"`
}

// PolicyInput is the document that policies see as "input".
type PolicyInput struct {
	Plan         Plan          `json:"plan"`
	PlanDigest   string        `json:"planDigest"`
	Requester    RequesterView `json:"requester"`
	Verification Verification  `json:"verification"`
	Now          time.Time     `json:"now"`
}

// PolicyResult is the verdict of the policy. Allow is true only if Reasons is
// empty. Approvals is who must approve, at least what the plan asks.
type PolicyResult struct {
	Allow     bool           `json:"allow"`
	Reasons   []PolicyReason `json:"reasons"`
	Approvals Quorum         `json:"approvals"`
	// Levels are the SLSA-style properties that hold, for the permit.
	Levels []string `json:"levels,omitempty"`
	// PermitFor is how long a permit of this decision is good.
	PermitFor Duration `json:"permitFor"`
}

// PolicyReason is one rule's no, written for the person who reads it in CI.
type PolicyReason struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// PolicyOutput is a decision with what it was made from, to be kept.
type PolicyOutput struct {
	Result PolicyResult    `json:"result"`
	Input  json.RawMessage `json:"input"`
	Policy string          `json:"policyDigest"`
}

// ResolveInput asks for the plan of a request.
type ResolveInput struct {
	Request Request   `json:"request"`
	Release string    `json:"release"`
	Run     string    `json:"run"`
	Now     time.Time `json:"now"`
}

// VerifyInput asks for a fresh verification of a digest under a plan's trust.
// Commit is empty if it isn't known, as for a rollback's target.
type VerifyInput struct {
	Artifact Artifact `json:"artifact"`
	Commit   string   `json:"commit,omitempty"`
	Source   string   `json:"source"`
	Trust    Trust    `json:"trust"`
}

// RecheckInput asks whether what was verified and approved still stands.
type RecheckInput struct {
	Plan       Plan   `json:"plan"`
	PlanDigest string `json:"planDigest"`
	// Approvers are those whose approvals count, with the groups they had then.
	Approvers []Subject `json:"approvers,omitempty"`
	// Needed is what the policy demanded where that is more than the plan's own
	// quorum: leaving one of its groups costs an approver their standing too.
	Needed Quorum `json:"needed,omitzero"`
}

// StandingChange is something that an approval rested on and that is no longer
// so. Approver is the key of whose standing it was, "" if all approvals fall.
type StandingChange struct {
	What     string `json:"what"` // policy, plan, artifact, approver, age
	Approver string `json:"approver,omitempty"`
	Reason   string `json:"reason"`
}
