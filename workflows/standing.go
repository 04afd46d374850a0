package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// lookAgain is how long the watch of standing rests after it broke off.
const lookAgain = time.Minute

// standingNow is what a look at the standing of the approvals starts from.
func (r *release) standingNow() signals.RecheckInput {
	in := signals.RecheckInput{Plan: r.plan, PlanDigest: r.digest}
	if r.people {
		in.Approvers, in.Needed = r.approvals.approvers(), r.approvals.needed
	}
	return in
}

// mindStanding watches what the approvals rest on, beside the waits for people
// and for the lane. One activity does it for as long as the same approvals count,
// without a trace in history. Should it break off, it is begun again: before each
// step everything is looked at once more in any case.
func (r *release) mindStanding(ctx workflow.Context) {
	for {
		revision := r.approvals.revision
		watchCtx, end := workflow.WithCancel(ctx)
		watched := workflow.ExecuteActivity(workflow.WithActivityOptions(watchCtx, minding("does what is approved still stand?")),
			intake.WatchStanding, r.standingNow())
		err := workflow.Await(ctx, func() bool { return watched.IsReady() || r.approvals.revision != revision })
		if err == nil && r.approvals.revision != revision {
			end()
			continue
		}
		var changes []signals.StandingChange
		if err == nil {
			err = watched.Get(ctx, &changes)
		}
		end()
		if ctx.Err() != nil {
			return
		}
		if err == nil && r.void(changes) {
			continue
		}
		if err := workflow.Sleep(ctx, lookAgain); err != nil {
			return
		}
	}
}

// void lets fall the approvals whose ground is gone. If it is gone under all of
// them, or the release waits for no more people, the release ends. It reports
// whether anything fell.
func (r *release) void(changes []signals.StandingChange) bool {
	whole := false
	reasons := make([]string, 0, len(changes))
	for _, c := range changes {
		whole = whole || c.Approver == ""
		reasons = append(reasons, c.Reason)
	}
	nonces := r.approvals.void(func(g given) string {
		for _, c := range changes {
			if c.Approver == "" || c.Approver == g.statement.Approver.Key() {
				return c.Reason
			}
		}
		return ""
	})
	if !whole && len(nonces) == 0 {
		return false
	}
	r.voided(changes, nonces)
	if whole || !r.approvals.open && !r.approvals.complete() {
		r.note(signals.RecordRefusal, signals.RefusalPredicate{PlanDigest: r.digest, Phase: r.phase, What: "approval", Reasons: reasons})
		r.halt(stopped(signals.Rejected, "standing", reasons...))
	}
	return true
}

// dropAged lets fall the approvals that are too old by now.
func (r *release) dropAged(now time.Time) {
	if r.approvals.valid <= 0 {
		return
	}
	var changes []signals.StandingChange
	nonces := r.approvals.void(func(g given) string {
		if now.Before(g.at.Add(r.approvals.valid)) {
			return ""
		}
		reason := fmt.Sprintf("it was given at %s and is good for %s", g.at.Format(time.RFC3339), signals.Duration(r.approvals.valid))
		changes = append(changes, signals.StandingChange{What: "age", Approver: g.statement.Approver.Key(), Reason: reason})
		return reason
	})
	if len(nonces) > 0 {
		r.voided(changes, nonces)
	}
}

// voided writes down and tells that approvals fell.
func (r *release) voided(changes []signals.StandingChange, nonces []string) {
	missing := r.approvals.missing()
	r.note(signals.RecordVoid, signals.VoidPredicate{PlanDigest: r.digest, Changes: changes, Nonces: nonces, Missing: missing})
	reasons := make([]string, len(changes))
	for i, c := range changes {
		reasons[i] = c.Reason
	}
	r.say(signals.Reply{Event: fmt.Sprintf("void/%d", r.approvals.revision), Loud: true, Text: fmt.Sprintf(
		"%d approval(s) no longer count: %s. Missing is %s.", len(nonces), strings.Join(reasons, "; "), describeQuorum(missing))})
	if r.approvals.open {
		r.nowMissing()
	}
	r.show()
}
