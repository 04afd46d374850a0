package evidencetest

import (
	"encoding/json"
	"time"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/signals"
)

// Scenario is a tier-2 release of a demo service to tell papers of.
type Scenario struct {
	Lane    evidence.Lane
	Release string
	Begin   time.Time
	Bad     bool            // the canary fails on errors and is rolled back
	Gateway evidence.Signer // signs the approvals; its key stands in the plan
}

// Digests and commits that the scenario speaks of.
const (
	OldDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	NewDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	Commit    = "4f1c0a9d2b7e6f5348a1c0d9e8b7f6a5d4c3b2a1"
	Ticket    = "CHG-1042"
)

// teller collects a release's records as time goes on.
type teller struct {
	t      T
	s      Scenario
	now    time.Time
	plan   signals.Plan
	digest string
	inputs []signals.RecordInput
}

// Tell returns the records of the scenario without their place in the chain,
// and how the release ended.
func Tell(t T, s Scenario) ([]signals.RecordInput, signals.Outcome) {
	t.Helper()
	r := &teller{t: t, s: s, now: s.Begin.UTC()}
	r.intake()
	r.people()
	r.deliver()
	outcome := signals.Outcome{
		Kind: signals.Promoted, Release: s.Release, Run: r.plan.Run, Service: s.Lane.Service, Environment: s.Lane.Environment,
		Tier: 2, Artifact: r.plan.Artifact, PlanDigest: r.digest, Phase: signals.Bake, StartedAt: s.Begin.UTC(), EndedAt: r.now,
	}
	if s.Bad {
		report := r.back()
		outcome.Kind, outcome.Phase, outcome.Rollback, outcome.Reasons = signals.RolledBack, signals.Canary, &report, []string{report.Cause}
	}
	return r.inputs, outcome
}

func (r *teller) add(kind signals.RecordKind, predicate any) {
	r.t.Helper()
	r.now = r.now.Add(time.Second)
	r.inputs = append(r.inputs, signals.RecordInput{
		Header: signals.RecordHeader{
			Environment: r.s.Lane.Environment, Service: r.s.Lane.Service, Release: r.s.Release, Run: "run-" + r.s.Release, At: r.now,
		},
		Kind:      kind,
		Subjects:  []signals.RecordSubject{{Name: "registry.example/" + r.s.Lane.Service, Digest: NewDigest}},
		Predicate: Predicate(r.t, predicate),
	})
}

func person(id string, groups ...string) signals.Subject {
	return signals.Subject{Issuer: "https://id.example", ID: id, Name: id, Groups: groups}
}

func (r *teller) intake() {
	request := signals.Request{
		Service: r.s.Lane.Service, Environment: r.s.Lane.Environment, Image: "registry.example/" + r.s.Lane.Service + "@" + NewDigest,
		Commit: Commit, Ticket: Ticket, Reason: "faster authorisations",
	}
	ci := person("ci", "ci")
	r.add(signals.RecordRequest, signals.RequestPredicate{
		Raw: string(Predicate(r.t, request)), Requester: signals.RequesterView{Proven: true, Subject: &ci},
	})
	r.plan = signals.Plan{
		Schema: signals.PlanSchema, Release: r.s.Release, Run: "run-" + r.s.Release, Request: request,
		Service: r.s.Lane.Service, Environment: r.s.Lane.Environment, Tier: 2, Owner: "payments-leads",
		Artifact:   signals.Artifact{Repository: "registry.example/" + r.s.Lane.Service, Digest: NewDigest},
		Source:     "https://git.example/payments/" + r.s.Lane.Service,
		Approval:   signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-leads", Count: 1}, {Group: "risk", Count: 1}}},
		Trust:      signals.Trust{Gateway: []signals.PublicKey{r.s.Gateway.Public()}},
		Policy:     signals.Digest([]byte("policy")),
		ResolvedAt: r.now,
	}
	canonical, err := r.plan.Canonical()
	if err != nil {
		r.t.Fatalf("encode the plan: %v", err)
	}
	r.digest = signals.Digest(canonical)
	r.add(signals.RecordPlan, signals.PlanPredicate{PlanDigest: r.digest, Plan: canonical})
	fact := func(key string) signals.SignedFact {
		return signals.SignedFact{KeyID: key, Form: "legacy", Digest: signals.Digest([]byte(key))}
	}
	r.add(signals.RecordVerification, signals.VerificationPredicate{PlanDigest: r.digest, Verification: signals.Verification{
		Digest: NewDigest, At: r.now, Signatures: []signals.SignedFact{fact("payments-ci")},
		Provenance: &signals.Provenance{SignedFact: fact("builder"), Builder: "https://ci.example/builders/payments/v1", Source: r.plan.Source, Commit: Commit},
		Tests:      []signals.TestResult{{SignedFact: fact("tests"), Result: "PASSED", Suites: []string{"unit", "contract"}, Commit: Commit}},
	}})
	r.add(signals.RecordDecision, signals.DecisionPredicate{
		PlanDigest: r.digest, Policy: r.plan.Policy, Input: json.RawMessage(`{"plan":"as above"}`),
		Result: signals.PolicyResult{Allow: true, Reasons: []signals.PolicyReason{}, Approvals: r.plan.Approval},
	})
}

func (r *teller) people() {
	r.approval(person("release-lead", "payments-leads"), "payments-leads", "load test looked fine",
		signals.Quorum{Groups: []signals.GroupQuorum{{Group: "risk", Count: 1}}})
	r.approval(person("risk-officer", "risk"), "risk", "no open risk on the service", signals.Quorum{})
	r.add(signals.RecordLane, signals.LanePredicate{
		PlanDigest: r.digest, WaitedFor: signals.Duration(time.Second), LKGFrom: "observed: the lane's first release",
		LKG: snapshot(), Observed: snapshot(),
	})
	r.add(signals.RecordPermit, signals.VSAPredicate{
		Verifier: map[string]string{"id": "https://waybill.dev/policy/v1"}, TimeVerified: r.now,
		ResourceURI: "waybill://" + r.s.Lane.String(), VerificationResult: "PASSED",
		Policy:         signals.VSAPolicy{URI: "https://waybill.dev/policies/release", Digest: map[string]string{"sha256": r.plan.Policy[7:]}},
		VerifiedLevels: []string{"SLSA_BUILD_LEVEL_2"}, ExpiresAt: r.now.Add(time.Hour),
	})
}

func snapshot() signals.Snapshot {
	return signals.Snapshot{
		Digest: OldDigest, Image: "registry.example/payments-api@" + OldDigest, TemplateHash: signals.Digest([]byte("template")), Replicas: 3, Ready: 3,
		Config: map[string]string{"ConfigMap/payments-api": signals.Digest([]byte("config"))},
	}
}

func (r *teller) approval(who signals.Subject, place, reason string, missing signals.Quorum) {
	statement := signals.ApprovalStatement{
		Binding: signals.Binding{
			Release: r.s.Release, Run: r.plan.Run, PlanDigest: r.digest, Nonce: who.ID, IssuedAt: r.now, ExpiresAt: r.now.Add(15 * time.Minute),
		},
		Decision: signals.Approve, Reason: reason, Approver: who, Authn: signals.Authentication{Method: "oidc", At: r.now, Channel: "cli"},
	}
	r.add(signals.RecordApproval, signals.ApprovalPredicate{
		PlanDigest: r.digest, Statement: statement, Place: place, Missing: missing, Excluded: []string{"https://id.example#ci"},
		Envelope: sealed(r.t, r.s.Gateway, signals.ApprovalPayload, statement),
	})
}
