package analysis

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func reading(track string, value, samples float64) signals.Reading {
	return signals.Reading{Track: track, Value: &value, Samples: &samples}
}

func errors10() signals.Check {
	return signals.Check{
		Name: "errors", Unit: "ratio", MinSamples: 10,
		Max: new(0.1), Versus: &signals.Versus{MaxRatio: new(2.0), Slack: 0.01},
	}
}

func TestJudge(t *testing.T) {
	missing := signals.Reading{Track: "canary", Problem: "the store does not answer"}
	stable := reading("stable", 0.02, 100)
	atLeast := signals.Check{Name: "auth", MinSamples: 1, Min: new(0.9), Versus: &signals.Versus{MinRatio: new(0.95)}}
	cases := []struct {
		name   string
		check  signals.Check
		judged signals.Reading
		stable *signals.Reading
		want   signals.Verdict
		says   string
	}{
		{"good", errors10(), reading("canary", 0.01, 50), &stable, signals.Pass, "canary 1% on 50 samples, stable 2% on 100"},
		{"at the absolute bound", signals.Check{MinSamples: 1, Max: new(0.1)}, reading("canary", 0.1, 10), nil, signals.Pass, ""},
		{"over the absolute bound", errors10(), reading("canary", 0.11, 10), &stable, signals.Fail, "at most 10% is allowed"},
		{"worse than stable", errors10(), reading("canary", 0.06, 10), &stable, signals.Fail, "at most 5% is allowed"},
		{"as bad as stable may be", errors10(), reading("canary", 0.05, 10), &stable, signals.Pass, ""},
		{"below the least", atLeast, reading("canary", 0.8, 10), new(reading("stable", 0.8, 10)), signals.Fail, "at least 0.9"},
		{"below stable", atLeast, reading("canary", 0.91, 10), new(reading("stable", 1, 10)), signals.Fail, "at least 0.95"},
		{"bad, but on few samples", errors10(), reading("canary", 1, 9), &stable, signals.Insufficient, "canary has 9 samples, 10 are needed"},
		{"no traffic gives no number", errors10(), signals.Reading{Track: "canary", Samples: new(0.0), Problem: "NaN"}, &stable, signals.Insufficient, ""},
		{"no samples wanted, none had", signals.Check{Max: new(1.0)}, reading("canary", 0, 0), nil, signals.Insufficient, ""},
		{"nothing known", errors10(), missing, &stable, signals.Outage, "the store does not answer"},
		{"samples but no value", errors10(), signals.Reading{Track: "canary", Samples: new(50.0), Problem: "the value is NaN"}, &stable, signals.Outage, "NaN"},
		{"value but no samples", errors10(), signals.Reading{Track: "canary", Value: new(0.0)}, &stable, signals.Outage, "number of samples is missing"},
		{"NaN that slipped through", errors10(), reading("canary", math.NaN(), 50), &stable, signals.Outage, "missing"},
		{"infinite", errors10(), reading("canary", math.Inf(1), 50), &stable, signals.Outage, "missing"},
		{"stable is missing", errors10(), reading("canary", 0.01, 50), new(signals.Reading{Track: "stable", Problem: "no series"}), signals.Outage, "can't be compared: stable: no series"},
		{"stable has few samples", errors10(), reading("canary", 0.01, 50), new(reading("stable", 0, 1)), signals.Insufficient, "stable has 1 samples"},
		{"fails though stable is missing", errors10(), reading("canary", 0.5, 50), new(signals.Reading{Track: "stable"}), signals.Fail, "at most 10%"},
		{"stable judged alone", errors10(), reading("stable", 0.02, 50), nil, signals.Pass, "no other track"},
		{"stable judged alone is bad", errors10(), reading("stable", 0.2, 50), nil, signals.Fail, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := Judge(c.check, c.judged, c.stable)
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Contains(t, r.Reason, c.says)
		})
	}
}

func TestBound(t *testing.T) {
	require.Equal(t, "≤ 10% and ≤ 2× stable + 1%", Bound(errors10(), true))
	require.Equal(t, "≤ 10%", Bound(errors10(), false))
	require.Equal(t, "≤ 500 ms", Bound(signals.Check{Unit: "seconds", Max: new(0.5)}, true))
	require.Equal(t, "≥ 12 per second and ≥ 0.9× stable − 1 per second",
		Bound(signals.Check{Unit: "per second", Min: new(12.0), Versus: &signals.Versus{MinRatio: new(0.9), Slack: 1}}, true))
	require.Equal(t, "measured only", Bound(signals.Check{}, true))
}

