package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// mayStart says why a release may not begin for who asks for it, "" if it may.
func mayStart(plan signals.Plan, requester signals.RequesterView) string {
	if plan.BreakGlass != nil && !requester.Proven {
		return "an emergency release needs to know who asks: start it through the gateway, signed in"
	}
	if plan.Roles == nil || len(plan.Roles.Release) == 0 {
		return ""
	}
	groups := strings.Join(plan.Roles.Release, ", ")
	switch {
	case !requester.Proven:
		return fmt.Sprintf("only members of %s may release %s to %s, and nothing proves who asks: start it through the gateway, signed in",
			groups, plan.Service, plan.Environment)
	case !shareGroup(requester.Subject.Groups, plan.Roles.Release):
		return fmt.Sprintf("%s may not release %s to %s: that takes a member of %s",
			requester.Subject.Display(), plan.Service, plan.Environment, groups)
	}
	return ""
}

func shareGroup(a, b []string) bool {
	return slices.ContainsFunc(a, func(group string) bool { return slices.Contains(b, group) })
}

// fewestInEmergency is how many people, out of as many groups, must stand behind
// an emergency release besides whoever asks for it.
const fewestInEmergency = 2

// tooFewForEmergency says why a quorum is too small for an emergency release, ""
// if it isn't.
func tooFewForEmergency(q signals.Quorum) string {
	groups := map[string]bool{}
	for _, g := range q.Groups {
		if g.Count > 0 {
			groups[g.Group] = true
		}
	}
	if q.People() >= fewestInEmergency && len(groups) >= fewestInEmergency {
		return ""
	}
	return fmt.Sprintf("an emergency release needs %d people of different groups; the catalog and the policy ask for %s", fewestInEmergency, describeQuorum(q))
}

// breakGlass writes down that this is an emergency release, before anything else
// is asked or done, and tells it loudly.
func (r *release) breakGlass(ctx workflow.Context) error {
	terms := r.plan.BreakGlass
	if !r.people || terms == nil {
		return nil
	}
	_, err := r.record(ctx, signals.RecordBreakGlass, signals.BreakGlassPredicate{
		PlanDigest: r.digest, Terms: *terms, Requester: r.requester,
	})
	r.say(signals.Reply{Event: "break-glass", Loud: true, Escalate: true, Text: fmt.Sprintf(
		"Emergency release of %s to %s, asked for by %s: %s", r.plan.Service, r.plan.Environment, r.requesterName(), terms.Reason)})
	return err
}

// reviewDue is the review that an emergency release leaves behind, nil if it
// changed nothing or was none.
func (r *release) reviewDue(now time.Time) *signals.ReviewDue {
	if r.plan.BreakGlass == nil || !r.changed() {
		return nil
	}
	due := &signals.ReviewDue{
		Release: r.papers.release, Reason: r.plan.BreakGlass.Reason,
		Due: now.Add(r.plan.BreakGlass.ReviewWithin.D()),
	}
	var took []signals.Subject
	if s := r.requester.Subject; s != nil {
		took = append(took, *s)
	}
	for _, s := range append(took, r.approvals.approvers()...) { // by every name, so that a second account is no way round
		for _, identity := range identitiesOf(s) {
			if identity != "" && !slices.Contains(due.Excluded, identity) {
				due.Excluded = append(due.Excluded, identity)
			}
		}
	}
	return due
}

// approve waits for the people that the policy asks for.
func (r *release) approve(ctx workflow.Context) error {
	r.ask()
	if r.people && r.plan.BreakGlass != nil {
		if reason := tooFewForEmergency(r.approvals.needed); reason != "" {
			r.enter(signals.Approving, "")
			return r.refuse(ctx, "break-glass", []string{reason})
		}
	}
	if r.approvals.needed.People() == 0 {
		r.enter(signals.Approving, "no approval needed")
		r.gate(skipped, fmt.Sprintf("tier %d needs no approval", r.plan.Tier))
		return nil
	}
	limit := r.plan.Limits.Approval.D()
	r.approvals.expires = workflow.Now(ctx).UTC().Add(limit)
	r.enter(signals.Approving, "")
	r.nowMissing()
	r.approvals.open = true
	waitCtx, endWait := workflow.WithCancel(ctx)
	defer func() {
		r.approvals.open = false
		endWait()
	}()
	expiry := workflow.NewTimerWithOptions(waitCtx, limit, workflow.TimerOptions{Summary: "approval expires"})
	if r.people {
		r.tendApprovals(ctx, waitCtx)
	}
	if err := workflow.Await(ctx, func() bool {
		return r.approvals.denied != nil || r.approvals.complete() || expiry.IsReady()
	}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // a cancelled timer is ready, too: that is no expiry
	}
	if denied := r.approvals.denied; denied != nil {
		r.gate(failed, "denied by "+denied.Approver.Display())
		return &stop{kind: signals.Denied, trigger: "operator", by: denied.Approver.Key(), reasons: []string{denied.Reason}}
	}
	if !r.approvals.complete() {
		reason := fmt.Sprintf("no quorum within %s: still missing %s", limit, describeQuorum(r.approvals.missing()))
		r.gate(failed, reason)
		return stopped(signals.Expired, "deadline", reason)
	}
	approved := "approved by " + strings.Join(r.approvals.names(), ", ")
	r.gate(passed, approved)
	r.say(signals.Reply{Event: fmt.Sprintf("quorum/%d", r.approvals.revision), Text: "The quorum is complete: " + approved + "."})
	return nil
}

