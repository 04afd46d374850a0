package evidence_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

// answer asks one question of a release from a plain copy of the bucket.
func answer[T any](t *testing.T, b *bucket, release string, q evidence.Question) (T, evidence.Answer) {
	t.Helper()
	f := b.folder(false)
	papers, err := evidence.Load(t.Context(), f, release, b.options())
	require.NoError(t, err)
	a, err := evidence.Ask(t.Context(), f, b.options(), papers, q)
	require.NoError(t, err)
	require.Equal(t, evidence.Complete, a.Papers)
	require.NotEmpty(t, a.Records)
	got, ok := a.Answer.(T)
	require.True(t, ok)
	return got, a
}

func text(a evidence.Answer) string {
	var out strings.Builder
	a.WriteText(&out)
	return out.String()
}

func TestWhatChanged(t *testing.T) {
	c, a := answer[*evidence.Changed](t, newBucket(t), "payments-api-prod-2", evidence.WhatChanged)
	require.Equal(t, evidencetest.OldDigest, c.From.Digest)
	require.Equal(t, evidencetest.NewDigest, c.To.Digest)
	require.Equal(t, evidencetest.Commit, c.To.Commit)
	require.Equal(t, evidencetest.Ticket, c.Ticket)
	require.True(t, c.Proven)
	require.Equal(t, "ci", c.Subject.ID)
	require.Equal(t, signals.RolledBack, c.Outcome)
	require.Contains(t, c.Config, "ConfigMap/payments-api")
	for _, want := range []string{evidencetest.OldDigest, evidencetest.NewDigest, evidencetest.Commit, "CHG-1042", "ci (proven)", "faster authorisations"} {
		require.Contains(t, text(a), want)
	}
}

// TestWhatChangedSinceAnEarlierRelease: the commit that ran before is in the
// papers of the release that brought it.
func TestWhatChangedSinceAnEarlierRelease(t *testing.T) {
	b := newBucket(t)
	inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: prod, Release: "next", Begin: begin.Add(9 * time.Hour), Gateway: b.stranger})
	for i := range inputs {
		if inputs[i].Kind == signals.RecordLane {
			var lane signals.LanePredicate
			require.NoError(t, json.Unmarshal(inputs[i].Predicate, &lane))
			lane.LKGFrom = "release payments-api-prod-3"
			inputs[i].Predicate = evidencetest.Predicate(t, lane)
		}
	}
	b.put(evidencetest.Seal(t, b.signer, inputs, outcome, b.releases[2].Manifest())...)
	c, _ := answer[*evidence.Changed](t, b, "next", evidence.WhatChanged)
	require.Equal(t, "payments-api-prod-3", c.From.Release)
	require.Equal(t, evidencetest.Commit, c.From.Commit)
}

func TestWhoApproved(t *testing.T) {
	b := newBucket(t)
	r, a := answer[*evidence.Approved](t, b, "payments-api-prod-1", evidence.WhoApproved)
	require.Len(t, r.Decisions, 2)
	require.Equal(t, "release-lead", r.Decisions[0].By.ID)
	require.Equal(t, "payments-leads", r.Decisions[0].Place)
	require.Equal(t, "load test looked fine", r.Decisions[0].Reason)
	require.Equal(t, []string{"risk"}, r.Decisions[1].By.Groups)
	require.Empty(t, r.Missing.Groups)
	require.Equal(t, []string{"https://id.example#ci"}, r.Excluded)
	require.Contains(t, r.Decisions[0].Proof, "signed by stranger, verified with the key pinned in the plan")
	require.Contains(t, text(a), "no open risk on the service")
}

// TestApprovalThatTheGatewayDidNotSign is threat 9: a notary that was told of an
// approval nobody gave does not make it one.
func TestApprovalThatTheGatewayDidNotSign(t *testing.T) {
	b := newBucket(t)
	inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: prod, Release: "forged", Begin: begin.Add(9 * time.Hour), Gateway: b.stranger})
	for i := range inputs {
		if inputs[i].Kind == signals.RecordApproval {
			inputs[i].Predicate = []byte(strings.Replace(string(inputs[i].Predicate), "load test looked fine", "whatever", 1))
		}
	}
	b.put(evidencetest.Seal(t, b.signer, inputs, outcome, b.releases[2].Manifest())...)
	r, _ := answer[*evidence.Approved](t, b, "forged", evidence.WhoApproved)
	require.Equal(t, "NOT PROVEN: the gateway signed other words than the record shows", r.Decisions[0].Proof)
	require.NotContains(t, r.Decisions[1].Proof, "NOT PROVEN")
}

func TestWhatWasTested(t *testing.T) {
	r, a := answer[*evidence.Tested](t, newBucket(t), "payments-api-prod-2", evidence.WhatWasTested)
	require.Equal(t, evidencetest.NewDigest, r.Digest)
	require.Equal(t, evidencetest.Commit, r.Provenance.Commit)
	require.Equal(t, "tests", r.Tests[0].KeyID)
	require.Len(t, r.Windows, 2)
	require.Equal(t, signals.Pass, r.Windows[0].Verdict)
	require.Equal(t, signals.Fail, r.Windows[1].Verdict)
	require.Contains(t, text(a), "PASSED, suites unit, contract")
	require.Contains(t, text(a), "canary at 5%, 4s: fail (errors: ratio 0.2 is above 0.01)")
}

