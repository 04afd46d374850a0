package workflows

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/signals"
)

// journalRun is one run of the journal, whose records are signed and lie in a
// folder as they would in the bucket.
type journalRun struct {
	*testsuite.TestWorkflowEnvironment
	t      *testing.T
	w      *world
	signer *evidence.LocalSigner
	root   string
	down   func() error // the notary
	grants []signals.LaneGrant
	claims []signals.LaneClaim
	opened int // activities that verified entries
}

func startJournal(t *testing.T) *journalRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	j := &journalRun{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t, w: newWorld(t), root: t.TempDir()}
	j.signer, _ = evidencetest.Signer(t, "evidence-1")
	require.NoError(t, os.MkdirAll(filepath.Join(j.root, evidence.Root), 0o750))
	j.SetTestTimeout(20 * time.Second)
	j.SetStartWorkflowOptions(startOptions(signals.JournalID))
	j.RegisterWorkflow(Journal)
	worker := &activities.Journal{Gateway: j.w.trusted()}
	j.RegisterActivityWithOptions(func(ctx context.Context, in []signals.Message) ([]signals.JournalRecord, error) {
		j.opened++
		return worker.OpenEntries(ctx, in)
	}, activity.RegisterOptions{Name: "OpenEntries"})
	j.RegisterActivityWithOptions(j.write, activity.RegisterOptions{Name: "WriteRecord"})
	j.RegisterActivityWithOptions(func(_ context.Context, in signals.AcquireInput) (signals.LaneGrant, error) {
		j.claims = append(j.claims, in.Claim)
		if len(j.grants) > 0 {
			next := j.grants[0]
			j.grants = j.grants[1:]
			return next, nil
		}
		return signals.LaneGrant{Granted: true}, nil
	}, activity.RegisterOptions{Name: "Acquire"})
	return j
}

func (j *journalRun) write(_ context.Context, in signals.RecordInput) (signals.RecordOutput, error) {
	if j.down != nil {
		if err := j.down(); err != nil {
			return signals.RecordOutput{}, err
		}
	}
	stored := evidencetest.SealOne(j.t, j.signer, in)
	evidencetest.Write(j.t, j.root, stored.Ref.Key, stored.Body)
	return signals.RecordOutput{Ref: stored.Ref}, nil
}

// entry is a refusal as the gateway hands it over.
func (j *journalRun) entry(nonce string, edit ...func(*signals.RefusalStatement)) signals.Message {
	now := time.Now().UTC()
	s := signals.RefusalStatement{
		Binding: signals.Binding{Release: signals.JournalID, Nonce: nonce, IssuedAt: now, ExpiresAt: now.Add(24 * time.Hour)},
		What:    "slack-request", Channel: "slack", Reasons: []string{"the signature does not match"}, Count: 1,
	}
	for _, e := range edit {
		e(&s)
	}
	return signals.Message{Envelope: j.w.seal(signals.RefusalPayload, s)}
}

// at sends entries some time after the start.
func (j *journalRun) at(after time.Duration, entries ...signals.Message) {
	j.RegisterDelayedCallback(func() {
		for _, e := range entries {
			j.SignalWorkflow(signals.JournalEntry, e)
		}
	}, after)
}

// run lets the journal close its papers and returns them, judged.
func (j *journalRun) run(in signals.JournalInput) (signals.Outcome, evidence.Papers) {
	j.ExecuteWorkflow(Journal, in)
	require.True(j.t, j.IsWorkflowCompleted())
	var out signals.Outcome
	if next := (*workflow.ContinueAsNewError)(nil); j.GetWorkflowError() != nil {
		require.ErrorAs(j.t, j.GetWorkflowError(), &next)
	} else {
		require.NoError(j.t, j.GetWorkflowResult(&out))
	}
	folder, err := evidence.OpenFolder(j.root)
	require.NoError(j.t, err)
	options := evidence.Options{Keys: evidencetest.Keyring(j.t, j.signer), Now: j.Now(), Closed: true}
	report, err := evidence.Verify(j.t.Context(), folder, options)
	require.NoError(j.t, err)
	require.NoError(j.t, report.Err(), "the papers are in order")
	require.Len(j.t, report.Releases, 1)
	papers, err := evidence.Load(j.t.Context(), folder, report.Releases[0].Release, options)
	require.NoError(j.t, err)
	return out, papers
}