// ask settles who must decide, and who can't.
func (r *release) ask() {
	r.approvals.needed = r.decision.Approvals
	r.approvals.exclusions = Exclusions(r.requester, nil, nil)
	if !r.people {
		return
	}
	r.approvals.ask(r.plan.Approval, r.decision.Approvals)
	r.approvals.exclusions = Exclusions(r.requester, r.verification.Source, r.plan.ConfigAuthors)
	r.approvals.revisable, r.approvals.valid = true, r.plan.Limits.ApprovalValid.D()
}

// nowMissing shows whom the release waits for.
func (r *release) nowMissing() {
	r.now("waiting for "+describeQuorum(r.approvals.missing()), r.approvals.expires)
}

// tendApprovals looks after what is given while the release waits: people are
// asked and reminded, approvals that get too old fall, and so do those whose
// ground is gone. The last goes on until the permit is made out.
func (r *release) tendApprovals(ctx, waitCtx workflow.Context) {
	r.say(signals.Reply{Event: "approval-asked", Text: fmt.Sprintf("%s to %s waits for %s, until %s.",
		r.plan.Service, r.plan.Environment, describeQuorum(r.approvals.missing()), clock(r.approvals.expires))})
	if r.plan.Notify != nil && len(r.plan.Notify.Remind) > 0 {
		workflow.GoNamed(waitCtx, "reminders", r.remind)
	}
	if r.approvals.valid > 0 {
		workflow.GoNamed(waitCtx, "age of approvals", r.ageApprovals)
	}
	standing, end := workflow.WithCancel(ctx)
	r.endStanding = end
	workflow.GoNamed(standing, "standing", r.mindStanding)
}

// remind tells people of an approval that is about to expire, as often as the
// plan says; the last time where the left undone is told.
func (r *release) remind(ctx workflow.Context) {
	ahead := slices.Clone(r.plan.Notify.Remind)
	slices.Sort(ahead)
	ahead = slices.Compact(ahead)
	for _, before := range slices.Backward(ahead) {
		wait := r.approvals.expires.Add(-before.D()).Sub(workflow.Now(ctx))
		if wait <= 0 {
			continue
		}
		timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "remind the approvers"})
		if err := timer.Get(ctx, nil); err != nil {
			return
		}
		r.say(signals.Reply{Event: "reminder/" + before.String(), Loud: true, Escalate: before == ahead[0], Text: fmt.Sprintf(
			"%s to %s still waits for %s; the approval expires in %s.",
			r.plan.Service, r.plan.Environment, describeQuorum(r.approvals.missing()), before)})
	}
}

// ageApprovals lets approvals fall as they get too old.
func (r *release) ageApprovals(ctx workflow.Context) {
	for {
		revision, until := r.approvals.revision, r.approvals.goodUntil()
		changed := func() bool { return r.approvals.revision != revision }
		if until.IsZero() {
			if err := workflow.Await(ctx, changed); err != nil {
				return
			}
			continue
		}
		if _, err := r.awaitUntil(ctx, until.Sub(workflow.Now(ctx)), "an approval gets too old", changed); err != nil {
			return
		}
		r.dropAged(workflow.Now(ctx).UTC())
	}
}

// stillApproved holds the approvals against the clock before they are acted on:
// the lane may have taken its time.
func (r *release) stillApproved(now time.Time) error {
	if !r.people || r.approvals.needed.People() == 0 {
		return nil
	}
	r.dropAged(now)
	if r.approvals.complete() {
		return nil
	}
	return stopped(signals.Expired, "deadline", fmt.Sprintf("approvals are good for %s and the lane took longer: missing again is %s; start a new release",
		r.plan.Limits.ApprovalValid, describeQuorum(r.approvals.missing())))
}
