package workflows

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

const (
	newDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	oldDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	policy    = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
	commit    = "4f1c9a0e5d7b8c6f2a3e4d5c6b7a8f9e0d1c2b3a"
	requestIn = `{"service":"payments-api","environment":"prod","image":"registry.example/payments-api@` + newDigest + `","commit":"` + commit + `","ticket":"CHG-1042","requestedBy":"developer"}`
	releaseIn = "payments-api-prod-1"
)

// world stands in for everything that activities reach: a cluster, a bucket, a
// lane. It keeps the invariants that the workflow must keep and reports each
// breach, so that every test tests them.
type world struct {
	t   testing.TB
	mu  sync.Mutex
	key *ecdsa.PrivateKey

	// The environment.
	stable    string
	weight    int32
	canary    bool
	maxWeight int32

	// The bucket.
	records []signals.RecordInput
	refs    []signals.RecordRef

	// What the parts answer. Zero values let a release through.
	resolve      error
	refusals     []string
	denied       []signals.PolicyReason
	quorum       signals.Quorum
	recheck      func() error
	standing     func(signals.RecheckInput) []signals.StandingChange
	edit         func(*signals.Plan) // the plan, before it is used
	source       *signals.SourceReview
	fail         map[string]func() error // by activity name
	verdict      func(in signals.WatchInput) signals.Verdict
	notaryDown   func() error
	lastManifest *signals.RecordRef
	lkg          *signals.Snapshot
	grants       []signals.LaneGrant // answered before the last one, which grants
	papersBusy   int                 // how often the turn for the papers is not given
	windows      signals.Window
	claims       []signals.LaneClaim
	breaches     []string
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	return &world{
		t: tb, key: key, stable: oldDigest, fail: map[string]func() error{},
		quorum: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-leads", Count: 1}, {Group: "risk", Count: 1}}},
	}
}

func (w *world) breach(format string, args ...any) {
	w.breaches = append(w.breaches, fmt.Sprintf(format, args...))
}

func (w *world) failing(name string) error {
	if f := w.fail[name]; f != nil {
		return f()
	}
	return nil
}

func (w *world) trusted() []signals.PublicKey {
	der, err := x509.MarshalPKIXPublicKey(&w.key.PublicKey)
	require.NoError(w.t, err)
	return []signals.PublicKey{{ID: "gateway-1", PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}
}

// seal signs a payload as the gateway would.
func (w *world) seal(payloadType string, payload any) signals.Envelope {
	body, err := json.Marshal(payload)
	require.NoError(w.t, err)
	sum := sha256.Sum256(dsse.PAE(payloadType, body))
	sig, err := ecdsa.SignASN1(rand.Reader, w.key, sum[:])
	require.NoError(w.t, err)
	return signals.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(body),
		Signatures: []signals.EnvelopeSignature{{KeyID: "gateway-1", Sig: base64.StdEncoding.EncodeToString(sig)}},
	}
}

func (w *world) plan(in signals.ResolveInput) signals.Plan {
	window := signals.Window{Duration: signals.Duration(time.Minute), Interval: signals.Duration(time.Second), Extensions: 2}
	if w.windows.Duration > 0 {
		window = w.windows
	}
	maxErrors := 0.01
	request := in.Request
	request.Envelope = nil
	return signals.Plan{
		Schema: signals.PlanSchema, Release: in.Release, Run: in.Run, Request: request,
		Service: in.Request.Service, Environment: in.Request.Environment, Tier: 2, Owner: "payments-leads",
		Artifact: signals.Artifact{Repository: "registry.example/payments-api", Digest: newDigest},
		Source:   "https://git.example/payments/payments-api",
		Target: signals.Target{
			Cluster: "local", Namespace: "payments-prod", Stable: "payments-api", Canary: "payments-api-canary",
			Container: "app", Route: "payments-api", Port: 8080, CanaryReplicas: 1, ReadyWithin: signals.Duration(2 * time.Minute),
		},
		Baseline: window,
		Steps: []signals.Step{
			{Phase: signals.Canary, Weight: 5, Window: window}, {Phase: signals.Ramp, Weight: 25, Window: window},
			{Phase: signals.Ramp, Weight: 50, Window: window}, {Phase: signals.Ramp, Weight: 100, Window: window},
		},
		Bake: window,
		Checks: []signals.Check{{
			Name: "errors", Kind: signals.ErrorRatio, Max: &maxErrors, MinSamples: 10,
			OnInsufficient: signals.RollBack, OnOutage: signals.Hold,
		}},
		Approval: w.quorum,
		Limits:   signals.Limits{Approval: signals.Duration(time.Hour), Queue: signals.Duration(time.Hour)},
		Trust:    signals.Trust{Gateway: w.trusted()},
		Catalog:  policy, Policy: policy, ResolvedAt: in.Now,
	}
}