func TestHowItWasRolledBack(t *testing.T) {
	b := newBucket(t)
	r, a := answer[*evidence.RolledBack](t, b, "payments-api-prod-2", evidence.HowRolledBack)
	require.True(t, r.Happened)
	require.True(t, r.Report.Complete)
	require.Equal(t, "check", r.Report.Trigger)
	require.Equal(t, evidencetest.OldDigest, r.Report.To)
	require.Equal(t, evidencetest.OldDigest, r.Health.Digest)
	require.Contains(t, text(a), "weight back to stable, 300ms: stable 100%, canary 0%, read back")
	none, a := answer[*evidence.RolledBack](t, b, "payments-api-prod-1", evidence.HowRolledBack)
	require.False(t, none.Happened)
	require.Contains(t, text(a), "it was not; outcome promoted")
}

func TestHowFarItSpread(t *testing.T) {
	b := newBucket(t)
	bad, a := answer[*evidence.Spread](t, b, "payments-api-prod-2", evidence.HowFarItSpread)
	require.Equal(t, int32(5), bad.MaxWeight)
	require.False(t, bad.Promoted)
	require.Len(t, bad.At, 2)
	require.Equal(t, int32(0), bad.At[1].Weight, "the way back is the last shift")
	require.Equal(t, bad.At[1].From.Sub(bad.At[0].From), bad.At[0].Lasted.D())
	require.InDelta(t, 200, bad.Requests, 0)
	require.InDelta(t, 200, bad.At[0].Requests, 0)
	require.Contains(t, text(a), "canary at 5% of the traffic")
	good, _ := answer[*evidence.Spread](t, b, "payments-api-prod-1", evidence.HowFarItSpread)
	require.Equal(t, int32(100), good.MaxWeight)
	require.True(t, good.Promoted)
	require.InDelta(t, 800, good.Requests, 0)
}

// TestRefusedRequestCanBeAskedAbout: a request that never became a plan has few
// papers, and every question an answer.
func TestRefusedRequestCanBeAskedAbout(t *testing.T) {
	b := newBucket(t)
	intake := evidence.Lane{Environment: signals.IntakeEnvironment, Service: signals.IntakeService}
	inputs, _ := evidencetest.Tell(t, evidencetest.Scenario{Lane: intake, Release: "refused", Begin: begin, Gateway: b.stranger})
	request := inputs[0]
	refusal := request
	refusal.Kind = signals.RecordRefusal
	refusal.Predicate = evidencetest.Predicate(t, signals.RefusalPredicate{Phase: signals.Intake, What: "request", Reasons: []string{"no service \x1b[31mred\x1b[0m"}})
	b.put(evidencetest.Seal(t, b.signer, []signals.RecordInput{request, refusal}, signals.Outcome{Kind: signals.Rejected}, nil)...)
	for _, q := range evidence.Questions() {
		f := b.folder(false)
		papers, err := evidence.Load(t.Context(), f, "refused", b.options())
		require.NoError(t, err)
		a, err := evidence.Ask(t.Context(), f, b.options(), papers, q)
		require.NoError(t, err, q)
		require.NotEmpty(t, text(a))
		require.NotContains(t, text(a), "\x1b", "what others wrote must not steer the terminal")
	}
	r, _ := answer[*evidence.Approved](t, b, "refused", evidence.WhoApproved)
	require.Equal(t, "request", r.Refused[0].What)
	require.Zero(t, b.verify(true).Total())
}

func TestUnknownReleaseIsNotFound(t *testing.T) {
	b := newBucket(t)
	_, err := evidence.Load(t.Context(), b.folder(false), "nothing", b.options())
	var missing *evidence.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, 4, missing.ExitCode())
}

func TestTimelineAndStatement(t *testing.T) {
	b := newBucket(t)
	f := b.folder(true)
	papers, err := evidence.Load(t.Context(), f, "payments-api-prod-2", b.options())
	require.NoError(t, err)
	var out strings.Builder
	papers.WriteText(&out)
	for _, want := range []string{"papers complete, outcome rolled-back", "approve by release-lead: load test looked fine", "canary at 5%", "back to sha256:111111111111"} {
		require.Contains(t, out.String(), want)
	}
	for _, r := range papers.Records {
		require.NotEmpty(t, evidence.Describe(r), r.Ref.Kind)
	}

	found, err := evidence.Statements(t.Context(), f, "payments-api-prod-2/3", b.options().Keys)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "signed by evidence-1", found[0].Verdict())
	require.JSONEq(t, `"https://waybill.dev/attestation/verification/v1"`, field(t, found[0].Statement, "predicateType"))
	same, err := evidence.Statements(t.Context(), f, found[0].Key, nil)
	require.NoError(t, err)
	require.Equal(t, found[0].Statement, same[0].Statement)
	require.Equal(t, "not verified, no key was given", same[0].Verdict())
	_, err = evidence.Statements(t.Context(), f, "payments-api-prod-2/99", nil)
	require.ErrorContains(t, err, "no record")
	other := evidencetest.Keyring(t, b.stranger)
	believed, err := evidence.Statements(t.Context(), f, "payments-api-prod-2/3", other)
	require.NoError(t, err)
	require.Contains(t, believed[0].Verdict(), "DO NOT BELIEVE: unknown-signer")
}

func field(t *testing.T, raw []byte, name string) string {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &all))
	return string(all[name])
}

func TestReportText(t *testing.T) {
	b := newBucket(t)
	var out strings.Builder
	b.verify(false).WriteText(&out)
	require.Contains(t, out.String(), "nothing altered, nothing left out")
	require.Contains(t, out.String(), "were not judged: a plain copy keeps none of them")
	b.drop(b.releases[1][2].Ref)
	out.Reset()
	b.verify(true).WriteText(&out)
	require.Contains(t, out.String(), "FAULT record-dropped "+b.releases[1][2].Ref.Key)
	require.Contains(t, out.String(), "FAULTS: 1 record-dropped")
}
