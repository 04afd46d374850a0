package workflows

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

func startOptions(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: id, TaskQueue: signals.ReleaseQueue}
}

func TestPromoted(t *testing.T) {
	w := newWorld(t)
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, signals.Promoted, out.Kind)
	require.Equal(t, newDigest, w.stable)
	require.Equal(t, newDigest, out.LKG.Digest)
	require.Equal(t, int32(100), w.maxWeight)
	require.Equal(t, []signals.RecordKind{
		signals.RecordRequest, signals.RecordPlan, signals.RecordVerification, signals.RecordDecision,
		signals.RecordApproval, signals.RecordApproval, signals.RecordLane, signals.RecordPermit,
		signals.RecordAnalysis,
		signals.RecordDeployment, signals.RecordDeployment, signals.RecordAnalysis,
		signals.RecordDeployment, signals.RecordDeployment, signals.RecordAnalysis,
		signals.RecordDeployment, signals.RecordDeployment, signals.RecordAnalysis,
		signals.RecordDeployment, signals.RecordDeployment, signals.RecordAnalysis,
		signals.RecordDeployment, signals.RecordDeployment, signals.RecordAnalysis,
		signals.RecordManifest,
	}, w.kinds())
}

func TestRolledBackFromEveryWindow(t *testing.T) {
	for _, c := range []struct {
		phase  signals.Phase
		weight int32
	}{{signals.Canary, 5}, {signals.Ramp, 25}, {signals.Ramp, 50}, {signals.Ramp, 100}, {signals.Bake, 0}} {
		t.Run(fmt.Sprintf("%s %d", c.phase, c.weight), func(t *testing.T) {
			w := newWorld(t)
			w.verdict = func(in signals.WatchInput) signals.Verdict {
				if in.Phase == c.phase && in.Weight == c.weight {
					return signals.Fail
				}
				return signals.Pass
			}
			out := w.start(t).approved().execute(requestIn)
			require.Equal(t, signals.RolledBack, out.Kind)
			require.Equal(t, c.phase, out.Phase)
			require.Equal(t, oldDigest, w.stable)
			require.Equal(t, oldDigest, out.LKG.Digest)
			require.True(t, out.Rollback.Complete)
			p := predicate[signals.RollbackPredicate](w, signals.RecordRollback)
			require.Equal(t, oldDigest, p.Health.Digest)
			require.Contains(t, p.Report.Steps[len(p.Report.Steps)-3].Name, "weight back")
		})
	}
}

func TestRejected(t *testing.T) {
	cases := map[string]struct {
		input  string
		set    func(*world)
		reason string
	}{
		"malformed JSON":      {input: `{"service":`, reason: "not valid JSON"},
		"unknown field":       {input: `{"service":"a","environment":"b","image":"c","commit":"` + commit + `","tciket":"CHG-1"}`, reason: "tciket"},
		"nothing":             {input: ``, reason: "empty"},
		"wrong type":          {input: `{"service":7}`, reason: `field "service"`},
		"short commit":        {input: `{"service":"a","environment":"b","image":"c","commit":"4f1c"}`, reason: "full Git commit"},
		"unknown service":     {input: requestIn, set: func(w *world) { w.resolve = permanent(signals.ErrBadRequest)() }, reason: "BadRequest happened"},
		"unsigned":            {input: requestIn, set: func(w *world) { w.refusals = []string{"signature: none found"} }, reason: "signature: none found"},
		"policy":              {input: requestIn, set: func(w *world) { w.denied = []signals.PolicyReason{{Rule: "ticket", Message: "missing"}} }, reason: "ticket: missing"},
		"envelope of another": {input: requestIn[:len(requestIn)-1] + `,"envelope":{"payloadType":"x","payload":"","signatures":[{"keyid":"gateway-1","sig":"AA=="}]}}`, reason: "envelope"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.set != nil {
				c.set(w)
			}
			out := w.start(t).execute(c.input)
			require.Equal(t, signals.Rejected, out.Kind)
			require.Contains(t, joinReasons(out.Reasons), c.reason)
			require.Equal(t, 1, w.count(signals.RecordRefusal))
			require.Zero(t, w.maxWeight)
		})
	}
}

func TestWorkflowIDThatCannotNameARelease(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.SetStartWorkflowOptions(startOptions("../../prod"))
	out := r.execute(requestIn)
	require.Equal(t, signals.Rejected, out.Kind)
	require.Equal(t, signals.IntakeEnvironment, out.Environment)
	require.True(t, signals.ValidReleaseID(out.Release), out.Release)
}