func manifestOf(t *testing.T, p evidence.Papers) signals.ManifestPredicate {
	t.Helper()
	var m signals.ManifestPredicate
	require.NoError(t, p.Records[len(p.Records)-1].Statement.Into(&m))
	return m
}

func TestJournalWritesDownWhatTheGatewayRefused(t *testing.T) {
	j := startJournal(t)
	freeze := signals.LaneCommandStatement{
		Binding: signals.Binding{Release: signals.LaneID("prod", "payments-api"), Nonce: "freeze", IssuedAt: time.Now().UTC(), ExpiresAt: time.Now().UTC().Add(time.Minute)},
		Command: signals.Freeze, Reason: "the quarter closes", Operator: person("on-call", "payments-oncall"),
	}
	first := j.entry("one")
	j.at(time.Second, first, signals.Message{Envelope: j.w.seal(signals.LaneCommandPayload, freeze)})
	j.at(50*time.Minute, first, j.entry("two")) // the first was handed over twice
	out, papers := j.run(signals.JournalInput{})

	require.Equal(t, signals.Recorded, out.Kind)
	require.Equal(t, papers.Report.Manifest, out.Manifest)
	require.Equal(t, 110*time.Minute, out.EndedAt.Sub(out.StartedAt).Round(time.Minute), "an hour after the last entry")
	require.Len(t, papers.Records, 4)
	require.Equal(t, evidence.Lane{Environment: "_gateway", Service: "_journal"}, papers.Report.Lane)
	require.Equal(t, "journal-"+out.Run, papers.Report.Release)
	require.Equal(t, signals.RecordCommand, papers.Records[1].Ref.Kind)
	var kept signals.LaneCommandPredicate
	require.NoError(t, papers.Records[1].Statement.Into(&kept))
	require.Equal(t, "freeze", kept.Statement.Nonce)
	var inside signals.LaneCommandStatement
	require.NoError(t, kept.Envelope.OpenInto(signals.LaneCommandPayload, j.w.trusted(), time.Now(), &inside), "the envelope is kept as it was signed")
	require.Equal(t, signals.JournalID, j.claims[0].Release)
	require.Equal(t, out.Run, j.claims[0].Run)
}

// Threat 7: whoever has access to the namespace can send anything to the journal.
func TestJournalKeepsNothingThatTheGatewayDidNotSign(t *testing.T) {
	j := startJournal(t)
	unsigned := j.entry("unsigned")
	unsigned.Envelope.Signatures = nil
	huge := j.entry("huge", func(s *signals.RefusalStatement) { s.Claimed = string(make([]byte, entryBytes)) })
	stranger := startJournal(t).entry("stranger")
	approval := signals.Message{Envelope: j.w.seal(signals.ApprovalPayload, signals.ApprovalStatement{})}
	elsewhere := j.entry("elsewhere", func(s *signals.RefusalStatement) { s.Release = "payments-api-prod-1" })
	stale := j.entry("stale", func(s *signals.RefusalStatement) { s.ExpiresAt = s.IssuedAt.Add(-time.Second) })
	early := j.entry("early", func(s *signals.RefusalStatement) { s.IssuedAt = s.IssuedAt.Add(time.Hour) })
	j.at(time.Second, unsigned, huge, stranger, approval, elsewhere, stale, early, j.entry(""), j.entry("good"))
	j.RegisterDelayedCallback(func() { j.SignalWorkflow(signals.JournalEntry, "not even a message") }, 2*time.Second)
	_, papers := j.run(signals.JournalInput{})
	require.Len(t, papers.Records, 2, "the good one, and the manifest")
	require.Equal(t, 9, manifestOf(t, papers).Refused)
}

// A flood without signatures costs no activity and no record; the run closes.
func TestJournalBearsAFlood(t *testing.T) {
	j := startJournal(t)
	unsigned := j.entry("x")
	unsigned.Envelope.Signatures = nil
	for i := range 50 {
		j.at(time.Duration(i)*time.Second, slices.Repeat([]signals.Message{unsigned}, 100)...)
	}
	_, papers := j.run(signals.JournalInput{})
	require.Len(t, papers.Records, 1)
	require.Equal(t, 5000, manifestOf(t, papers).Refused)
	require.Zero(t, j.opened)
}

