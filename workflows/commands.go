package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

const (
	// longestExtension is how much longer a window may be watched in all.
	longestExtension = 24 * time.Hour
	// tierOfTwo is the tier from which on it takes two people to skip a window.
	tierOfTwo = 2
)

// situation is what decides whether a command makes sense.
type situation struct {
	phase   signals.Phase
	tier    int
	halted  string // who or what ends the release already, "" if nothing
	closing bool   // the outcome stands, the papers are being closed
	paused  string // who holds it, "" if nobody
	changed bool   // the environment may have been changed
	// window is set while one is watched; extended is by how much in all, skip
	// whether a skip of it waits for approval or takes effect already.
	window   bool
	extended time.Duration
	skip     bool
	// unfinished is set while an undo that failed waits for a person.
	unfinished bool
	// operate are the groups that may command, none for everybody whom the
	// gateway lets; requester is the key of who asked, as proven.
	operate   []string
	requester string
	// deciders is out of whom somebody must approve a skip.
	deciders signals.Quorum
}

// judge decides whether a command may be given, by its operator and in the
// situation. second is true if somebody else must approve it before it takes
// effect. An error has one of the contract's types and names the state that the
// release is in.
func judge(s situation, c signals.CommandStatement) (second bool, err error) {
	notNow := func(format string, args ...any) (bool, error) {
		return false, refused(signals.ErrNotNow, "can't %s: "+format, append([]any{verbs[c.Command]}, args...)...)
	}
	if verbs[c.Command] == "" {
		return false, refused(signals.ErrUntrusted, "command %q is not known", c.Command)
	}
	if strings.TrimSpace(c.Reason) == "" {
		return false, refused(signals.ErrNotAllowed, "%s needs a reason", c.Command)
	}
	own := c.Command == signals.Abort && s.requester != "" && c.Operator.Key() == s.requester
	if len(s.operate) > 0 && !own && !shareGroup(c.Operator.Groups, s.operate) {
		return false, refused(signals.ErrNotAllowed, "%s may not %s: that takes a member of %s",
			c.Operator.Display(), verbs[c.Command], strings.Join(s.operate, ", "))
	}
	switch {
	case s.closing:
		return notNow("the release is in phase %s, its outcome stands", s.phase)
	case c.Command == signals.RetryUndo && s.unfinished:
		return false, nil
	case c.Command == signals.RetryUndo:
		return notNow("no undo has failed; the release is in phase %s", s.phase)
	case s.phase == signals.RollingBack:
		return notNow("the release is in phase %s and puts the environment back already", s.phase)
	case s.halted != "":
		return notNow("the release is being ended already, by %s (phase %s)", s.halted, s.phase)
	}
	switch c.Command {
	case signals.Pause:
		if s.paused != "" {
			return notNow("it is paused already, by %s (phase %s)", s.paused, s.phase)
		}
	case signals.Resume:
		if s.paused == "" {
			return notNow("it is not paused (phase %s)", s.phase)
		}
	case signals.RollBackNow:
		if !s.changed {
			return notNow("nothing was changed yet in phase %s; abort ends the release", s.phase)
		}
	case signals.Skip, signals.Extend:
		return judgeWindow(s, c, notNow)
	}
	return false, nil
}

// judgeWindow decides on the commands that are about the window under way.
func judgeWindow(s situation, c signals.CommandStatement, notNow func(string, ...any) (bool, error)) (bool, error) {
	switch {
	case !s.window:
		return notNow("no window is being watched in phase %s", s.phase)
	case s.skip:
		return notNow("the window in phase %s is being skipped already, or that waits for approval", s.phase)
	case c.Command == signals.Extend && (c.By <= 0 || s.extended+c.By.D() > longestExtension):
		return false, refused(signals.ErrNotAllowed, "can't extend by %s: a window is extended by more than nothing and by %s at most in all, so far by %s",
			c.By, longestExtension, s.extended)
	case c.Command == signals.Extend:
		return false, nil
	case s.paused != "":
		return notNow("it is paused by %s (phase %s); resume it first", s.paused, s.phase)
	}
	second := s.tier >= tierOfTwo
	if second && s.deciders.People() == 0 {
		return false, refused(signals.ErrNotAllowed, "can't skip a window at tier %d: the catalog names nobody who could approve that", s.tier)
	}
	return second, nil
}

// verbs says each command as something to do.
var verbs = map[signals.CommandKind]string{
	signals.Pause: "pause", signals.Resume: "resume", signals.Abort: "abort", signals.Skip: "skip the window",
	signals.Extend: "extend the window", signals.RollBackNow: "roll back", signals.RetryUndo: "retry the undo",
}

