package workflows

import (
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// approvals is who must and who did decide.
type approvals struct {
	needed     signals.Quorum
	demands    []signals.GroupQuorum // whose StepUp holds for their group
	exclusions []signals.Exclusion
	// revisable is false in a run that began before approvals could be taken back.
	revisable bool
	valid     time.Duration // 0 for as long as the release waits
	// open is true while the release waits for people.
	open    bool
	expires time.Time
	given   []given // in the order they came, void ones too
	denied  *signals.ApprovalStatement
	// revision counts the changes of who counts.
	revision int
}

// given is one approval.
type given struct {
	statement signals.ApprovalStatement
	groups    []string // of the quorum, in whose name it counts
	at        time.Time
	void      string // why it no longer counts, "" if it does
}

// ask sets who must decide: what the policy demands, with the fresh logins that
// the plan does.
func (a *approvals) ask(plan, policy signals.Quorum) {
	a.demands = slices.Concat(plan.Groups, policy.Groups)
	a.needed = signals.Quorum{Groups: slices.Clone(policy.Groups)}
	for i, g := range a.needed.Groups {
		for _, d := range a.demands {
			if g.StepUp == nil && d.Group == g.Group {
				a.needed.Groups[i].StepUp, g.StepUp = d.StepUp, d.StepUp
			}
		}
	}
}

// counted lists the approvals that are not void.
func (a *approvals) counted() []given {
	return slices.DeleteFunc(slices.Clone(a.given), func(g given) bool { return g.void != "" })
}

// approvers are those whose approval counts, with the groups that it counts for.
func (a *approvals) approvers() []signals.Subject {
	counted := a.counted()
	subjects := make([]signals.Subject, len(counted))
	for i, g := range counted {
		subjects[i] = g.statement.Approver
		subjects[i].Groups = g.groups
	}
	return subjects
}

func (a *approvals) missing() signals.Quorum {
	_, missing := Assign(a.needed, a.approvers())
	return missing
}

func (a *approvals) complete() bool { return a.needed.People() > 0 && a.missing().People() == 0 }

func (a *approvals) names() []string {
	names := make([]string, 0, len(a.given))
	for _, g := range a.counted() {
		names = append(names, g.statement.Approver.Display())
	}
	return names
}

// add counts an approval and returns the place that it fills, "" if others fill
// them all.
func (a *approvals) add(g given) string {
	a.given = append(a.given, g)
	a.revision++
	filled, _ := Assign(a.needed, a.approvers())
	return filled[len(filled)-1]
}

// void lets every counted approval fall for which why gives a reason, and
// returns the nonces of those that fell.
func (a *approvals) void(why func(given) string) []string {
	nonces := []string{}
	for i, g := range a.given {
		if g.void != "" {
			continue
		}
		if reason := why(g); reason != "" {
			a.given[i].void = reason
			nonces = append(nonces, g.statement.Nonce)
		}
	}
	if len(nonces) > 0 {
		a.revision++
	}
	return nonces
}

// goodUntil is when the first of the counted approvals gets too old, zero if
// none does.
func (a *approvals) goodUntil() time.Time {
	var first time.Time
	if a.valid <= 0 {
		return first
	}
	for _, g := range a.counted() {
		if end := g.at.Add(a.valid); first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// mayDecide decides whether somebody may decide on the release at all. The error
// has one of the contract's types.
func (a *approvals) mayDecide(s signals.ApprovalStatement) error {
	who := s.Approver
	if as, ok := conflict(who, a.exclusions); ok {
		return refused(signals.ErrNotAllowed, "%s can't approve or deny this release: %s; somebody else must", who.Display(), partIn[as])
	}
	for _, g := range a.counted() {
		if samePerson(g.statement.Approver, who) && (s.Decision == signals.Approve || !a.revisable) {
			return refused(signals.ErrNotAllowed, "%s has decided on this release already; each place needs another person", who.Display())
		}
	}
	if strings.TrimSpace(s.Reason) == "" {
		return refused(signals.ErrNotAllowed, "a decision needs a reason")
	}
	if len(groupsOf(a.needed, who)) == 0 {
		return refused(signals.ErrNotAllowed, "%s is in none of the groups that decide here: %s", who.Display(), describeQuorum(a.needed))
	}
	return nil
}

// partIn says in words what keeps somebody from approving.
var partIn = map[string]string{
	asRequester:     "they asked for this release",
	asAuthor:        "they wrote the change",
	asCommitter:     "they committed the change",
	asMerger:        "they merged the change",
	asConfiguration: "they wrote the configuration that it is judged by",
}

// speaksFor lists the groups of the quorum that an approval counts for: the
// approver's, less those that demand a fresher login than the one it was given
// with. If the approval would fill a place by such a group alone, the error says
// so. Stopping is never harder than going on: only approvals are asked for it.
func (a *approvals) speaksFor(s signals.ApprovalStatement) ([]string, error) {
	in := groupsOf(a.needed, s.Approver)
	groups, lacking, why := freshFor(in, a.demands, s)
	if len(lacking) == 0 {
		return groups, nil
	}
	if len(groups) == 0 || a.wouldMiss(s.Approver, groups) > a.wouldMiss(s.Approver, in) {
		return nil, stepUpNeeded(lacking, why)
	}
	return groups, nil
}

// freshFor parts groups into those for which a decision's login does and those
// for which it doesn't, and says why not.
func freshFor(groups []string, demands []signals.GroupQuorum, s signals.ApprovalStatement) (fresh, lacking []string, why string) {
	for _, group := range groups {
		fault := ""
		for _, d := range demands {
			if d.Group == group && d.StepUp != nil && fault == "" {
				fault = stepUpMet(*d.StepUp, s.Authn, s.IssuedAt)
			}
		}
		if fault == "" {
			fresh = append(fresh, group)
		} else {
			lacking, why = append(lacking, group), fault
		}
	}
	return fresh, lacking, why
}

// wouldMiss is how many people are missing once somebody has approved in the
// name of groups.
func (a *approvals) wouldMiss(who signals.Subject, groups []string) int {
	who.Groups = groups
	_, missing := Assign(a.needed, append(a.approvers(), who))
	return missing.People()
}
