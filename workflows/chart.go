package workflows

import (
	"slices"

	"github.com/waybill-dev/waybill/signals"
)

// chartPoints is how many readings of a track a chart holds at most.
const chartPoints = 60

// chartOf is the picture of what decided a window: the first check that failed,
// else the first that could not be judged, else the first that has readings. It
// is nil if nothing was read.
func chartOf(plan signals.Plan, result signals.WindowResult) *signals.Chart {
	names := make([]string, 0, len(result.Checks))
	for _, verdict := range []signals.Verdict{signals.Fail, signals.Outage, signals.Insufficient, signals.Pass} {
		for _, c := range result.Checks {
			if c.Verdict == verdict {
				names = append(names, c.Check)
			}
		}
	}
	for _, name := range names {
		chart := &signals.Chart{
			Title: name, Verdict: result.Verdict, Decided: result.Ended,
			Canary: points(result.Readings, name, signals.TrackCanary), Stable: points(result.Readings, name, signals.TrackStable),
		}
		if len(chart.Canary)+len(chart.Stable) == 0 {
			continue
		}
		if at := slices.IndexFunc(plan.Checks, func(c signals.Check) bool { return c.Name == name }); at >= 0 {
			check := plan.Checks[at]
			chart.Unit, chart.Bound = check.Unit, check.Max
			if chart.Bound == nil {
				chart.Bound = check.Min
			}
		}
		return chart
	}
	return nil
}

// points are the readings of one check on one track that gave a number, thinned
// out evenly; the last one, which decided, is among them.
func points(readings []signals.Reading, check, track string) []signals.ChartPoint {
	all := []signals.ChartPoint{}
	for _, r := range readings {
		if r.Check == check && r.Track == track && r.Value != nil {
			all = append(all, signals.ChartPoint{At: r.At, Value: *r.Value})
		}
	}
	if len(all) <= chartPoints {
		return all
	}
	thin := make([]signals.ChartPoint, chartPoints)
	for i := range thin {
		thin[i] = all[i*(len(all)-1)/(chartPoints-1)]
	}
	return thin
}