// The activities, by the names that the workflow calls.

func (w *world) ResolvePlan(_ context.Context, in signals.ResolveInput) (signals.Plan, error) {
	if w.resolve != nil {
		return signals.Plan{}, w.resolve
	}
	plan := w.plan(in)
	if w.edit != nil {
		w.edit(&plan)
	}
	return plan, nil
}

func (w *world) VerifyArtifact(context.Context, signals.VerifyInput) (signals.Verification, error) {
	if err := w.failing("VerifyArtifact"); err != nil {
		return signals.Verification{}, err
	}
	return signals.Verification{Digest: newDigest, Refusals: w.refusals, Source: w.source}, nil
}

func (w *world) DecidePolicy(_ context.Context, in signals.PolicyInput) (signals.PolicyOutput, error) {
	raw, err := json.Marshal(in)
	return signals.PolicyOutput{Input: raw, Policy: policy, Result: signals.PolicyResult{
		Allow: len(w.denied) == 0, Reasons: w.denied, Approvals: w.quorum, PermitFor: signals.Duration(time.Hour),
	}}, err
}

func (w *world) Recheck(context.Context, signals.RecheckInput) error {
	if w.recheck != nil {
		return w.recheck()
	}
	return nil
}

// WatchStanding answers what standing does, and else that all of it stands.
func (w *world) WatchStanding(_ context.Context, in signals.RecheckInput) ([]signals.StandingChange, error) {
	if w.standing != nil {
		if changes := w.standing(in); len(changes) > 0 {
			return changes, nil
		}
	}
	return nil, temporal.NewApplicationErrorWithOptions("nothing has changed", signals.ErrStands,
		temporal.ApplicationErrorOptions{NextRetryDelay: 30 * time.Second, Category: temporal.ApplicationErrorCategoryBenign})
}

func (w *world) Acquire(_ context.Context, in signals.AcquireInput) (signals.LaneGrant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims = append(w.claims, in.Claim)
	if in.Claim.Resource == signals.LaneEnvironment && len(w.grants) > 0 {
		g := w.grants[0]
		w.grants = w.grants[1:]
		return g, nil
	}
	if in.Claim.Resource == signals.LanePapers && w.papersBusy > 0 {
		w.papersBusy--
		return signals.LaneGrant{Position: 1}, nil
	}
	return signals.LaneGrant{Granted: true, LKG: w.lkg, LKGRelease: "payments-api-prod-0", LastManifest: w.lastManifest}, nil
}

func (w *world) Look(context.Context, signals.LaneName) (signals.LaneStatus, error) {
	return signals.LaneStatus{}, nil
}

