package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// status answers the status query. It only reads.
func (r *release) status() (signals.Status, error) {
	s := signals.Status{
		Release: r.papers.release, Run: r.papers.run,
		Service: r.papers.service, Environment: r.papers.environment, Tier: r.plan.Tier,
		Artifact: r.plan.Artifact, Commit: r.request.Commit, Ticket: r.request.Ticket,
		Requester: r.requesterName(), PlanDigest: r.digest,
		Phase: r.phase, Doing: r.doing, Since: r.since, Until: r.until,
		Weight: r.weight, Gates: r.table(), Windows: slices.Clone(r.windows),
		Records: len(r.papers.refs), Refused: r.refused,
		Next: r.next(), Outcome: r.outcome,
		Approval: r.approvalStatus(), Pending: r.pendingCommands(), Excluded: r.approvals.exclusions,
	}
	if r.paused != nil {
		s.Paused = r.paused.text()
	}
	if r.lkg != nil {
		lkg := r.lkg.Brief()
		s.LKG = &lkg
	}
	if r.digest != "" && r.people {
		about := r.announcement()
		s.About = &about
	}
	return s, nil
}

// approvalStatus is who must and who did decide, in the order they did.
func (r *release) approvalStatus() signals.ApprovalStatus {
	a := &r.approvals
	s := signals.ApprovalStatus{Needed: a.needed, Missing: a.missing(), Expires: a.expires}
	places, _ := Assign(a.needed, a.approvers())
	for _, g := range a.given {
		view := approvalView(g.statement, g.at)
		view.Void = g.void
		if g.void == "" {
			view.Place, places = places[0], places[1:]
		}
		s.Given = append(s.Given, view)
	}
	if d := a.denied; d != nil {
		s.Given = append(s.Given, approvalView(*d, d.IssuedAt))
	}
	return s
}

func approvalView(s signals.ApprovalStatement, at time.Time) signals.ApprovalView {
	return signals.ApprovalView{Decision: s.Decision, By: s.Approver.Display(), Subject: s.Approver.Key(), Reason: s.Reason, At: at}
}

// pendingCommands are the commands that wait for somebody's approval.
func (r *release) pendingCommands() []signals.PendingCommand {
	var out []signals.PendingCommand
	for _, p := range r.pending {
		out = append(out, signals.PendingCommand{
			ID: p.statement.Nonce, Command: p.statement.Command, By: p.statement.Operator.Display(), Reason: p.statement.Reason, At: p.at,
		})
	}
	return out
}

func (r *release) requesterName() string {
	switch {
	case r.requester.Subject != nil:
		return r.requester.Subject.Display()
	case r.requester.Claimed != "":
		return r.requester.Claimed + " (not proven)"
	}
	return "not proven"
}

// table lists the gates in the order of the process, those to come included.
func (r *release) table() []signals.Gate {
	phases := signals.Phases()
	if r.gates[signals.RollingBack] != nil {
		phases = slices.Insert(phases, len(phases)-1, signals.RollingBack)
	}
	gates := make([]signals.Gate, 0, len(phases))
	for _, phase := range phases {
		switch g := r.gates[phase]; {
		case g != nil:
			gates = append(gates, *g)
		case phase != signals.Settled && (r.settling || r.gates[signals.RollingBack] != nil):
			gates = append(gates, signals.Gate{Phase: phase, Name: string(phase), State: skipped})
		default:
			gates = append(gates, signals.Gate{Phase: phase, Name: string(phase), State: waiting})
		}
	}
	return gates
}

// next says what a person can do now, with the command to copy.
func (r *release) next() []signals.NextAction {
	id := r.papers.release
	if r.outcome != nil {
		return []signals.NextAction{{Who: "anybody", What: "read the papers", Command: "waybill evidence show " + id}}
	}
	var next []signals.NextAction
	if r.approvals.open {
		for _, g := range r.approvals.missing().Groups {
			next = append(next, signals.NextAction{
				Who: fmt.Sprintf("%d of %s", g.Count, g.Group), What: "approve or deny",
				Command: fmt.Sprintf("waybill approve %s --reason '…'", id),
			})
		}
	}
	for _, p := range r.pending {
		next = append(next, signals.NextAction{
			Who: "1 of " + anyOf(r.deciders()), What: fmt.Sprintf("let %s %s", p.statement.Operator.Display(), verbs[p.statement.Command]),
			Command: fmt.Sprintf("waybill approve %s --command %s --reason '…'", id, p.statement.Nonce),
		})
	}
	return append(next, r.commands()...)
}