func TestExpired(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.RegisterDelayedCallback(func() { r.decide(person("release-lead", "payments-leads"), signals.Approve) }, time.Minute)
	out := r.execute(requestIn)
	require.Equal(t, signals.Expired, out.Kind)
	require.Contains(t, out.Reasons[0], "1 of risk")
	require.Zero(t, w.count(signals.RecordDeployment))
}

func TestAbortedInEveryPhase(t *testing.T) {
	phases := []signals.Phase{signals.Approving, signals.Queueing, signals.Baseline, signals.Canary, signals.Ramp, signals.Bake}
	for _, phase := range phases {
		for how, stop := range map[string]func(*run){
			"command": func(r *run) { r.abort("the ticket was withdrawn") },
			"cancel":  func(r *run) { r.CancelWorkflow() },
		} {
			t.Run(string(phase)+" by "+how, func(t *testing.T) {
				w := newWorld(t)
				if phase == signals.Queueing {
					for range 50 {
						w.grants = append(w.grants, signals.LaneGrant{Position: 1, Holder: "other"})
					}
				}
				r := w.start(t)
				if phase != signals.Approving {
					r.approved()
				}
				// Windows last a minute: a look every 20 s sees every phase.
				var look func()
				look = func() {
					if r.status().Phase == phase && r.Now().Sub(r.status().Since) > 5*time.Second {
						stop(r)
						return
					}
					r.RegisterDelayedCallback(look, 10*time.Second)
				}
				r.RegisterDelayedCallback(look, 10*time.Second)
				out := r.execute(requestIn)
				require.Equal(t, signals.Aborted, out.Kind)
				require.Equal(t, phase, out.Phase)
				require.Equal(t, oldDigest, w.stable)
				if how == "command" {
					require.Equal(t, 1, w.count(signals.RecordCommand))
					require.Contains(t, out.By, "on-call")
				}
			})
		}
	}
}

func TestEveryStepThatFailsForGoodIsUndone(t *testing.T) {
	for _, name := range []string{"EnsureCanary", "SetWeight", "PromoteStable", "RemoveCanary"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail[name] = permanentOnce(signals.ErrNotReady)
			out := w.start(t).approved().execute(requestIn)
			require.Equal(t, signals.RolledBack, out.Kind)
			require.Equal(t, oldDigest, w.stable)
		})
	}
}

func permanentOnce(kind string) func() error {
	done := false
	return func() error {
		if done {
			return nil
		}
		done = true
		return permanent(kind)()
	}
}

func TestPassingFaultsAreRetried(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"VerifyArtifact", "Observe", "EnsureCanary", "SetWeight", "PromoteStable", "RemoveCanary", "Watch"} {
		w.fail[name] = times(2)
	}
	require.Equal(t, signals.Promoted, w.start(t).approved().execute(requestIn).Kind)
}

func TestRecheckStopsTheRamp(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.recheck = func() error {
		if calls++; calls == 3 {
			return temporal.NewNonRetryableApplicationError("the signature's key was withdrawn", signals.ErrRefused, nil)
		}
		return nil
	}
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, signals.RolledBack, out.Kind)
	require.Equal(t, int32(25), w.maxWeight)
	require.Contains(t, out.Reasons[0], "withdrawn")
}

func TestVerdictsThatAreNotPass(t *testing.T) {
	cases := map[string]struct {
		verdicts []signals.Verdict // one per look at the canary's first window, the last repeats
		outcome  signals.OutcomeKind
		looks    int
	}{
		"insufficient, then enough":  {[]signals.Verdict{signals.Insufficient, signals.Pass}, signals.Promoted, 2},
		"insufficient to the end":    {[]signals.Verdict{signals.Insufficient}, signals.RolledBack, 3},
		"outage holds, then returns": {[]signals.Verdict{signals.Outage, signals.Outage, signals.Outage, signals.Outage, signals.Outage, signals.Pass}, signals.Promoted, 6},
		"outage holds, then fails":   {[]signals.Verdict{signals.Outage, signals.Outage, signals.Outage, signals.Outage, signals.Fail}, signals.RolledBack, 5},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			looks := 0
			w.verdict = func(in signals.WatchInput) signals.Verdict {
				if in.Phase != signals.Canary {
					return signals.Pass
				}
				looks++
				return c.verdicts[min(looks, len(c.verdicts))-1]
			}
			out := w.start(t).approved().execute(requestIn)
			require.Equal(t, c.outcome, out.Kind)
			require.Equal(t, c.looks, looks)
		})
	}
}

