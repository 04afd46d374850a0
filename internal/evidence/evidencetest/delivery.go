package evidencetest

import (
	"encoding/base64"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

func envelope(payloadType string, payload []byte, keyID string, sig []byte) signals.Envelope {
	return signals.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []signals.EnvelopeSignature{{KeyID: keyID, Sig: base64.StdEncoding.EncodeToString(sig)}},
	}
}

// deliver tells baseline, canary and, for a good release, ramp and promotion.
func (r *teller) deliver() {
	r.window(signals.Baseline, signals.TrackStable, 0, signals.Pass, 0.001)
	r.step(signals.Canary, 5)
	if r.s.Bad {
		r.window(signals.Canary, signals.TrackCanary, 5, signals.Fail, 0.2)
		return
	}
	r.window(signals.Canary, signals.TrackCanary, 5, signals.Pass, 0.001)
	for _, weight := range []int32{25, 50, 100} {
		r.step(signals.Ramp, weight)
		r.window(signals.Ramp, signals.TrackCanary, weight, signals.Pass, 0.001)
	}
	rollout := signals.Rollout{Name: r.s.Lane.Service, Digest: NewDigest, Desired: 3, Ready: 3}
	r.deployment(signals.DeploymentPredicate{Stage: "intended", Step: "promote", Phase: signals.Promotion})
	r.deployment(signals.DeploymentPredicate{
		Stage: "observed", Step: "promote", Phase: signals.Promotion, Rollout: &rollout, Weights: &signals.Weights{Stable: 100, Accepted: true, At: r.now},
	})
	r.window(signals.Bake, signals.TrackStable, 0, signals.Pass, 0.001)
}

func (r *teller) deployment(p signals.DeploymentPredicate) {
	p.PlanDigest, p.Desired, p.Previous, p.Run = r.digest, NewDigest, OldDigest, r.plan.Run
	r.add(signals.RecordDeployment, p)
}

func (r *teller) step(phase signals.Phase, weight int32) {
	r.deployment(signals.DeploymentPredicate{Stage: "intended", Step: "set weight", Phase: phase, Asked: weight})
	r.now = r.now.Add(time.Second)
	r.deployment(signals.DeploymentPredicate{
		Stage: "observed", Step: "set weight", Phase: phase, Asked: weight,
		Weights: &signals.Weights{Stable: 100 - weight, Canary: weight, Accepted: true, At: r.now},
	})
}

func (r *teller) window(phase signals.Phase, track string, weight int32, verdict signals.Verdict, ratio float64) {
	limit, first, last := 0.01, 90.0, 200.0
	check := signals.Check{Name: "errors", Kind: signals.ErrorRatio, Query: "errors / requests", Samples: "requests", Unit: "ratio", Max: &limit, MinSamples: 50}
	started := r.now
	r.now = r.now.Add(4 * time.Second)
	reason := "all checks within their bounds"
	if verdict == signals.Fail {
		reason = "errors: ratio 0.2 is above 0.01"
	}
	r.add(signals.RecordAnalysis, signals.AnalysisPredicate{
		PlanDigest: r.digest, Track: track, Method: "threshold", Checks: []signals.Check{check},
		Result: signals.WindowResult{
			Phase: phase, Weight: weight, Verdict: verdict, Reason: reason, Started: started, Ended: r.now,
			Queries: map[string]string{"errors/" + track: "errors / requests"},
			Checks:  []signals.CheckResult{{Check: "errors", Verdict: verdict, Canary: &ratio, CanarySamples: &last, Bound: "<= 0.01", Reason: reason}},
			Readings: []signals.Reading{
				{At: started.Add(time.Second), Check: "errors", Track: track, Value: &ratio, Samples: &first},
				{At: r.now, Check: "errors", Track: track, Value: &ratio, Samples: &last},
			},
		},
	})
}

// back tells the rollback.
func (r *teller) back() signals.RollbackReport {
	started := r.now
	report := signals.RollbackReport{
		Cause: "errors: ratio 0.2 is above 0.01", Trigger: "check", From: NewDigest, To: OldDigest, Started: started, Complete: true,
		Steps: []signals.UndoStep{
			{Name: "weight back to stable", Started: started, Duration: signals.Duration(300 * time.Millisecond), Observed: "stable 100%, canary 0%, read back, accepted by the gateway: true"},
			{Name: "remove the canary", Started: started.Add(300 * time.Millisecond), Duration: signals.Duration(time.Second), Observed: "gone"},
		},
	}
	r.now = r.now.Add(2 * time.Second)
	report.Ended, report.Duration = r.now, signals.Duration(r.now.Sub(started))
	r.add(signals.RecordRollback, signals.RollbackPredicate{
		PlanDigest: r.digest, Report: report, Health: &signals.Rollout{Name: r.s.Lane.Service, Digest: OldDigest, Desired: 3, Ready: 3},
	})
	return report
}
