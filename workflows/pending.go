package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// pending is a command that waits for somebody other than its operator.
type pending struct {
	statement signals.CommandStatement
	envelope  signals.Envelope
	at        time.Time
}

// decideCommand counts a decision on a command that waits for one.
func (r *release) decideCommand(s signals.ApprovalStatement, e signals.Envelope, _ time.Time) (signals.Receipt, error) {
	i := slices.IndexFunc(r.pending, func(p pending) bool { return p.statement.Nonce == s.Command })
	if i < 0 || r.halted != nil {
		return signals.Receipt{}, refused(signals.ErrNotNow, "no command %q waits for approval; the release is in phase %s", s.Command, r.phase)
	}
	p := r.pending[i]
	place, err := mayDecideCommand(s, p.statement, r.deciders(), r.approvals.demands, r.approvals.exclusions)
	if err != nil {
		return signals.Receipt{}, err
	}
	r.recordDecision(s, e, place)
	r.pending = slices.Delete(r.pending, i, i+1)
	if s.Decision == signals.Deny {
		r.show()
		return signals.Receipt{Accepted: true, Message: "denied; the command has no effect"}, nil
	}
	r.note(signals.RecordCommand, signals.CommandPredicate{
		PlanDigest: r.digest, Statement: p.statement, Envelope: p.envelope, Phase: r.phase,
		State: "approved", ApprovedBy: s.Approver.Key(),
	})
	r.tellCommand(p.statement, s.Approver.Display())
	return signals.Receipt{Accepted: true, Message: "approved: " + r.obey(p.statement, s.Approver.Display())}, nil
}

// mayDecideCommand decides whether somebody may decide on another one's command,
// and out of which group. An error has one of the contract's types.
func mayDecideCommand(s signals.ApprovalStatement, c signals.CommandStatement, deciders signals.Quorum,
	demands []signals.GroupQuorum, exclusions []signals.Exclusion) (string, error) {
	who := s.Approver
	in := groupsOf(deciders, who)
	as, excluded := conflict(who, exclusions)
	switch {
	case s.Decision != signals.Approve && s.Decision != signals.Deny:
		return "", refused(signals.ErrUntrusted, "decision %q on a command is neither approve nor deny", s.Decision)
	case strings.TrimSpace(s.Reason) == "":
		return "", refused(signals.ErrNotAllowed, "a decision needs a reason")
	case samePerson(who, c.Operator):
		return "", refused(signals.ErrNotAllowed, "%s gave the command and so can't decide on it; somebody else must", who.Display())
	case excluded:
		return "", refused(signals.ErrNotAllowed, "%s can't approve or deny what this release does: %s; somebody else must", who.Display(), partIn[as])
	case len(in) == 0:
		return "", refused(signals.ErrNotAllowed, "%s is in none of the groups that decide here: %s", who.Display(), anyOf(deciders))
	case s.Decision == signals.Deny:
		return in[0], nil
	}
	fresh, lacking, why := freshFor(in, demands, s)
	if len(fresh) == 0 {
		return "", stepUpNeeded(lacking, why)
	}
	return fresh[0], nil
}

// lapse forgets the commands that still wait when what they are about is over.
func (r *release) lapse() {
	for _, p := range r.pending {
		r.say(signals.Reply{Event: "command/" + p.statement.Nonce + "/lapsed", Text: fmt.Sprintf(
			"The window is over before anybody approved to %s.", verbs[p.statement.Command])})
	}
	r.pending = nil
}
