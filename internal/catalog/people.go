package catalog

import (
	"regexp"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// minRecheck keeps a waiting release from asking registry and directory without
// a pause.
const minRecheck = signals.Duration(time.Second)

// channel is a Slack channel by its name or by its id.
var channel = regexp.MustCompile(`^(#[a-z0-9][-a-z0-9_]{0,78}|[CG][A-Z0-9]{5,20})$`)

func (d *document) validateQuorum(path string, q signals.Quorum, tier int) {
	groups := d.validateGroups(path, q)
	if tier >= 2 {
		d.want(groups >= 2 && q.People() >= 2, path, "tier 2 is approved by at least two people from two groups; found %d from %d", q.People(), groups)
	}
}

// validateGroups checks the quorum's places and returns how many groups there are.
func (d *document) validateGroups(path string, q signals.Quorum) int {
	seen := map[string]bool{}
	for i, g := range q.Groups {
		at := indexed(path+".groups", i)
		d.want(group.MatchString(g.Group), at+".group", "%q: want a group's name at the identity provider", g.Group)
		d.want(!seen[g.Group], at+".group", "%q stands twice; give it one count", g.Group)
		d.want(g.Count >= 1, at+".count", "%d: want at least 1 person", g.Count)
		seen[g.Group] = true
		if g.StepUp != nil {
			d.validateStepUp(at+".stepUp", *g.StepUp)
		}
	}
	return len(seen)
}

func (d *document) validateStepUp(path string, s signals.StepUp) {
	d.want(s.MaxAge > 0, path+".maxAge", "%s: want how old the login may be at the decision, such as 5m", s.MaxAge)
	for i, acr := range s.ACR {
		d.want(acr != "", indexed(path+".acr", i), "want the name of an authentication context, as the identity provider spells it")
	}
}

func (d *document) validateLimits(path string, l signals.Limits, q signals.Quorum) {
	d.want(l.Queue > 0, path+".queue", "%s: want how long a release waits for its lane, such as 30m", l.Queue)
	d.want(l.Approval > 0 || q.People() == 0, path+".approval", "%s: want how long approvers have, such as 4h", l.Approval)
	d.want(l.ApprovalValid >= 0, path+".approvalValid", "%s: want no negative time", l.ApprovalValid)
	d.want(l.Recheck == 0 || l.Recheck >= minRecheck, path+".recheck", "%s: want at least %s, or nothing for each minute", l.Recheck, minRecheck)
}

func (d *document) validateRoles(path string, r signals.Roles) {
	for _, role := range []struct {
		name   string
		groups []string
	}{{"release", r.Release}, {"operate", r.Operate}} {
		seen := map[string]bool{}
		for i, name := range role.groups {
			at := indexed(path+"."+role.name, i)
			d.want(group.MatchString(name), at, "%q: want a group's name at the identity provider", name)
			d.want(!seen[name], at, "%q stands twice", name)
			seen[name] = true
		}
	}
}

// validateNotify wants reminders that come one after the other while there is
// still time to approve.
func (d *document) validateNotify(path string, n signals.Notify, l signals.Limits) {
	d.want(channel.MatchString(n.Channel), path+".channel", "%q: want a channel's name with #, such as #releases, or its id, such as C024BE91L", n.Channel)
	d.want(n.Escalation == "" || channel.MatchString(n.Escalation), path+".escalation", "%q: want a channel's name with # or its id", n.Escalation)
	for i, before := range n.Remind {
		at := indexed(path+".remind", i)
		d.want(before > 0, at, "%s: want how long before the approval's end, such as 15m", before)
		d.want(l.Approval == 0 || before < l.Approval, at, "%s: want less than limits.approval, %s", before, l.Approval)
		d.want(i == 0 || before < n.Remind[i-1], at, "%s: want less than the one before; the last reminder is the one that escalates", before)
	}
}

// validateBreakGlass holds emergencies to two people and to an end, and to no
// more time than an ordinary release has.
func (d *document) validateBreakGlass(path string, b BreakGlass, l signals.Limits) {
	groups := d.validateGroups(path+".approval", b.Approval)
	d.want(groups >= 2 && b.Approval.People() >= 2, path+".approval", "an emergency is approved by at least two people from two groups; found %d from %d", b.Approval.People(), groups)
	d.want(b.Limits.Approval > 0, path+".limits.approval", "%s: want how long approvers have in an emergency, such as 30m", b.Limits.Approval)
	d.want(l.Approval == 0 || b.Limits.Approval <= l.Approval, path+".limits.approval", "%s: want at most the ordinary limits.approval, %s", b.Limits.Approval, l.Approval)
	d.validateWindow(path+".baseline", b.Baseline)
	d.validateSteps(path+".steps", b.Steps)
	d.validateWindow(path+".bake", b.Bake)
	d.want(b.ReviewWithin > 0, path+".reviewWithin", "%s: want when the review is due after the release, such as 24h", b.ReviewWithin)
}
