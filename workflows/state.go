package workflows

import (
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

// Activities are named by their methods; the structs behind them are built by
// the daemon, and never here.
var (
	intake *activities.Release
	lanes  *activities.Lanes
	deploy *activities.Deploy
	notary *activities.Notary
)

// release is the state of one run. Only coroutines of this workflow touch it.
type release struct {
	// root outlives every cancellation, for records and undos; fwd is what an
	// abort or a cancellation of the workflow ends.
	root, fwd   workflow.Context
	stopForward workflow.CancelFunc

	raw       []byte
	request   signals.Request
	requester signals.RequesterView
	authn     *signals.Authentication
	plan      signals.Plan
	digest    string // plan digest
	started   time.Time

	phase   signals.Phase
	endedIn signals.Phase
	doing   string
	since   time.Time
	until   time.Time
	gates   map[signals.Phase]*signals.Gate

	papers       *papers
	verification signals.Verification
	decision     signals.PolicyResult
	permit       *signals.Envelope
	permitUntil  time.Time
	approvals    approvals
	nonces       map[string]bool // of approvals and commands that counted
	halted       *stop           // why a person or lost standing ends the release
	settling     bool
	refused      int // messages refused

	// What operators want, and what waits for somebody to approve it.
	paused  *pause
	pending []pending
	stuck   bool // an undo failed and waits for a retry

	// people is false in a run that began before approvals could be withdrawn,
	// stepped up or void, and before operators had more commands than abort.
	people  bool
	notices notices
	// endStanding stops the watch of what approvals rest on.
	endStanding workflow.CancelFunc

	grant    signals.LaneGrant
	lkg      *signals.Snapshot
	weight   int32
	windows  []signals.WindowStatus
	watched  *watched // the window under way
	serving  *watched // the last window over what serves traffic now
	verdict  string   // digest of the last analysis record
	undos    []undo
	rollback *signals.RollbackReport
	// unfinished says what of the last rollback could not be done.
	unfinished []string
	outcome    *signals.Outcome
}

// pause is who holds the release, and why.
type pause struct {
	by     signals.Subject
	reason string
}

func (p *pause) text() string { return p.by.Display() + ": " + p.reason }

// changed says whether the environment may have been changed.
func (r *release) changed() bool { return len(r.undos) > 0 }

// halt ends the forward part for a reason; the first one counts.
func (r *release) halt(s *stop) {
	if r.halted == nil {
		r.halted = s
	}
	r.stopForward()
}

func newRelease(ctx workflow.Context, raw []byte) (*release, error) {
	info := workflow.GetInfo(ctx)
	now := workflow.Now(ctx).UTC()
	run := originalRun(info)
	root, _ := workflow.NewDisconnectedContext(ctx)
	fwd, cancel := workflow.WithCancel(ctx)
	r := &release{
		root: root, fwd: fwd, stopForward: cancel,
		raw: raw, started: now, since: now, phase: signals.Intake,
		gates: map[signals.Phase]*signals.Gate{},
		papers: &papers{
			environment: signals.IntakeEnvironment, service: signals.IntakeService,
			release: info.WorkflowExecution.ID, run: run,
			subjects: []signals.RecordSubject{{Name: "request", Digest: signals.Digest(raw)}},
		},
		nonces: map[string]bool{}, endStanding: func() {},
	}
	r.people = workflow.GetVersion(ctx, "people", workflow.DefaultVersion, 1) >= 1
	r.papers.changed = r.show
	if !signals.ValidReleaseID(r.papers.release) {
		// The id can't stand in an object key; the run id always can.
		r.papers.release = run
	}
	if err := r.handleMessages(ctx); err != nil {
		return nil, err
	}
	workflow.GoNamed(root, "papers", r.papers.write)
	workflow.GoNamed(root, "notices", r.publish)
	return r, nil
}

// originalRun is the run that a release's papers and approvals are bound to. It
// stays the same when the workflow is reset, so that replay sees what was seen;
// that the run has changed since is found by the re-check before each step.
func originalRun(info *workflow.Info) string {
	if info.OriginalRunID == "" { // as in the SDK's test environment
		return info.WorkflowExecution.RunID
	}
	return info.OriginalRunID
}

// enter moves to a phase: one upsert of the search attribute, one line in the
// table of gates, new details for the UI.
func (r *release) enter(phase signals.Phase, doing string) {
	now := workflow.Now(r.root).UTC()
	if g := r.gates[r.phase]; g != nil && g.State == running {
		g.State = passed
	}
	if r.phase != phase || phase == signals.Intake {
		_ = workflow.UpsertTypedSearchAttributes(r.root, signals.AttrPhase.ValueSet(string(phase)))
	}
	r.phase = phase
	g := r.gates[phase]
	if g == nil {
		g = &signals.Gate{Phase: phase, Name: string(phase), Since: now}
		r.gates[phase] = g
	}
	g.State = running
	r.now(doing, time.Time{})
}

// now says what happens right now, and until when it may take.
func (r *release) now(doing string, until time.Time) {
	r.doing, r.since, r.until = doing, workflow.Now(r.root).UTC(), until
	if g := r.gates[r.phase]; g != nil {
		g.Detail, g.Until = doing, until
	}
	r.show()
}

// gate sets the words of the current phase's line in the table.
func (r *release) gate(state, detail string) {
	if g := r.gates[r.phase]; g != nil {
		g.State, g.Detail, g.Until = state, detail, time.Time{}
	}
	r.show()
}

// States of a gate.
const (
	waiting = "waiting"
	running = "running"
	passed  = "passed"
	failed  = "failed"
	skipped = "skipped"
)

// record writes one record and waits until it is durable. This is what "evidence
// before action" means in code: a step that changes something calls it first.
func (r *release) record(ctx workflow.Context, kind signals.RecordKind, predicate any) (signals.RecordOutput, error) {
	return r.papers.record(ctx, kind, predicate)
}

// note queues a record without waiting for it: for refusals, and on the way back.
func (r *release) note(kind signals.RecordKind, predicate any) {
	r.papers.add(r.root, kind, predicate)
}

// input is what every deploy activity needs to know of this release.
func (r *release) input() signals.DeployInput {
	return signals.DeployInput{
		Release: r.plan.Release, Run: r.plan.Run,
		Service: r.plan.Service, Environment: r.plan.Environment, Ticket: r.plan.Request.Ticket,
		Target: r.plan.Target, Artifact: r.plan.Artifact, Permit: r.permit,
	}
}

func joinReasons(reasons []string) string { return strings.Join(reasons, "; ") }