// situation is the release as commands see it.
func (r *release) situation() situation {
	s := situation{
		phase: r.phase, tier: r.plan.Tier, closing: r.settling, changed: r.changed(),
		unfinished: r.stuck, deciders: r.deciders(),
	}
	if r.halted != nil {
		s.halted = r.halted.who()
	}
	if r.paused != nil {
		s.paused = r.paused.by.Display()
	}
	if w := r.watched; w != nil {
		s.window, s.extended, s.skip = true, w.extended, w.skip != "" || len(r.pending) > 0
	}
	if r.plan.Roles != nil {
		s.operate = r.plan.Roles.Operate
	}
	if r.requester.Subject != nil {
		s.requester = r.requester.Subject.Key()
	}
	return s
}

// deciders is out of whom a command's approval must come: whoever decides on the
// release, or else whoever may command it.
func (r *release) deciders() signals.Quorum {
	q := r.approvals.needed
	if q.People() == 0 {
		q = r.plan.Approval
	}
	if q.People() == 0 && r.plan.Roles != nil {
		q = signals.Quorum{}
		for _, group := range r.plan.Roles.Operate {
			q.Groups = append(q.Groups, signals.GroupQuorum{Group: group, Count: 1})
		}
	}
	return q
}

// handleCommand takes an operator's signed command.
func (r *release) handleCommand(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
	now := workflow.Now(ctx).UTC()
	var s signals.CommandStatement
	if err := r.read("command", signals.CommandPayload, m, &s, &s.Binding, now); err != nil {
		return signals.Receipt{}, err
	}
	if !r.people && s.Command != signals.Abort {
		return signals.Receipt{}, refused(signals.ErrUntrusted, "command %q is not known to this release, which began under an older version; known: abort", s.Command)
	}
	second, err := judge(r.situation(), s)
	if err != nil {
		return signals.Receipt{}, err
	}
	r.nonces[s.Nonce] = true
	p := signals.CommandPredicate{PlanDigest: r.digest, Statement: s, Envelope: m.Envelope, Phase: r.phase}
	if !second {
		r.note(signals.RecordCommand, p)
		r.tellCommand(s, "")
		return signals.Receipt{Accepted: true, Message: r.obey(s, "")}, nil
	}
	p.State = "pending"
	r.note(signals.RecordCommand, p)
	r.pending = append(r.pending, pending{statement: s, envelope: m.Envelope, at: now})
	who := anyOf(r.deciders())
	r.say(signals.Reply{Event: "command/" + s.Nonce, Loud: true, Text: fmt.Sprintf(
		"%s wants to %s: %s. Somebody else must approve that, of %s.", s.Operator.Display(), verbs[s.Command], s.Reason, who)})
	r.show()
	return signals.Receipt{Accepted: true, Pending: s.Nonce, Message: "it takes effect once somebody else approves it, of " + who}, nil
}

// anyOf names the groups of a quorum of which one person is enough.
func anyOf(q signals.Quorum) string {
	groups := make([]string, len(q.Groups))
	for i, g := range q.Groups {
		groups[i] = g.Group
	}
	return strings.Join(groups, " or ")
}

// obey does what an accepted command says, and tells the operator what follows.
func (r *release) obey(s signals.CommandStatement, approvedBy string) string {
	defer r.show()
	by := s.Operator
	switch s.Command {
	case signals.Pause:
		r.paused = &pause{by: by, reason: s.Reason}
		return "paused; it holds before its next step, and what serves traffic is watched on"
	case signals.Resume:
		r.paused = nil
		return "resumed"
	case signals.Skip:
		r.watched.skip = "skipped by " + by.Display() + ": " + s.Reason
		if approvedBy != "" {
			r.watched.skip += "; approved by " + approvedBy
		}
		return "skipped; the release goes on as if the window had passed"
	case signals.Extend:
		r.watched.more += s.By.D()
		r.watched.extended += s.By.D()
		return fmt.Sprintf("extended; watched for %s more once the window is over", s.By)
	case signals.RollBackNow:
		r.halt(&stop{kind: signals.RolledBack, trigger: "operator", by: by.Key(), reasons: []string{s.Reason}})
		return "rolling back"
	case signals.RetryUndo:
		r.stuck = false
		return "trying the failed undos once more"
	}
	r.halt(&stop{kind: signals.Aborted, trigger: "operator", by: by.Key(), reasons: []string{s.Reason}})
	return "aborting; whatever was changed is put back"
}

func (r *release) tellCommand(s signals.CommandStatement, approvedBy string) {
	text := fmt.Sprintf("%s by %s: %s", done[s.Command], s.Operator.Display(), s.Reason)
	if s.Command == signals.Extend {
		text = fmt.Sprintf("%s (%s)", text, s.By)
	}
	event := "command/" + s.Nonce
	if approvedBy != "" {
		text, event = text+" (approved by "+approvedBy+")", event+"/approved"
	}
	r.say(signals.Reply{Event: event, Text: text})
}

// done says each command as something that was done.
var done = map[signals.CommandKind]string{
	signals.Pause: "Paused", signals.Resume: "Resumed", signals.Abort: "Aborted", signals.Skip: "Window skipped",
	signals.Extend: "Window extended", signals.RollBackNow: "Rollback ordered", signals.RetryUndo: "Undo retried",
}
