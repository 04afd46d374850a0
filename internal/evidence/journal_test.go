package evidence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

// journal adds two chained runs of the journal to a bucket.
func (b *bucket) journal() []evidencetest.Papers {
	b.t.Helper()
	var runs []evidencetest.Papers
	var previous *signals.RecordRef
	for i, run := range []string{"run-1", "run-2"} {
		inputs, outcome := evidencetest.TellJournal(b.t, run, begin.Add(time.Duration(i)*time.Hour), b.stranger)
		papers := evidencetest.Seal(b.t, b.signer, inputs, outcome, previous)
		b.put(papers...)
		runs, previous = append(runs, papers), papers.Manifest()
	}
	return runs
}

// The journal's papers are judged by the rules of any lane.
func TestJournalIsJudgedLikeAnyLane(t *testing.T) {
	b := newBucket(t)
	runs := b.journal()
	r := b.verify(true)
	require.Empty(t, faults(r))
	require.Equal(t, 5, r.Complete)
	require.Equal(t, signals.JournalEnvironment, r.Lanes[0].Environment)
	require.Equal(t, []string{runs[1].Manifest().Digest}, r.Lanes[0].Heads)

	b.drop(runs[0][1].Ref)
	require.Equal(t, []string{"record-dropped " + runs[0][1].Ref.Key}, faults(b.verify(true)))
	for _, r := range runs[0] {
		b.drop(r.Ref)
	}
	require.Equal(t, []string{"release-missing " + runs[0].Manifest().Key}, faults(b.verify(true)))
}

func TestOtherLanesOfOursAreNoPlaceForPapers(t *testing.T) {
	b := newBucket(t)
	in := b.after(b.releases[0][0])
	in.Header.Environment, in.Header.Service = signals.JournalEnvironment, "payments-api"
	_, err := evidence.Payload(in)
	require.ErrorContains(t, err, "want catalog names")
}

func TestWhatTheJournalTells(t *testing.T) {
	b := newBucket(t)
	b.journal()
	r, a := answer[*evidence.Approved](t, b, "journal-run-2", evidence.WhoApproved)
	require.Equal(t, "on-call", r.Commands[0].By.ID)
	require.Equal(t, "freeze lane/prod/payments-api", r.Commands[0].Decision)
	require.Equal(t, []int{1, 2}, a.Records)
	for _, want := range []string{"the quarter closes", "slack-user through slack by T01/U02 (claimed, not proven) about payments-api-prod-1, 3 times: the member is a guest"} {
		require.Contains(t, text(a), want)
	}
	papers, err := evidence.Load(t.Context(), b.folder(false), "journal-run-2", b.options())
	require.NoError(t, err)
	var lines []string
	for _, record := range papers.Records {
		lines = append(lines, evidence.Describe(record))
	}
	require.Equal(t, []string{
		"freeze of lane/prod/payments-api by on-call until 2026-03-02 11:00:00.000Z: the quarter closes",
		"slack-user through slack by T01/U02 (claimed, not proven) about payments-api-prod-1, 3 times: the member is a guest of the workspace",
		"recorded, 2 records before it",
	}, lines)
}

// people are the kinds of record that tell of an emergency and of an approval
// that no longer counts.
func people() map[signals.RecordKind]any {
	terms := signals.BreakGlassTerms{Reason: "payments are down", ReviewWithin: signals.Duration(24 * time.Hour)}
	return map[signals.RecordKind]any{
		signals.RecordBreakGlass: signals.BreakGlassPredicate{Terms: terms, Requester: signals.RequesterView{Claimed: "developer"}},
		signals.RecordVoid: signals.VoidPredicate{
			Changes: []signals.StandingChange{{What: "approver", Reason: "release-lead left payments-leads"}},
			Nonces:  []string{"release-lead"},
			Missing: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-leads", Count: 1}}},
		},
	}
}

// TestWhatApprovalsLost: what was void before the end shows, and what has been
// missing since.
func TestWhatApprovalsLost(t *testing.T) {
	b := newBucket(t)
	inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{Lane: prod, Release: "lost", Begin: begin.Add(9 * time.Hour), Gateway: b.stranger})
	last := inputs[len(inputs)-1]
	for _, kind := range []signals.RecordKind{signals.RecordBreakGlass, signals.RecordVoid} {
		in := last
		in.Kind, in.Predicate = kind, evidencetest.Predicate(t, people()[kind])
		inputs = append(inputs, in)
	}
	b.put(evidencetest.Seal(t, b.signer, inputs, outcome, b.releases[2].Manifest())...)
	r, a := answer[*evidence.Approved](t, b, "lost", evidence.WhoApproved)
	require.Len(t, r.Void, 1)
	require.Len(t, r.Void[0].Approvals, 1)
	require.Equal(t, "payments-leads", r.Missing.Groups[0].Group)
	for _, want := range []string{"EMERGENCY", "payments are down; a review was due within 24h0m0s", "approver: release-lead left payments-leads"} {
		require.Contains(t, text(a), want)
	}
	papers, err := evidence.Load(t.Context(), b.folder(false), "lost", b.options())
	require.NoError(t, err)
	described := map[signals.RecordKind]string{}
	for _, record := range papers.Records {
		described[record.Ref.Kind] = evidence.Describe(record)
	}
	require.Equal(t, "1 approval(s) void: approver: release-lead left payments-leads", described[signals.RecordVoid])
	require.Equal(t, "emergency by developer (claimed, not proven), review within 24h0m0s: payments are down", described[signals.RecordBreakGlass])
}