func TestWorst(t *testing.T) {
	of := func(verdicts ...signals.Verdict) signals.Verdict {
		var results []signals.CheckResult
		for _, v := range verdicts {
			results = append(results, signals.CheckResult{Check: string(v), Verdict: v, Reason: "because"})
		}
		worst, _ := Worst(results)
		return worst
	}
	require.Equal(t, signals.Pass, of(signals.Pass, signals.Pass))
	require.Equal(t, signals.Insufficient, of(signals.Pass, signals.Insufficient))
	require.Equal(t, signals.Outage, of(signals.Outage, signals.Insufficient, signals.Pass))
	require.Equal(t, signals.Fail, of(signals.Pass, signals.Outage, signals.Fail, signals.Insufficient))
	require.Equal(t, signals.Insufficient, of())
}

// number draws a value as telemetry may give it, missing and malformed included.
func anyNumber(t *rapid.T, label string) *float64 {
	switch rapid.IntRange(0, 5).Draw(t, label+" kind") {
	case 0:
		return nil
	case 1:
		return new(rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, label))
	}
	return new(rapid.Float64Range(0, 1000).Draw(t, label))
}

func anyCheck(t *rapid.T) signals.Check {
	c := signals.Check{Name: "c", MinSamples: rapid.Float64Range(0, 100).Draw(t, "min samples")}
	bound := func(label string) *float64 {
		if rapid.Bool().Draw(t, "has "+label) {
			return new(rapid.Float64Range(0, 100).Draw(t, label))
		}
		return nil
	}
	c.Max, c.Min = bound("max"), bound("min")
	if rapid.Bool().Draw(t, "versus") {
		c.Versus = &signals.Versus{MaxRatio: bound("max ratio"), MinRatio: bound("min ratio"), Slack: rapid.Float64Range(0, 1).Draw(t, "slack")}
	}
	return c
}

func usableNumber(v *float64) bool { return v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) }

func TestNoDataIsNeverAnAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCheck(t)
		judged := signals.Reading{Track: "canary", Value: anyNumber(t, "value"), Samples: anyNumber(t, "samples")}
		stable := signals.Reading{Track: "stable", Value: anyNumber(t, "stable value"), Samples: anyNumber(t, "stable samples")}
		verdict := Judge(c, judged, &stable).Verdict
		enough := func(r signals.Reading) bool {
			return usableNumber(r.Samples) && *r.Samples > 0 && *r.Samples >= c.MinSamples
		}
		if verdict == signals.Pass || verdict == signals.Fail {
			require.True(t, usableNumber(judged.Value) && enough(judged), "%s on %+v", verdict, judged)
		}
		if verdict == signals.Pass && c.Versus != nil {
			require.True(t, usableNumber(stable.Value) && enough(stable), "pass against %+v", stable)
		}
	})
}

func TestMoreErrorsNeverHelp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCheck(t)
		c.Min = nil
		if c.Versus != nil {
			c.Versus.MinRatio = nil
		}
		stable := signals.Reading{Track: "stable", Value: anyNumber(t, "stable value"), Samples: anyNumber(t, "stable samples")}
		samples := rapid.Float64Range(0, 200).Draw(t, "samples")
		less := rapid.Float64Range(0, 100).Draw(t, "value")
		more := less + rapid.Float64Range(0, 100).Draw(t, "worse by")
		before := Judge(c, reading("canary", less, samples), &stable).Verdict
		after := Judge(c, reading("canary", more, samples), &stable).Verdict
		require.GreaterOrEqual(t, rank[after], rank[before], "%s became %s", before, after)
	})
}

func TestThin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(0, 0)
		looks, each := rapid.IntRange(0, 3000).Draw(t, "looks"), rapid.IntRange(1, 8).Draw(t, "readings of a look")
		var all []signals.Reading
		for i := range looks {
			for range each {
				all = append(all, signals.Reading{At: start.Add(time.Duration(i) * time.Second)})
			}
		}
		kept := Thin(all)
		require.LessOrEqual(t, len(kept), MostReadings)
		require.GreaterOrEqual(t, len(kept), min(len(all), MostReadings/2-each))
		if looks > 0 {
			require.Equal(t, all[0], kept[0])
			require.Equal(t, all[len(all)-each:], kept[len(kept)-each:], "the last look is whole")
		}
	})
}
