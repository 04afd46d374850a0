package evidence

import (
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// Tested answers what was tested, with which artifact, before and during the
// release.
type Tested struct {
	Digest     string               `json:"digest"`
	Commit     string               `json:"commit,omitempty"`
	Signatures []signals.SignedFact `json:"signatures"`
	Provenance *signals.Provenance  `json:"provenance,omitempty"`
	Tests      []signals.TestResult `json:"tests"`
	Scans      []signals.Scan       `json:"scans,omitempty"`
	// Source is who wrote and reviewed the change, as CI attested it.
	Source   *signals.SourceReview `json:"source,omitempty"`
	Refusals []string              `json:"refusals,omitempty"`
	Windows  []Watched             `json:"windows"`
}

// Watched is one window's verdict.
type Watched struct {
	Record  int                   `json:"record"`
	Phase   signals.Phase         `json:"phase"`
	Track   string                `json:"track"`
	Weight  int32                 `json:"weight"`
	Verdict signals.Verdict       `json:"verdict"`
	Reason  string                `json:"reason"`
	Started time.Time             `json:"started"`
	Ended   time.Time             `json:"ended"`
	Checks  []signals.CheckResult `json:"checks,omitempty"`
}

func (a *Answer) tested(p Papers) (Texter, error) {
	out := &Tested{Signatures: []signals.SignedFact{}, Tests: []signals.TestResult{}, Windows: []Watched{}}
	plan, _, err := a.plan(p)
	if err != nil {
		return nil, err
	}
	if plan != nil {
		out.Digest, out.Commit = plan.Artifact.Digest, plan.Request.Commit
	}
	v, err := first[signals.VerificationPredicate](p, signals.RecordVerification)
	if err != nil {
		return nil, err
	}
	if v != nil {
		a.rests(v.Ref)
		out.Digest, out.Signatures, out.Provenance = v.Body.Verification.Digest, v.Body.Verification.Signatures, v.Body.Verification.Provenance
		out.Tests, out.Refusals = v.Body.Verification.Tests, v.Body.Verification.Refusals
		out.Scans, out.Source = v.Body.Verification.Scans, v.Body.Verification.Source
	}
	windows, err := all[signals.AnalysisPredicate](p, signals.RecordAnalysis)
	for _, w := range windows {
		a.rests(w.Ref)
		r := w.Body.Result
		out.Windows = append(out.Windows, Watched{w.Ref.Sequence, r.Phase, w.Body.Track, r.Weight, r.Verdict, r.Reason, r.Started, r.Ended, r.Checks})
	}
	return out, err
}

// RolledBack answers how a release was put back, if it was.
type RolledBack struct {
	Happened bool                    `json:"rolledBack"`
	Outcome  signals.OutcomeKind     `json:"outcome,omitempty"`
	Report   *signals.RollbackReport `json:"report,omitempty"`
	Health   *signals.Rollout        `json:"health,omitempty"`
	// Target is how the digest that was gone back to verified at that time.
	Target *signals.Verification `json:"targetVerification,omitempty"`
}

func (a *Answer) rolledBack(p Papers) (Texter, error) {
	out := &RolledBack{Outcome: p.Report.Outcome}
	if m := p.Report.Manifest; m != nil {
		a.rests(*m)
	}
	r, err := first[signals.RollbackPredicate](p, signals.RecordRollback)
	if err != nil || r == nil {
		return out, err
	}
	a.rests(r.Ref)
	out.Happened, out.Report, out.Health, out.Target = true, &r.Body.Report, r.Body.Health, r.Body.Target
	return out, nil
}

// Spread answers how far the new digest had spread: the weights that were read
// back, how long each stood, and how many requests the checks had sampled.
type Spread struct {
	MaxWeight int32      `json:"maxWeight"`
	Promoted  bool       `json:"promoted"`
	At        []AtWeight `json:"atWeight"`
	// Requests is the sum over the canary's windows of what the check SampledBy
	// counted at the end of each: a measure of exposure, not an exact count.
	Requests  float64 `json:"requestsSampled"`
	SampledBy string  `json:"sampledBy,omitempty"`
}

// AtWeight is a time during which the canary had one share of the traffic.
type AtWeight struct {
	Record int       `json:"record"`
	Weight int32     `json:"weight"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until,omitzero"`
	// Lasted is until the next weight was read back.
	Lasted   signals.Duration `json:"lasted"`
	Requests float64          `json:"requestsSampled"`
}

func (a *Answer) spread(p Papers) (Texter, error) {
	out := &Spread{At: []AtWeight{}, Promoted: p.Report.Outcome == signals.Promoted}
	deployments, err := all[signals.DeploymentPredicate](p, signals.RecordDeployment)
	if err != nil {
		return nil, err
	}
	for _, d := range deployments {
		if d.Body.Weights != nil {
			a.rests(d.Ref)
			out.shift(d.Ref.Sequence, d.Body.Weights.Canary, d.Body.Weights.At)
		}
	}
	rollback, err := first[signals.RollbackPredicate](p, signals.RecordRollback)
	if err != nil {
		return nil, err
	}
	if rollback != nil {
		a.rests(rollback.Ref)
		if at, done := weightBack(rollback.Body.Report); done {
			out.shift(rollback.Ref.Sequence, 0, at)
		}
	}
	windows, err := all[signals.AnalysisPredicate](p, signals.RecordAnalysis)
	for _, w := range windows {
		if w.Body.Track == signals.TrackCanary {
			a.rests(w.Ref)
			out.sampled(w.Body)
		}
	}
	return out, err
}

// shift begins a new weight and ends the one before.
func (s *Spread) shift(record int, weight int32, at time.Time) {
	if n := len(s.At); n > 0 {
		s.At[n-1].Until, s.At[n-1].Lasted = at, signals.Duration(at.Sub(s.At[n-1].From))
	}
	s.At = append(s.At, AtWeight{Record: record, Weight: weight, From: at})
	s.MaxWeight = max(s.MaxWeight, weight)
}

// weightBack is when the rollback had the traffic back on stable.
func weightBack(r signals.RollbackReport) (time.Time, bool) {
	for _, step := range r.Steps {
		if strings.Contains(step.Name, "weight") && step.Error == "" {
			return step.Started.Add(step.Duration.D()), true
		}
	}
	return time.Time{}, false
}

// sampled adds a window's requests to the weight that stood when it began.
func (s *Spread) sampled(w signals.AnalysisPredicate) {
	check := counting(w.Checks)
	var requests float64
	for _, r := range w.Result.Readings {
		if r.Check == check && r.Track == signals.TrackCanary && r.Samples != nil {
			requests = *r.Samples
		}
	}
	s.SampledBy = check
	s.Requests += requests
	for i := len(s.At) - 1; i >= 0; i-- {
		if s.At[i].Weight == w.Result.Weight && !s.At[i].From.After(w.Result.Ended) {
			s.At[i].Requests += requests
			return
		}
	}
}

// counting is the check whose samples are requests: the one for errors.
func counting(checks []signals.Check) string {
	for _, c := range checks {
		if c.Kind == signals.ErrorRatio {
			return c.Name
		}
	}
	if len(checks) > 0 {
		return checks[0].Name
	}
	return ""
}
