package signals

import (
	"encoding/json"
	"time"
)

// Track names one side of the traffic split.
const (
	TrackStable = "stable"
	TrackCanary = "canary"
)

// Snapshot is what a lane runs at a moment, in enough detail to go back to it.
type Snapshot struct {
	Digest string `json:"digest"` // of the stable track's container
	Image  string `json:"image"`
	// Commit is what the image was built from, "" if it was not released by Waybill.
	Commit string `json:"commit,omitempty"`
	// Template is the stable Deployment's pod template, as the API server holds
	// it, and TemplateHash its digest.
	Template     json.RawMessage `json:"template,omitempty"`
	TemplateHash string          `json:"templateHash"`
	Replicas     int32           `json:"replicas"`
	Ready        int32           `json:"ready"`
	// Config maps "ConfigMap/name" and "Secret/name", as the template refers to
	// them, to the digest of their content. The content itself stays in the
	// cluster, in an immutable copy that is named by that digest.
	Config map[string]string `json:"config,omitempty"`
	// CanaryWeight is the route's weight of the canary; CanaryExists whether its
	// Deployment is there. Both are leftovers unless a release is under way.
	CanaryWeight int32     `json:"canaryWeight"`
	CanaryExists bool      `json:"canaryExists"`
	At           time.Time `json:"at"`
}

// Brief is the snapshot without its template: small enough for status and lists.
func (s Snapshot) Brief() Snapshot {
	s.Template = nil
	return s
}

// DeployInput is what every deploy activity gets: where, and with what right.
// Permit is the notary's signed verdict (a DSSE envelope of an in-toto
// statement); an activity that moves the environment forward refuses to act
// without a valid one for this digest and environment.
type DeployInput struct {
	Release     string    `json:"release"`
	Run         string    `json:"run"`
	Service     string    `json:"service"`
	Environment string    `json:"environment"`
	Ticket      string    `json:"ticket,omitempty"`
	Target      Target    `json:"target"`
	Artifact    Artifact  `json:"artifact"`
	Permit      *Envelope `json:"permit,omitempty"`
}

// CanaryInput brings up the canary (or scales it) to Replicas pods.
type CanaryInput struct {
	DeployInput
	Replicas int32 `json:"replicas"`
}

// WeightInput sets the canary's share of the traffic, in percent.
type WeightInput struct {
	DeployInput
	Canary int32 `json:"canary"`
	// Back is set on the way back: capacity is then checked on stable alone and
	// no permit is needed.
	Back bool `json:"back,omitempty"`
}

// RestoreInput puts the stable track back to a snapshot.
type RestoreInput struct {
	DeployInput
	To Snapshot `json:"to"`
}

// Rollout is the observed state of one Deployment.
type Rollout struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"`
	Desired int32  `json:"desired"`
	Ready   int32  `json:"ready"`
	// Blocked says in words why pods are not ready, "" if nothing is wrong.
	Blocked string `json:"blocked,omitempty"`
}

// Weights is a traffic split as read back from the API server after a change.
type Weights struct {
	Stable   int32     `json:"stable"`
	Canary   int32     `json:"canary"`
	Accepted bool      `json:"accepted"` // the Gateway's controller has taken it
	At       time.Time `json:"at"`
}

// Capacity is whether both sides can carry the shares they are about to get.
type Capacity struct {
	Stable Rollout `json:"stable"`
	Canary Rollout `json:"canary"`
	Enough bool    `json:"enough"`
	Reason string  `json:"reason,omitempty"`
}
