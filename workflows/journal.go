package workflows

import (
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// When a run of the journal closes its papers, and how much of what it is sent
// it takes at once or hands on.
const (
	journalRecords = 200
	journalIdle    = time.Hour
	journalDay     = 24 * time.Hour
	journalBatch   = 10
	entryBytes     = 64 << 10 // of one envelope's payload
	handOnBytes    = 1 << 20
)

// Journal writes down what belongs to no release: what the gateway refused, and
// commands to lanes. Each run is a chain of records like a release's, closed by
// a manifest that continues the chain of the journal's own lane; the next entry
// begins the next run.
//
// An entry counts by the gateway's signature. What carries none is counted in
// the manifest, and costs neither a record nor an activity.
func Journal(ctx workflow.Context, in signals.JournalInput) (signals.Outcome, error) {
	j := newJournal(ctx, in)
	if err := j.collect(ctx); err != nil && !temporal.IsCanceledError(err) {
		return signals.Outcome{}, err
	}
	outcome, err := j.close()
	if err != nil {
		return outcome, err
	}
	if next := j.rest(); len(next.Entries) > 0 || next.Dropped > 0 {
		return outcome, workflow.NewContinueAsNewError(ctx, signals.JournalWorkflow, next)
	}
	return outcome, nil
}

type journal struct {
	root    workflow.Context // outlives a cancellation: the papers are closed
	entries workflow.ReceiveChannel
	waiting []signals.Message // taken over from the run before, or read already
	nonces  map[string]bool
	papers  *papers
	kept    int // entries that were given a record
	dropped int // entries that were not
	started time.Time
	last    time.Time // entry
	grant   *signals.LaneGrant
	refused error // by the lane
}

func newJournal(ctx workflow.Context, in signals.JournalInput) *journal {
	root, _ := workflow.NewDisconnectedContext(ctx)
	now := workflow.Now(ctx).UTC()
	run := originalRun(workflow.GetInfo(ctx))
	j := &journal{
		root: root, waiting: in.Entries, dropped: in.Dropped, nonces: map[string]bool{}, started: now, last: now,
		entries: workflow.GetSignalChannelWithOptions(ctx, signals.JournalEntry, workflow.SignalChannelOptions{
			Description: "An envelope that the gateway signed: a refusal, or a command to a lane.",
		}),
		papers: &papers{
			environment: signals.JournalEnvironment, service: signals.JournalService,
			release: signals.JournalRelease(run), run: run,
		},
	}
	j.papers.changed = j.show
	workflow.GoNamed(root, "papers", j.papers.write)
	workflow.GoNamed(root, "turn", j.claim)
	return j
}

// claim takes the lane's turn for the whole run: should this run be terminated,
// the lane closes its papers.
func (j *journal) claim(ctx workflow.Context) {
	in := signals.AcquireInput{Environment: j.papers.environment, Service: j.papers.service, Claim: signals.LaneClaim{
		Resource: signals.LanePapers, Release: workflow.GetInfo(ctx).WorkflowExecution.ID, Run: j.papers.run, At: j.started,
	}}
	granted := workflow.GetSignalChannel(ctx, signals.LaneGranted)
	for pause := askAgainFirst; ; pause = min(2*pause, askAgainAtMost) {
		grant, err := call[signals.LaneGrant](ctx, asking("turn to continue the journal's manifests"), lanes.Acquire, in)
		if err != nil {
			j.refused = err
			return
		}
		if grant.Granted {
			j.grant = &grant
			return
		}
		granted.ReceiveWithTimeout(ctx, pause, nil)
	}
}

// collect records entries until it is time to close the papers.
func (j *journal) collect(ctx workflow.Context) error {
	for j.kept < journalRecords && !workflow.GetInfo(ctx).GetContinueAsNewSuggested() && j.papers.broken == nil {
		batch := j.take(min(journalBatch, journalRecords-j.kept))
		if len(batch) == 0 {
			if more, err := j.wait(ctx); err != nil || !more {
				return err
			}
			continue
		}
		records, err := call[[]signals.JournalRecord](j.root, asking(fmt.Sprintf("verify %d entries", len(batch))), entries.OpenEntries, batch)
		if err != nil {
			return err
		}
		for _, r := range records {
			j.keep(r)
		}
		j.last = workflow.Now(ctx).UTC()
		j.show()
	}
	return ctx.Err()
}

// wait returns whether there is another entry before the papers are closed.
func (j *journal) wait(ctx workflow.Context) (bool, error) {
	until := j.last.Add(journalIdle)
	if day := j.started.Add(journalDay); day.Before(until) {
		until = day
	}
	timerCtx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimerWithOptions(timerCtx, until.Sub(workflow.Now(ctx)), workflow.TimerOptions{Summary: "close the papers"})
	err := workflow.Await(ctx, func() bool { return j.entries.Len() > 0 || timer.IsReady() || j.papers.broken != nil })
	return j.entries.Len() > 0, err
}

// take reads up to n entries that may be worth verifying.
func (j *journal) take(n int) []signals.Message {
	for len(j.waiting) < n {
		var raw json.RawMessage
		if ok := j.entries.ReceiveAsync(&raw); !ok {
			break
		}
		var m signals.Message
		if err := json.Unmarshal(raw, &m); err != nil || len(m.Envelope.Signatures) == 0 || len(m.Envelope.Payload) > entryBytes {
			j.dropped++
			continue
		}
		j.waiting = append(j.waiting, m)
	}
	n = min(n, len(j.waiting))
	batch := j.waiting[:n]
	j.waiting = j.waiting[n:]
	return batch
}

// keep gives an entry its record. One that was handed over twice has one.
func (j *journal) keep(r signals.JournalRecord) {
	switch {
	case r.Problem != "":
		workflow.GetLogger(j.root).Warn("an entry of the journal is not recorded", "reason", r.Problem)
		j.dropped++
	case !j.nonces[r.Nonce]:
		j.nonces[r.Nonce] = true
		j.papers.subjects = []signals.RecordSubject{r.Subject}
		j.papers.add(j.root, r.Kind, r.Predicate)
		j.kept++
	}
}

// close waits for the records and the turn, and writes the manifest.
func (j *journal) close() (signals.Outcome, error) {
	p := j.papers
	outcome := signals.Outcome{
		Kind: signals.Recorded, Release: p.release, Run: p.run, Service: p.service, Environment: p.environment,
		StartedAt: j.started, EndedAt: workflow.Now(j.root).UTC(),
	}
	if err := workflow.Await(j.root, func() bool { return j.grant != nil || j.refused != nil || p.broken != nil }); err != nil {
		return outcome, err
	}
	if j.refused != nil {
		return outcome, j.refused
	}
	if err := p.drain(j.root, func() int { return 0 }); err != nil {
		return outcome, err
	}
	p.subjects = []signals.RecordSubject{{Name: "journal", Digest: signals.Digest([]byte(p.run))}}
	err := p.seal(j.root, &outcome, j.grant.LastManifest, j.dropped)
	return outcome, err
}

// rest is what came in after the manifest was begun, for the next run.
func (j *journal) rest() signals.JournalInput {
	var next signals.JournalInput
	j.dropped = 0
	size := 0
	for batch := j.take(1); len(batch) > 0; batch = j.take(1) {
		if size += len(batch[0].Envelope.Payload); size > handOnBytes {
			next.Dropped++
			continue
		}
		next.Entries = append(next.Entries, batch[0])
	}
	next.Dropped += j.dropped
	return next
}

// show tells in the UI what the journal holds.
func (j *journal) show() {
	workflow.SetCurrentDetails(j.root, fmt.Sprintf("papers %#q: %d record(s), %d of them on the way to the evidence bucket; %d entries not recorded",
		j.papers.release, j.kept, j.papers.pending(), j.dropped))
}
