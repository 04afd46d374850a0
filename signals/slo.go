package signals

import "time"

// CheckKind is the question a check asks.
type CheckKind string

// The kinds of check.
const (
	ErrorRatio   CheckKind = "error-ratio"
	Latency      CheckKind = "latency"
	Saturation   CheckKind = "saturation"
	Domain       CheckKind = "domain"
	Availability CheckKind = "availability"
)

// Consequence is what follows from a verdict that is neither pass nor fail,
// once the window can't be extended any more. Not knowing is never a pass, so
// going on is not among them.
type Consequence string

// The consequences.
const (
	// RollBack puts the environment back.
	RollBack Consequence = "rollback"
	// Hold keeps the weight, pages, and waits for a person to abort.
	Hold Consequence = "hold"
)

// Check is one SLO question. Query and Samples are PromQL templates with
// {{.Service}}, {{.Environment}}, {{.Namespace}}, {{.Workload}} (the Deployment
// of the track), {{.Track}} ("stable" or "canary"), {{.Digest}} and {{.Window}}
// (a PromQL duration such as 30s). Each must give exactly one value.
type Check struct {
	Name  string    `json:"name"`
	Kind  CheckKind `json:"kind"`
	Query string    `json:"query"`
	// Samples counts what Query was computed from, for example requests.
	Samples string `json:"samples"`
	// Unit is for people: "ratio", "seconds", "per second".
	Unit string `json:"unit,omitempty"`
	// Max and Min are absolute bounds on the track that is judged.
	Max *float64 `json:"max,omitempty"`
	Min *float64 `json:"min,omitempty"`
	// Versus compares canary with stable.
	Versus *Versus `json:"versusStable,omitempty"`
	// MinSamples is how many samples make an answer; fewer are insufficient.
	MinSamples float64 `json:"minSamples"`
	// OnInsufficient and OnOutage apply after the last extension of a window.
	OnInsufficient Consequence `json:"onInsufficient"`
	OnOutage       Consequence `json:"onOutage"`
}

// Versus bounds the canary relative to stable:
// canary <= stable*MaxRatio + Slack, and canary >= stable*MinRatio - Slack.
type Versus struct {
	MaxRatio *float64 `json:"maxRatio,omitempty"`
	MinRatio *float64 `json:"minRatio,omitempty"`
	Slack    float64  `json:"slack,omitempty"`
}

// Verdict is the answer to a check or a window.
type Verdict string

// The verdicts. Insufficient means too few samples to say; outage means that
// the telemetry itself is missing, stale or malformed; skipped that a person
// ended the window before it could be judged.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Insufficient Verdict = "insufficient"
	Outage       Verdict = "outage"
	Skipped      Verdict = "skipped"
)

// Reading is one raw measurement of one check on one track, kept so that the
// verdict can be computed again. Value and Samples are nil if the query gave no
// finite number; Problem then says why.
type Reading struct {
	At      time.Time `json:"at"`
	Check   string    `json:"check"`
	Track   string    `json:"track"`
	Value   *float64  `json:"value"`
	Samples *float64  `json:"samples"`
	Problem string    `json:"problem,omitempty"`
}

// CheckResult is the verdict on one check at one moment with what it was judged
// on. Queries are the texts as sent.
type CheckResult struct {
	Check         string   `json:"check"`
	Verdict       Verdict  `json:"verdict"`
	Canary        *float64 `json:"canary,omitempty"`
	Stable        *float64 `json:"stable,omitempty"`
	CanarySamples *float64 `json:"canarySamples,omitempty"`
	Bound         string   `json:"bound"`
	Reason        string   `json:"reason"`
}

// WatchInput asks a deploy worker to watch one window. Track is "canary" to
// judge the canary (compared with stable), "stable" to judge stable alone, as
// in the baseline and the bake. Digest is what the judged track runs.
type WatchInput struct {
	Plan   Plan      `json:"plan"`
	Phase  Phase     `json:"phase"`
	Weight int32     `json:"weight"`
	Track  string    `json:"track"`
	Window Window    `json:"window"`
	Start  time.Time `json:"start"`
	Digest string    `json:"digest"`
	// Extension counts how often this window was extended before.
	Extension int `json:"extension,omitempty"`
}

// WatchProgress is the heartbeat of a watch: small, and readable in the UI.
type WatchProgress struct {
	Phase     Phase         `json:"phase"`
	Weight    int32         `json:"weight"`
	Ends      time.Time     `json:"ends"`
	Extension int           `json:"extension,omitempty"`
	Taken     int           `json:"samplesTaken"`
	Checks    []CheckResult `json:"checks"`
	// Readings lets a restarted watch go on where the last one stopped.
	Readings []Reading `json:"readings,omitempty"`
}

// WindowResult is what one watched window came to. Readings holds every raw
// measurement, Queries the text of each query as sent, by check and track.
type WindowResult struct {
	Phase    Phase             `json:"phase"`
	Weight   int32             `json:"weight"`
	Verdict  Verdict           `json:"verdict"`
	Checks   []CheckResult     `json:"checks"`
	Readings []Reading         `json:"readings"`
	Queries  map[string]string `json:"queries"`
	Started  time.Time         `json:"started"`
	Ended    time.Time         `json:"ended"`
	Reason   string            `json:"reason"`
}
