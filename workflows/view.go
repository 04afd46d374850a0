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
		Approval: signals.ApprovalStatus{Needed: r.approvals.needed, Missing: r.approvals.missing(), Expires: r.approvals.expires},
	}
	if r.lkg != nil {
		lkg := r.lkg.Brief()
		s.LKG = &lkg
	}
	places, _ := Assign(r.approvals.needed, r.approvals.approvers())
	for i, g := range r.approvals.given {
		s.Approval.Given = append(s.Approval.Given, approvalView(g.statement, places[i], g.at))
	}
	if d := r.approvals.denied; d != nil {
		s.Approval.Given = append(s.Approval.Given, approvalView(*d, "", d.IssuedAt))
	}
	return s, nil
}

func approvalView(s signals.ApprovalStatement, place string, at time.Time) signals.ApprovalView {
	return signals.ApprovalView{
		Decision: s.Decision, By: s.Approver.Display(), Subject: s.Approver.Key(), Place: place, Reason: s.Reason, At: at,
	}
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
	if r.phase == signals.Approving && r.approvals.needed.People() > 0 {
		for _, g := range r.approvals.missing().Groups {
			next = append(next, signals.NextAction{
				Who: fmt.Sprintf("%d of %s", g.Count, g.Group), What: "approve or deny",
				Command: fmt.Sprintf("waybill approve %s --reason '…'", id),
			})
		}
	}
	if !r.settling && r.phase != signals.RollingBack {
		next = append(next, signals.NextAction{
			Who: "on-call", What: "stop it and put everything back", Command: fmt.Sprintf("waybill abort %s --reason '…'", id),
		})
	}
	return next
}

// show renders the details that the Temporal UI displays: on-call's screen. It
// is called at each change of state, never on a timer.
func (r *release) show() { workflow.SetCurrentDetails(r.root, r.details()) }

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
