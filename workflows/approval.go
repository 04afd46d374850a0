package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// approvals is who must and who did decide.
type approvals struct {
	needed  signals.Quorum
	expires time.Time
	given   []given
	denied  *signals.ApprovalStatement
	nonces  map[string]bool
}

// given is one counted approval.
type given struct {
	statement signals.ApprovalStatement
	at        time.Time
}

func (a *approvals) approvers() []signals.Subject {
	subjects := make([]signals.Subject, len(a.given))
	for i, g := range a.given {
		subjects[i] = g.statement.Approver
	}
	return subjects
}

func (a *approvals) missing() signals.Quorum {
	_, missing := Assign(a.needed, a.approvers())
	return missing
}

func (a *approvals) complete() bool { return a.needed.People() > 0 && a.missing().People() == 0 }

func (a *approvals) names() []string {
	names := make([]string, len(a.given))
	for i, g := range a.given {
		names[i] = g.statement.Approver.Display()
	}
	return names
}

// Assign gives each approver at most one place of the quorum, so that as many
// places as possible are filled: somebody who is in two groups takes the place
// that nobody else can take. It returns the group per approver ("" for none), in
// the order given, and what is still missing. Deterministic for equal input.
func Assign(q signals.Quorum, approvers []signals.Subject) ([]string, signals.Quorum) {
	var places []string
	for _, g := range q.Groups {
		for range g.Count {
			places = append(places, g.Group)
		}
	}
	holder := make([]int, len(places)) // approver+1 per place, 0 for free
	var seat func(person int, tried []bool) bool
	seat = func(person int, tried []bool) bool {
		for i, group := range places {
			if tried[i] || !slices.Contains(approvers[person].Groups, group) {
				continue
			}
			tried[i] = true
			if holder[i] == 0 || seat(holder[i]-1, tried) {
				holder[i] = person + 1
				return true
			}
		}
		return false
	}
	for person := range approvers {
		seat(person, make([]bool, len(places)))
	}
	filled := make([]string, len(approvers))
	var missing signals.Quorum
	for i, group := range places {
		if holder[i] > 0 {
			filled[holder[i]-1] = group
			continue
		}
		if n := len(missing.Groups); n > 0 && missing.Groups[n-1].Group == group {
			missing.Groups[n-1].Count++
		} else {
			missing.Groups = append(missing.Groups, signals.GroupQuorum{Group: group, Count: 1})
		}
	}
	return filled, missing
}

// excluded lists whom separation of duties keeps from approving: whoever asked,
// as proven or, failing that, as claimed.
func excluded(requester signals.RequesterView) []string {
	var out []string
	if requester.Subject != nil {
		out = append(out, requester.Subject.Key())
	}
	if requester.Claimed != "" {
		out = append(out, requester.Claimed)
	}
	return out
}

// mayApprove decides whether a subject may decide on a release at all. A claimed
// requester is matched by any name that the approver has: a wrong claim can only
// shut the claimed person out, never let anybody in.
func mayApprove(s signals.ApprovalStatement, requester signals.RequesterView, needed signals.Quorum, before []signals.Subject) error {
	who := s.Approver
	for _, out := range excluded(requester) {
		if slices.Contains([]string{who.Key(), who.ID, who.Email, who.Name}, out) {
			return fmt.Errorf("%s asked for this release and so can't approve or deny it; somebody else must", who.Display())
		}
	}
	for _, b := range before {
		if b.Key() == who.Key() {
			return fmt.Errorf("%s has decided on this release already; each place needs another person", who.Display())
		}
	}
	if strings.TrimSpace(s.Reason) == "" {
		return fmt.Errorf("a decision needs a reason")
	}
	for _, g := range needed.Groups {
		if slices.Contains(who.Groups, g.Group) {
			return nil
		}
	}
	return fmt.Errorf("%s is in none of the groups that decide here: %s", who.Display(), describeQuorum(needed))
}

// boundTo checks that a signed statement was made for this release, run and plan
// and for now. Empty run and plan digest are not checked.
func boundTo(b signals.Binding, release, run, planDigest string, now time.Time) error {
	const skew = time.Minute // between the gateway's clock and the server's
	switch {
	case b.Release != release:
		return fmt.Errorf("it was signed for release %q, this is %q", b.Release, release)
	case run != "" && b.Run != run:
		return fmt.Errorf("it was signed for run %q, this is run %q", b.Run, run)
	case planDigest != "" && b.PlanDigest != planDigest:
		return fmt.Errorf("it was signed for plan %s, this release's plan is %s", short(b.PlanDigest), short(planDigest))
	case b.Nonce == "":
		return fmt.Errorf("it carries no nonce")
	case now.After(b.ExpiresAt):
		return fmt.Errorf("it expired at %s", b.ExpiresAt.Format(time.RFC3339))
	case b.IssuedAt.After(now.Add(skew)):
		return fmt.Errorf("it is dated %s, which is in the future", b.IssuedAt.Format(time.RFC3339))
	}
	return nil
}

// describeQuorum says a quorum in words: "1 of payments-leads and 1 of risk".
func describeQuorum(q signals.Quorum) string {
	parts := make([]string, 0, len(q.Groups))
	for _, g := range q.Groups {
		parts = append(parts, fmt.Sprintf("%d of %s", g.Count, g.Group))
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, " and ")
}
