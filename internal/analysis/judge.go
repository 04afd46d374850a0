package analysis

import (
	"fmt"
	"math"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// Judge answers one check from one reading of the judged track and, where the
// tracks can be compared, one of stable. stable is nil if stable itself is
// judged, or gets no traffic to compare with; then the absolute bounds alone
// are applied.
//
// Too few samples come before everything, because nothing can be said on them,
// good or bad. A value that breaks a bound fails even if the comparison can't be
// made.
func Judge(c signals.Check, judged signals.Reading, stable *signals.Reading) signals.CheckResult {
	r := signals.CheckResult{Check: c.Name, Bound: Bound(c, stable != nil)}
	if judged.Track == signals.TrackStable {
		r.Stable = finite(judged.Value)
	} else {
		r.Canary, r.CanarySamples = finite(judged.Value), finite(judged.Samples)
		if stable != nil {
			r.Stable = finite(stable.Value)
		}
	}
	r.Verdict, r.Reason = judge(c, judged, stable)
	return r
}

func judge(c signals.Check, judged signals.Reading, stable *signals.Reading) (signals.Verdict, string) {
	if verdict, why := usable(c, judged); verdict != signals.Pass {
		return verdict, why
	}
	got := *judged.Value
	said := fmt.Sprintf("%s %s on %s samples", judged.Track, format(got, c.Unit), number(*judged.Samples))
	if c.Max != nil && got > *c.Max {
		return signals.Fail, fmt.Sprintf("%s, at most %s is allowed", said, format(*c.Max, c.Unit))
	}
	if c.Min != nil && got < *c.Min {
		return signals.Fail, fmt.Sprintf("%s, at least %s is wanted", said, format(*c.Min, c.Unit))
	}
	if c.Versus == nil {
		return signals.Pass, said
	}
	if stable == nil {
		return signals.Pass, said + "; there is no other track to compare with"
	}
	if verdict, why := usable(c, *stable); verdict != signals.Pass {
		return verdict, said + "; can't be compared: " + why
	}
	beside := *stable.Value
	said = fmt.Sprintf("%s, stable %s on %s", said, format(beside, c.Unit), number(*stable.Samples))
	if v := c.Versus; v.MaxRatio != nil && got > beside**v.MaxRatio+v.Slack {
		return signals.Fail, fmt.Sprintf("%s: at most %s is allowed", said, format(beside**v.MaxRatio+v.Slack, c.Unit))
	}
	if v := c.Versus; v.MinRatio != nil && got < beside**v.MinRatio-v.Slack {
		return signals.Fail, fmt.Sprintf("%s: at least %s is wanted", said, format(beside**v.MinRatio-v.Slack, c.Unit))
	}
	return signals.Pass, said
}

// usable says whether a reading is an answer at all. A known small number of
// samples explains a missing value; without that number it is an outage.
func usable(c signals.Check, r signals.Reading) (signals.Verdict, string) {
	samples, value := finite(r.Samples), finite(r.Value)
	switch {
	case samples == nil:
		return signals.Outage, problem(r, "the number of samples")
	case *samples < c.MinSamples || *samples <= 0:
		return signals.Insufficient, fmt.Sprintf("%s has %s samples, %s are needed", r.Track, number(*samples), number(max(c.MinSamples, 1)))
	case value == nil:
		return signals.Outage, problem(r, "the value")
	}
	return signals.Pass, ""
}

func problem(r signals.Reading, what string) string {
	if r.Problem == "" {
		return fmt.Sprintf("%s: %s is missing", r.Track, what)
	}
	return fmt.Sprintf("%s: %s", r.Track, r.Problem)
}

func finite(v *float64) *float64 {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return nil
	}
	return v
}

// rank orders verdicts from good to bad.
var rank = map[signals.Verdict]int{signals.Pass: 0, signals.Insufficient: 1, signals.Outage: 2, signals.Fail: 3}

// Worst is the verdict of a window whose checks came out as results, and why.
// A window without any check is insufficient: nothing was asked.
func Worst(results []signals.CheckResult) (signals.Verdict, string) {
	if len(results) == 0 {
		return signals.Insufficient, "the plan has no checks"
	}
	worst := signals.Pass
	for _, r := range results {
		if rank[r.Verdict] > rank[worst] {
			worst = r.Verdict
		}
	}
	if worst == signals.Pass {
		return worst, fmt.Sprintf("all %d checks pass", len(results))
	}
	var why []string
	for _, r := range results {
		if r.Verdict == worst {
			why = append(why, r.Check+": "+r.Reason)
		}
	}
	return worst, strings.Join(why, "; ")
}

// Bound is a check's condition in words, for example
// "≤ 1% and ≤ 2× stable + 0.5%".
func Bound(c signals.Check, compared bool) string {
	var parts []string
	if c.Max != nil {
		parts = append(parts, "≤ "+format(*c.Max, c.Unit))
	}
	if c.Min != nil {
		parts = append(parts, "≥ "+format(*c.Min, c.Unit))
	}
	if v := c.Versus; v != nil && compared {
		if v.MaxRatio != nil {
			parts = append(parts, "≤ "+relative(*v.MaxRatio, v.Slack, "+", c.Unit))
		}
		if v.MinRatio != nil {
			parts = append(parts, "≥ "+relative(*v.MinRatio, v.Slack, "−", c.Unit))
		}
	}
	if len(parts) == 0 {
		return "measured only"
	}
	return strings.Join(parts, " and ")
}

func relative(ratio, slack float64, sign, unit string) string {
	text := number(ratio) + "× stable"
	if slack != 0 {
		text += " " + sign + " " + format(slack, unit)
	}
	return text
}

// format writes a value for people: ratios in percent, seconds below one in
// milliseconds.
func format(v float64, unit string) string {
	switch unit {
	case "ratio":
		return number(v*100) + "%"
	case "seconds":
		if math.Abs(v) < 1 {
			return number(v*1000) + " ms"
		}
		return number(v) + " s"
	case "":
		return number(v)
	}
	return number(v) + " " + unit
}

// number keeps four significant digits, and whole numbers whole.
func number(v float64) string {
	if math.Abs(v) >= 1000 && math.Abs(v) < 1e15 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}