func (w *world) Observe(context.Context, signals.DeployInput) (signals.Snapshot, error) {
	if err := w.failing("Observe"); err != nil {
		return signals.Snapshot{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return signals.Snapshot{
		Digest: w.stable, Image: "registry.example/payments-api@" + w.stable, TemplateHash: w.stable,
		Replicas: 4, Ready: 4, CanaryWeight: w.weight, CanaryExists: w.canary,
	}, nil
}

// forward checks what must hold before anything changes.
func (w *world) forward(what string, in signals.DeployInput) {
	if in.Permit == nil {
		w.breach("%s without a permit", what)
	}
	stage := "none"
	for _, r := range slices.Backward(w.records) {
		if r.Kind == signals.RecordDeployment {
			var p signals.DeploymentPredicate
			require.NoError(w.t, json.Unmarshal(r.Predicate, &p))
			stage = p.Stage
			break
		}
	}
	if stage != "intended" {
		w.breach("%s although the last durable deployment record is %s: evidence before action", what, stage)
	}
}

func (w *world) EnsureCanary(_ context.Context, in signals.CanaryInput) (signals.Rollout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forward("EnsureCanary", in.DeployInput)
	w.canary = true
	return signals.Rollout{Digest: newDigest, Desired: in.Replicas, Ready: in.Replicas}, w.failing("EnsureCanary")
}

func (w *world) SetWeight(_ context.Context, in signals.WeightInput) (signals.Weights, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in.Back {
		if err := w.failing("SetWeightBack"); err != nil {
			return signals.Weights{}, err
		}
	} else {
		w.forward("SetWeight", in.DeployInput)
	}
	if in.Canary > 0 && !w.canary {
		w.breach("weight %d%% on a canary that isn't there", in.Canary)
	}
	w.weight = in.Canary
	w.maxWeight = max(w.maxWeight, in.Canary)
	return signals.Weights{Stable: 100 - in.Canary, Canary: in.Canary, Accepted: true}, w.failing("SetWeight")
}

func (w *world) PromoteStable(_ context.Context, in signals.DeployInput) (signals.Rollout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forward("PromoteStable", in)
	w.stable = newDigest
	return signals.Rollout{Digest: newDigest, Desired: 4, Ready: 4}, w.failing("PromoteStable")
}

func (w *world) RestoreStable(_ context.Context, in signals.RestoreInput) (signals.Rollout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing("RestoreStable"); err != nil {
		return signals.Rollout{}, err
	}
	w.stable = in.To.Digest
	return signals.Rollout{Digest: in.To.Digest, Desired: 4, Ready: 4}, nil
}

func (w *world) RemoveCanary(context.Context, signals.DeployInput) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.weight > 0 {
		w.breach("canary removed while it carries %d%%", w.weight)
	}
	w.canary = false
	return w.failing("RemoveCanary")
}

func (w *world) Watch(_ context.Context, in signals.WatchInput) (signals.WindowResult, error) {
	if err := w.failing("Watch"); err != nil {
		return signals.WindowResult{}, err
	}
	v := signals.Pass
	if w.verdict != nil {
		v = w.verdict(in)
	}
	return signals.WindowResult{
		Phase: in.Phase, Weight: in.Weight, Verdict: v, Reason: "errors " + string(v),
		Checks:  []signals.CheckResult{{Check: "errors", Verdict: v}},
		Started: in.Start, Ended: in.Start.Add(in.Window.Duration.D()),
	}, nil
}

func (w *world) WriteRecord(_ context.Context, in signals.RecordInput) (signals.RecordOutput, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notaryDown != nil {
		if err := w.notaryDown(); err != nil {
			return signals.RecordOutput{}, err
		}
	}
	n := len(w.records)
	previous := ""
	if n > 0 {
		previous = w.refs[n-1].Digest
	}
	if in.Header.Sequence != n+1 || in.Header.Previous != previous {
		w.breach("record %d (%s) names sequence %d after %q", n+1, in.Kind, in.Header.Sequence, in.Header.Previous)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return signals.RecordOutput{}, err
	}
	out := signals.RecordOutput{Ref: signals.RecordRef{Sequence: n + 1, Kind: in.Kind, Digest: signals.Digest(body)}}
	if in.Kind == signals.RecordPermit {
		out.Envelope = &signals.Envelope{PayloadType: "permit"}
	}
	w.records, w.refs = append(w.records, in), append(w.refs, out.Ref)
	return out, nil
}

func (w *world) kinds() []signals.RecordKind {
	kinds := make([]signals.RecordKind, len(w.records))
	for i, r := range w.records {
		kinds[i] = r.Kind
	}
	return kinds
}

func (w *world) count(kind signals.RecordKind) (n int) {
	for _, r := range w.records {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// predicate decodes the last record of a kind.
func predicate[T any](w *world, kind signals.RecordKind) T {
	for _, r := range slices.Backward(w.records) {
		if r.Kind == kind {
			return decode[T](w, r)
		}
	}
	w.t.Fatalf("no record of kind %s among %v", kind, w.kinds())
	panic("not reached")
}

func decode[T any](w *world, r signals.RecordInput) T {
	var out T
	require.NoError(w.t, json.Unmarshal(r.Predicate, &out))
	return out
}
