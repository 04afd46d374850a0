package workflows

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func TestCompareLink(t *testing.T) {
	const from, to = "aaaa", "bbbb"
	for source, want := range map[string]string{
		"https://github.com/payments/payments-api":          "https://github.com/payments/payments-api/compare/aaaa...bbbb",
		"git+https://github.com/payments/payments-api.git/": "https://github.com/payments/payments-api/compare/aaaa...bbbb",
		"https://gitlab.example/payments/api?x=1#y":         "https://gitlab.example/payments/api/-/compare/aaaa...bbbb",
		"https://user:secret@github.com/payments/api":       "https://github.com/payments/api/compare/aaaa...bbbb",
		"https://codeberg.org/payments/api":                 "https://codeberg.org/payments/api/compare/aaaa...bbbb",
		"https://git.example/payments/api":                  "", // the host's kind is not known
		"git@github.com:payments/api.git":                   "",
		"javascript:alert(1)//github":                       "",
		"https://github.com":                                "",
		"":                                                  "",
	} {
		require.Equal(t, want, compareLink(source, from, to), source)
	}
	const source = "https://github.com/payments/payments-api"
	require.Empty(t, compareLink(source, "", to))
	require.Empty(t, compareLink(source, from, from), "nothing has changed")
}

func TestTestsAndScansInALine(t *testing.T) {
	require.Equal(t, "no test results", testsLine(nil))
	require.Equal(t, "passed: unit, contract; failed: load (4 failed: a, b, c, …)", testsLine([]signals.TestResult{
		{Result: "PASSED", Suites: []string{"unit", "contract"}},
		{Result: "FAILED", Suites: []string{"load"}, Failed: []string{"a", "b", "c", "d"}},
	}))
	require.Equal(t, "no scan attested", scansLine(nil))
	require.Equal(t, "trivy: 1 critical, 2 high, 3 odd, on 2026-03-02; grype: nothing found", scansLine([]signals.Scan{
		{Scanner: "trivy", Found: map[string]int{"odd": 3, "HIGH": 2, "Critical": 1, "low": 0}, Finished: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)},
		{Scanner: "grype"},
	}))
}

func TestRadiusSaysWhoIsExposedWhen(t *testing.T) {
	window := func(d time.Duration) signals.Window { return signals.Window{Duration: signals.Duration(d)} }
	p := signals.Plan{
		Service: "payments-api", Environment: "prod", Baseline: window(5 * time.Minute), Bake: window(time.Hour),
		Steps: []signals.Step{{Weight: 5, Window: window(10 * time.Minute)}, {Weight: 50, Window: window(45 * time.Minute)}},
	}
	require.Equal(t, []string{
		"Nobody for the first 5m: stable is measured.",
		"5% of the requests to payments-api in prod from 5m on, for 10m at least.",
		"50% of the requests to payments-api in prod from 15m on, for 45m at least.",
		"All of them for good after 1h at the earliest, watched for 1h more. Times count from when the lane is granted.",
	}, radius(p))
}

func TestPolicyInWords(t *testing.T) {
	require.Equal(t, []string{"not asked yet"}, policyLines(policy, signals.PolicyResult{}))
	require.Equal(t, []string{"refused by policy sha256:333333333333", "tests: none passed"},
		policyLines(policy, signals.PolicyResult{Reasons: []signals.PolicyReason{{Rule: "tests", Message: "none passed"}}}))
	require.Equal(t, []string{"allowed by policy sha256:333333333333", "holds: SLSA_BUILD_LEVEL_2", "demands 1 of risk"},
		policyLines(policy, signals.PolicyResult{
			Allow: true, Levels: []string{"SLSA_BUILD_LEVEL_2"}, Approvals: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "risk", Count: 1}}},
		}))
}

func read(check, track string, at time.Time, value float64) signals.Reading {
	return signals.Reading{At: at, Check: check, Track: track, Value: &value}
}

func TestChartShowsTheCheckThatDecided(t *testing.T) {
	start, limit := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), 0.01
	plan := signals.Plan{Checks: []signals.Check{{Name: "latency", Unit: "seconds"}, {Name: "errors", Unit: "ratio", Max: &limit}}}
	result := signals.WindowResult{
		Verdict: signals.Fail, Ended: start.Add(time.Minute),
		Checks: []signals.CheckResult{{Check: "latency", Verdict: signals.Pass}, {Check: "errors", Verdict: signals.Fail}},
		Readings: []signals.Reading{
			read("latency", signals.TrackCanary, start, 0.2), read("errors", signals.TrackCanary, start, 0.3),
			read("errors", signals.TrackStable, start, 0.001), {Check: "errors", Track: signals.TrackCanary, Problem: "no answer"},
		},
	}
	require.Equal(t, &signals.Chart{
		Title: "errors", Unit: "ratio", Verdict: signals.Fail, Bound: &limit, Decided: start.Add(time.Minute),
		Canary: []signals.ChartPoint{{At: start, Value: 0.3}}, Stable: []signals.ChartPoint{{At: start, Value: 0.001}},
	}, chartOf(plan, result))

	result.Checks[1].Verdict = signals.Outage
	result.Readings = result.Readings[:1]
	require.Equal(t, "latency", chartOf(plan, result).Title, "the one that decided has no readings")
	result.Readings = nil
	require.Nil(t, chartOf(plan, result))
}

// Whatever the readings, a chart is small, in order, and ends with the reading
// that decided.
func TestChartIsSmallAndEndsWithTheLastReading(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		values := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 1000).Draw(rt, "values")
		var readings []signals.Reading
		for i, v := range values {
			readings = append(readings, read("errors", signals.TrackStable, start.Add(time.Duration(i)*time.Second), v))
		}
		chart := chartOf(signals.Plan{}, signals.WindowResult{Readings: readings, Checks: []signals.CheckResult{{Check: "errors", Verdict: signals.Pass}}})
		require.Len(rt, chart.Stable, int(math.Min(chartPoints, float64(len(values)))))
		require.Equal(rt, start, chart.Stable[0].At)
		last := chart.Stable[len(chart.Stable)-1]
		require.InDelta(rt, values[len(values)-1], last.Value, 0)
		for i := range chart.Stable[1:] {
			require.True(rt, chart.Stable[i].At.Before(chart.Stable[i+1].At))
		}
	})
}