// commands lists the commands that would be accepted now, as judge judges them.
func (r *release) commands() []signals.NextAction {
	var next []signals.NextAction
	situation, who := r.situation(), "on-call"
	if len(situation.operate) > 0 {
		who = "anyone of " + strings.Join(situation.operate, ", ")
	}
	for _, c := range []struct {
		kind    signals.CommandKind
		options string
		what    string
	}{
		{signals.RetryUndo, "", "try the failed undos once more"},
		{signals.Resume, "", "let it go on"},
		{signals.Pause, "", "hold it before its next step"},
		{signals.Extend, " --by 30m", "watch this window for longer"},
		{signals.Skip, "", "go on as if this window had passed"},
		{signals.RollBackNow, "", "roll back now"},
		{signals.Abort, "", "stop it and put everything back"},
	} {
		statement := signals.CommandStatement{
			Command: c.kind, By: signals.Duration(time.Minute), Reason: c.what, Operator: signals.Subject{Groups: situation.operate},
		}
		if _, err := judge(situation, statement); err != nil || !r.people && c.kind != signals.Abort {
			continue
		}
		next = append(next, signals.NextAction{Who: who, What: c.what, Optional: true, Command: fmt.Sprintf("waybill %s %s%s --reason '…'", c.kind, r.papers.release, c.options)})
	}
	return next
}

// show renders the details that the Temporal UI displays: on-call's screen. It
// is called at each change of state, never on a timer.
func (r *release) show() {
	workflow.SetCurrentDetails(r.root, r.details())
	r.refresh()
}

func (r *release) details() string {
	var b strings.Builder
	if r.plan.Service != "" {
		fmt.Fprintf(&b, "**%s → %s** (tier %d) · `%s` · commit `%s` · ticket %s · asked by %s\n\n", r.plan.Service, r.plan.Environment,
			r.plan.Tier, r.plan.Artifact.Reference(), r.request.Commit, orDash(r.request.Ticket), r.requesterName())
	}
	fmt.Fprintf(&b, "**Now:** %s", r.doing)
	if !r.until.IsZero() {
		fmt.Fprintf(&b, " (until %s)", clock(r.until))
	}
	fmt.Fprintf(&b, " · canary at %d%%\n\n", r.weight)
	if r.paused != nil {
		fmt.Fprintf(&b, "**Paused** by %s\n\n", r.paused.text())
	}
	if n := r.papers.pending(); n > 0 {
		fmt.Fprintf(&b, "%d record(s) on the way to the evidence bucket; forward steps wait for them.\n\n", n)
	}
	b.WriteString("| gate | state | detail | since |\n|---|---|---|---|\n")
	for _, g := range r.table() {
		since := ""
		if !g.Since.IsZero() {
			since = clock(g.Since)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.Name, g.State, cell(g.Detail), since)
	}
	r.detailPeople(&b)
	if next := r.next(); len(next) > 0 {
		b.WriteString("\n**Next**\n\n| who | what | command |\n|---|---|---|\n")
		for _, n := range next {
			fmt.Fprintf(&b, "| %s | %s | `%s` |\n", n.Who, n.What, n.Command)
		}
	}
	if r.plan.Runbook != "" {
		fmt.Fprintf(&b, "\nRunbook: %s · owner: %s\n", r.plan.Runbook, r.plan.Owner)
	}
	return b.String()
}

// detailPeople renders who has decided, and who can't.
func (r *release) detailPeople(b *strings.Builder) {
	if status := r.approvalStatus(); len(status.Given) > 0 {
		b.WriteString("\n**Decided**\n\n| who | what | for | reason | when |\n|---|---|---|---|---|\n")
		for _, g := range status.Given {
			what := string(g.Decision)
			if g.Void != "" {
				what += " (void: " + g.Void + ")"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(g.By), cell(what), orDash(g.Place), cell(g.Reason), clock(g.At))
		}
	}
	if excluded := r.approvals.exclusions; len(excluded) > 0 {
		out := make([]string, len(excluded))
		for i, e := range excluded {
			out[i] = e.Identity + " (" + e.As + ")"
		}
		fmt.Fprintf(b, "\nMay not approve: %s\n", cell(strings.Join(out, ", ")))
	}
	for _, p := range r.pending {
		fmt.Fprintf(b, "\n%s wants to %s: %s. It waits for somebody else's approval.\n",
			cell(p.statement.Operator.Display()), verbs[p.statement.Command], cell(p.statement.Reason))
	}
}

// cell makes text safe for a table's cell.
func cell(s string) string {
	return strings.NewReplacer("\n", " ", "|", "\\|").Replace(s)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
