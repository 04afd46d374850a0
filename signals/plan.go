package signals

import (
	"encoding/json"
	"time"
)

// PlanSchema is the version of Plan's JSON.
const PlanSchema = "https://waybill.dev/plan/v1"

// Plan is a request resolved against the catalog: everything that will be done,
// with every input pinned. Its digest is what approvers sign, so whatever may
// change what ships belongs in here.
type Plan struct {
	Schema      string    `json:"schema"`
	Release     string    `json:"release"`
	Run         string    `json:"run"`
	Request     Request   `json:"request"`
	Service     string    `json:"service"`
	Environment string    `json:"environment"`
	Tier        int       `json:"tier"`
	Owner       string    `json:"owner"`
	Runbook     string    `json:"runbook,omitempty"`
	Artifact    Artifact  `json:"artifact"`
	Source      string    `json:"source"`
	Target      Target    `json:"target"`
	Baseline    Window    `json:"baseline"`
	Steps       []Step    `json:"steps"`
	Bake        Window    `json:"bake"`
	Checks      []Check   `json:"checks"`
	Approval    Quorum    `json:"approval"`
	Limits      Limits    `json:"limits"`
	Trust       Trust     `json:"trust"`
	Catalog     string    `json:"catalogDigest"`
	Policy      string    `json:"policyDigest"`
	ResolvedAt  time.Time `json:"resolvedAt"`
	// Roles are the groups that may start and command this release; without, the
	// gateway's own configuration alone decides.
	Roles *Roles `json:"roles,omitempty"`
	// ConfigAuthors wrote the catalog entry and the policies that this plan was
	// made from.
	ConfigAuthors []Contributor `json:"configAuthors,omitempty"`
	// Notify says where people are told; nil for nowhere.
	Notify *Notify `json:"notify,omitempty"`
	// BreakGlass is set if the request asked for it.
	BreakGlass *BreakGlassTerms `json:"breakGlass,omitempty"`
}

// Roles are groups by what their members may do. An empty list of Release lets
// everybody start one.
type Roles struct {
	Release []string `json:"release,omitempty"`
	Operate []string `json:"operate,omitempty"`
}

// Notify says where people hear of a release: a channel, and another one for
// what was left undone. Remind is how long before the approval's expiry they are
// reminded; the last of these goes to Escalation too.
type Notify struct {
	Channel    string     `json:"channel"`
	Escalation string     `json:"escalation,omitempty"`
	Remind     []Duration `json:"remind,omitempty"`
}

// BreakGlassTerms are what an emergency release is held to: two people at least,
// an end of the approval's time, and a review that is due after it.
type BreakGlassTerms struct {
	Reason       string   `json:"reason"`
	ReviewWithin Duration `json:"reviewWithin"`
}

// Artifact is the image that ships: a repository and the digest it was pinned
// to. Tag is set if the request named one.
type Artifact struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest"`
}

// Reference is the pullable form, repository@digest.
func (a Artifact) Reference() string { return a.Repository + "@" + a.Digest }

// Target says where in a cluster the lane lives. Stable and Canary name a
// Deployment and the Service of the same name; Route is the HTTPRoute that
// splits traffic between the two Services.
type Target struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Stable    string `json:"stable"`
	Canary    string `json:"canary"`
	Container string `json:"container"`
	Route     string `json:"route"`
	Port      int32  `json:"port"`
	// CanaryReplicas is how many pods the canary starts with. Before each
	// weight it is scaled to carry its share.
	CanaryReplicas int32 `json:"canaryReplicas"`
	// ReadyWithin bounds the wait for a rollout to become ready.
	ReadyWithin Duration `json:"readyWithin"`
}

// Step is one weight of the canary with the window it is watched for.
type Step struct {
	Phase  Phase  `json:"phase"`
	Weight int32  `json:"weight"` // percent of requests to the canary, 1..100
	Window Window `json:"window"`
}

// Window is a time of watching. WarmUp at its start is not judged. Every check
// is sampled once per Interval. A window whose samples stay insufficient or
// whose telemetry is missing is extended, by its own length each time, at most
// Extensions times; then the check's consequence applies.
type Window struct {
	Duration   Duration `json:"duration"`
	Interval   Duration `json:"interval"`
	WarmUp     Duration `json:"warmUp,omitempty"`
	Extensions int      `json:"extensions,omitempty"`
}

// Limits bounds the waits that no window bounds.
type Limits struct {
	// Approval is how long approvers have, from the moment they are asked.
	Approval Duration `json:"approval"`
	// Queue is how long the release waits for its lane.
	Queue Duration `json:"queue"`
	// ApprovalValid is how long an approval stays good, from when it was given to
	// the release's first change; 0 for as long as the waits allow.
	ApprovalValid Duration `json:"approvalValid,omitempty"`
	// Recheck is how often what was approved is looked at again while the release
	// waits for approvals; 0 for each minute.
	Recheck Duration `json:"recheck,omitempty"`
}

// Quorum is how many distinct people must approve, out of which groups. One
// person fills one place only.
type Quorum struct {
	Groups []GroupQuorum `json:"groups,omitempty"`
}

// GroupQuorum asks for Count approvals from members of Group.
type GroupQuorum struct {
	Group string `json:"group"`
	Count int    `json:"count"`
	// StepUp demands a fresh login for a decision in this group's name.
	StepUp *StepUp `json:"stepUp,omitempty"`
}

// StepUp is a login at the identity provider of a kind (acr) that is named, if
// any is, at most MaxAge before the decision.
type StepUp struct {
	ACR    []string `json:"acr,omitempty"`
	MaxAge Duration `json:"maxAge"`
}

// People is how many distinct approvers the quorum needs.
func (q Quorum) People() int {
	n := 0
	for _, g := range q.Groups {
		n += g.Count
	}
	return n
}

// Trust is the set of public keys that this release believes: the gateway's for
// envelopes, and one set per kind of supply-chain evidence, so that a key that
// may attest tests can't attest provenance.
type Trust struct {
	Gateway    []PublicKey `json:"gateway"`
	Evidence   []PublicKey `json:"evidence"`
	Signature  []PublicKey `json:"signature"`
	Provenance []PublicKey `json:"provenance"`
	Tests      []PublicKey `json:"tests"`
	// Source and Vulnerabilities attest who wrote the change, and scans of it.
	Source          []PublicKey `json:"source,omitempty"`
	Vulnerabilities []PublicKey `json:"vulnerabilities,omitempty"`
	// Builder is the SLSA builder id that provenance must name.
	Builder string `json:"builder"`
}

// Canonical returns the exact bytes that the plan digest is taken over.
func (p Plan) Canonical() ([]byte, error) { return json.Marshal(p) }

// Digest is the plan digest, "sha256:<hex>" over Canonical.
func (p Plan) Digest() (string, error) {
	b, err := p.Canonical()
	if err != nil {
		return "", err
	}
	return Digest(b), nil
}