// A run that is full closes its papers and hands the rest to the next run.
func TestJournalClosesWhenItIsFull(t *testing.T) {
	j := startJournal(t)
	var many []signals.Message
	for i := range journalRecords + 5 {
		many = append(many, j.entry(fmt.Sprintf("entry-%d", i)))
	}
	j.at(time.Second, many...)
	_, papers := j.run(signals.JournalInput{})
	require.Len(t, papers.Records, journalRecords+1)
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, j.GetWorkflowError(), &next)
	var in signals.JournalInput
	require.NoError(t, decodeFirst(next, &in))
	require.Len(t, in.Entries, 5)

	again := startJournal(t)
	again.w = j.w
	again.RegisterActivityWithOptions(func(ctx context.Context, in []signals.Message) ([]signals.JournalRecord, error) {
		return (&activities.Journal{Gateway: j.w.trusted()}).OpenEntries(ctx, in)
	}, activity.RegisterOptions{Name: "OpenEntries", DisableAlreadyRegisteredCheck: true})
	in.Dropped = 3
	_, papers = again.run(in)
	require.Len(t, papers.Records, 6)
	require.Equal(t, 3, manifestOf(t, papers).Refused)
}

func TestJournalClosesOnceADay(t *testing.T) {
	j := startJournal(t)
	for i := range 60 {
		j.at(time.Duration(i)*30*time.Minute, j.entry(fmt.Sprintf("entry-%d", i)))
	}
	_, papers := j.run(signals.JournalInput{})
	out := manifestOf(t, papers).Outcome
	require.Equal(t, journalDay, out.EndedAt.Sub(out.StartedAt).Round(time.Minute))
}

func TestJournalWaitsForItsTurnAndContinuesTheChain(t *testing.T) {
	j := startJournal(t)
	before := &signals.RecordRef{Sequence: 3, Kind: signals.RecordManifest, Key: "v1/_gateway/_journal/journal-x/000003-manifest-00.json", Digest: newDigest}
	j.grants = []signals.LaneGrant{{Position: 1, Holder: signals.JournalID}, {Granted: true, LastManifest: before}}
	j.at(time.Second, j.entry("one"))
	j.ExecuteWorkflow(Journal, signals.JournalInput{})
	require.NoError(t, j.GetWorkflowError())
	require.Len(t, j.claims, 2)
	folder, err := evidence.OpenFolder(j.root)
	require.NoError(t, err)
	papers, err := evidence.Load(t.Context(), folder, signals.JournalRelease(j.claims[0].Run),
		evidence.Options{Keys: evidencetest.Keyring(t, j.signer), Now: j.Now(), Closed: true})
	require.NoError(t, err)
	require.Equal(t, before, manifestOf(t, papers).Previous)
}

// A cancelled journal closes its papers first.
func TestJournalClosesWhenItIsCancelled(t *testing.T) {
	j := startJournal(t)
	j.at(time.Second, j.entry("one"))
	j.RegisterDelayedCallback(j.CancelWorkflow, time.Minute)
	out, papers := j.run(signals.JournalInput{})
	require.Len(t, papers.Records, 2)
	require.Equal(t, time.Minute, out.EndedAt.Sub(out.StartedAt).Round(time.Second))
}

// The bucket is away for a while: nothing is lost, and nothing is written twice.
func TestJournalOutlastsTheBucket(t *testing.T) {
	j := startJournal(t)
	j.down = times(8) // the test environment gives up after ten attempts
	j.at(time.Second, j.entry("one"), j.entry("two"))
	_, papers := j.run(signals.JournalInput{})
	require.Len(t, papers.Records, 3)
}

func TestJournalFailsIfTheBucketHoldsSomethingElse(t *testing.T) {
	j := startJournal(t)
	j.down = permanent(signals.ErrConflict)
	j.at(time.Second, j.entry("one"))
	j.ExecuteWorkflow(Journal, signals.JournalInput{})
	var app *temporal.ApplicationError
	require.ErrorAs(t, j.GetWorkflowError(), &app)
	require.Equal(t, signals.ErrConflict, app.Type(), "which pages")
}
