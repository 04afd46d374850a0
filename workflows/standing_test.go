package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// fallsAt says that something no longer stands, from a time on.
func (r *run) fallsAt(after time.Duration, change signals.StandingChange) *run {
	fallen := false
	r.at(after, func() { fallen = true })
	r.w.standing = func(in signals.RecheckInput) []signals.StandingChange {
		if !fallen {
			return nil
		}
		if change.Approver == "" {
			return []signals.StandingChange{change}
		}
		for _, s := range in.Approvers {
			if s.Key() == change.Approver {
				return []signals.StandingChange{change}
			}
		}
		return nil
	}
	return r
}

func TestApproverWhoLosesStandingNoLongerCounts(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.at(time.Minute, func() { r.decide(lead, signals.Approve) })
	r.fallsAt(10*time.Minute, signals.StandingChange{What: "approver", Approver: lead.Key(), Reason: "release-lead left payments-leads"})
	r.at(15*time.Minute, func() {
		st := r.status()
		require.Equal(t, signals.Approving, st.Phase, "the wait goes on")
		require.Equal(t, "release-lead left payments-leads", st.Approval.Given[0].Void)
		require.Equal(t, "waiting for 1 of payments-leads and 1 of risk", st.Doing)
		r.decide(risk, signals.Approve)
		r.decide(person("second-lead", "payments-leads"), signals.Approve)
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	p := predicate[signals.VoidPredicate](w, signals.RecordVoid)
	require.Equal(t, []string{"release-leadapprove"}, p.Nonces)
	require.Equal(t, 1, w.count(signals.RecordVoid))
	require.Zero(t, w.count(signals.RecordRefusal))
}

// Threat 6: what was approved is what ships. If it changes while people decide,
// every approval falls and the release ends.
func TestThreat6WhatChangesWhileWaitingVoidsEveryApproval(t *testing.T) {
	for _, what := range []string{"policy", "plan", "artifact"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			r := w.start(t)
			r.at(time.Minute, func() { r.decide(lead, signals.Approve) })
			r.fallsAt(10*time.Minute, signals.StandingChange{What: what, Reason: "the " + what + " is another"})
			out := r.execute(requestIn)
			require.Equal(t, signals.Rejected, out.Kind)
			require.Equal(t, signals.Approving, out.Phase)
			require.Equal(t, []string{"the " + what + " is another"}, out.Reasons)
			require.Less(t, out.EndedAt.Sub(out.StartedAt), 15*time.Minute)
			p := predicate[signals.VoidPredicate](w, signals.RecordVoid)
			require.Len(t, p.Nonces, 1)
			require.Equal(t, out.Reasons, predicate[signals.RefusalPredicate](w, signals.RecordRefusal).Reasons)
			require.Zero(t, w.count(signals.RecordDeployment))
		})
	}
}

func TestStandingIsMindedBeforeAnybodyApproved(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).fallsAt(10*time.Minute, signals.StandingChange{What: "policy", Reason: "other policies are in force"})
	require.Equal(t, signals.Rejected, r.execute(requestIn).Kind)
	require.Empty(t, predicate[signals.VoidPredicate](w, signals.RecordVoid).Nonces)
}

// The quorum was complete and the lane taken: an approver who loses standing
// meanwhile leaves the release without one.
func TestApproverWhoLosesStandingWhileTheLaneIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		spare   bool
		outcome signals.OutcomeKind
	}{"nobody else": {false, signals.Rejected}, "somebody fills the place": {true, signals.Promoted}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for range 6 {
				w.grants = append(w.grants, signals.LaneGrant{Position: 1, Holder: "payments-api-prod-0"})
			}
			r := w.start(t)
			r.at(time.Minute, func() {
				r.decide(lead, signals.Approve)
				if c.spare {
					r.decide(person("second-lead", "payments-leads"), signals.Approve)
				}
				r.decide(risk, signals.Approve)
			})
			r.fallsAt(10*time.Minute, signals.StandingChange{What: "approver", Approver: lead.Key(), Reason: "release-lead was deactivated"})
			out := r.execute(requestIn)
			require.Equal(t, c.outcome, out.Kind)
			require.Equal(t, 1, w.count(signals.RecordVoid))
			if c.outcome == signals.Rejected {
				require.Equal(t, signals.Queueing, out.Phase)
				require.Equal(t, []string{"release-lead was deactivated"}, out.Reasons)
				require.Zero(t, w.count(signals.RecordPermit))
			}
		})
	}
}

func TestTheWatchOfStandingSeesWhoCountsNow(t *testing.T) {
	w := newWorld(t)
	var seen [][]string
	w.standing = func(in signals.RecheckInput) []signals.StandingChange {
		var names []string
		for _, s := range in.Approvers {
			names = append(names, s.ID)
			require.Len(t, s.Groups, 1, "the groups that it counts for")
		}
		if len(seen) == 0 || len(seen[len(seen)-1]) != len(names) {
			seen = append(seen, names)
		}
		return nil
	}
	r := w.start(t)
	other := person("release-lead", "payments-leads", "everybody")
	r.at(10*time.Minute, func() { r.decide(other, signals.Approve) })
	r.at(11*time.Minute, func() { r.decide(other, signals.Withdraw, nonce("w")) })
	r.at(12*time.Minute, func() { r.decide(risk, signals.Approve) })
	require.Equal(t, signals.Expired, r.execute(requestIn).Kind)
	require.Equal(t, [][]string{nil, {"release-lead"}, nil, {"risk-officer"}}, seen)
}

// Threats 6 and 8: what no longer stands right before a step is refused, with a
// record, and what was done is undone.
func TestThreats6And8RecheckBeforeAStepLeavesARefusal(t *testing.T) {
	for _, kind := range []string{signals.ErrRefused, signals.ErrReset} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			calls := 0
			w.recheck = func() error {
				if calls++; calls == 2 {
					return temporal.NewNonRetryableApplicationError("it is not what was approved", kind, nil)
				}
				return nil
			}
			out := w.start(t).approved().execute(requestIn)
			require.Equal(t, signals.RolledBack, out.Kind)
			require.Equal(t, int32(5), w.maxWeight)
			require.Equal(t, []string{"it is not what was approved"}, predicate[signals.RefusalPredicate](w, signals.RecordRefusal).Reasons)
		})
	}
}

func TestStandingIsMindedNoLongerThanItMatters(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.at(time.Minute, func() { r.decide(lead, signals.Approve) })
	r.fallsAt(time.Hour+10*time.Second, signals.StandingChange{What: "policy", Reason: "other policies are in force"})
	w.papersBusy = 3 // asked again after 30s, 1m, 2m
	require.Equal(t, signals.Expired, r.execute(requestIn).Kind, "decided before the policy changed")
	require.Zero(t, w.count(signals.RecordVoid))
}

// From the permit on each step looks for itself, so that a change is found where
// it can be undone.
func TestStandingIsLeftToTheStepsOnceThePermitIsMadeOut(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	r.fallsAt(90*time.Second, signals.StandingChange{What: "policy", Reason: "other policies are in force"})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.Zero(t, w.count(signals.RecordVoid))
}