func TestNobodyWatchingIsNeverAPass(t *testing.T) {
	w := newWorld(t)
	w.fail["Watch"] = permanent("Broken")
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, signals.Aborted, out.Kind)
	require.Equal(t, signals.Baseline, out.Phase)
	require.Zero(t, w.maxWeight)
}

func TestForwardWaitsForEvidence(t *testing.T) {
	w := newWorld(t)
	outage := 8 // the test environment gives up after ten attempts
	w.notaryDown = func() error {
		if len(w.records) == 9 { // the next one is the first step's intention
			if w.canary || w.weight > 0 {
				w.breach("the environment changed while its record was not durable")
			}
			if outage--; outage > 0 {
				return temporal.NewApplicationError("bucket does not answer", "Unavailable")
			}
		}
		return nil
	}
	require.Equal(t, signals.Promoted, w.start(t).approved().execute(requestIn).Kind)
	require.Zero(t, outage)
}

func TestRollbackDoesNotWaitForEvidence(t *testing.T) {
	w := newWorld(t)
	down, refusedWrites, backWhileDown := false, 0, false
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Ramp && in.Weight == 25 {
			down = true
			return signals.Fail
		}
		return signals.Pass
	}
	w.notaryDown = func() error {
		if !down {
			return nil
		}
		backWhileDown = backWhileDown || (w.weight == 0 && !w.canary)
		if refusedWrites++; refusedWrites > 7 {
			down = false
			return nil
		}
		return temporal.NewApplicationError("bucket does not answer", "Unavailable")
	}
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, signals.RolledBack, out.Kind)
	require.True(t, backWhileDown, "the environment was put back while the bucket was down")
	require.Equal(t, 1, w.count(signals.RecordRollback), "and the record followed")
}

func TestUndoThatCannotBeDoneFailsTheWorkflow(t *testing.T) {
	w := newWorld(t)
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Bake {
			return signals.Fail
		}
		return signals.Pass
	}
	w.fail["RestoreStable"] = permanent("Quota")
	r := w.start(t).approved()
	r.ExecuteWorkflow(Release, rawInput(requestIn))
	err := r.GetWorkflowError()
	require.ErrorContains(t, err, "Quota happened")
	require.NotNil(t, applicationError(err, signals.ErrUndo))
	p := predicate[signals.RollbackPredicate](w, signals.RecordRollback)
	require.False(t, p.Report.Complete)
	require.Len(t, p.Report.Steps, 4, "the other undos were tried all the same")
}

func TestLeftoversOfATerminatedReleaseArePutAwayFirst(t *testing.T) {
	w := newWorld(t)
	w.canary, w.weight, w.stable = true, 25, "sha256:half"
	w.lkg = &signals.Snapshot{Digest: oldDigest, TemplateHash: oldDigest, Replicas: 4}
	w.grants = []signals.LaneGrant{{Granted: true, LKG: w.lkg, LKGRelease: "r0", Unclean: true}}
	w.verdict = func(in signals.WatchInput) signals.Verdict {
		if in.Phase == signals.Baseline && (w.stable != oldDigest || w.canary || w.weight != 0) {
			w.breach("baseline measured on an environment in disorder")
		}
		return signals.Pass
	}
	require.Equal(t, signals.Promoted, w.start(t).approved().execute(requestIn).Kind)
}

func TestQueueHasALimit(t *testing.T) {
	w := newWorld(t)
	for range 1000 {
		w.grants = append(w.grants, signals.LaneGrant{Position: 3, Holder: "payments-api-prod-0"})
	}
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, signals.Expired, out.Kind)
	require.Contains(t, out.Reasons[0], "payments-api-prod-0")
	require.Nil(t, out.LKG)
}

func TestDetailsNameTheNextActionWithItsCommand(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.RegisterDelayedCallback(func() {
		s := r.status()
		require.Equal(t, "waybill approve "+releaseIn+" --reason '…'", s.Next[0].Command)
		require.Equal(t, "waiting for 1 of payments-leads and 1 of risk", s.Doing)
		r.SignalWorkflow(signals.ApprovalMessage, "approve")
	}, time.Minute)
	r.RegisterDelayedCallback(func() {
		require.Contains(t, r.details(), "waybill abort "+releaseIn)
		require.NotContains(t, r.details(), "on the way", "the refusal's record is durable by now")
		r.abort("seen")
	}, 2*time.Minute)
	r.execute(requestIn)
}
