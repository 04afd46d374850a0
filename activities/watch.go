package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/waybill-dev/waybill/internal/analysis"
	"github.com/waybill-dev/waybill/signals"
)

const (
	// A query may take as long as the interval, within these bounds.
	shortestQuery = 500 * time.Millisecond
	longestQuery  = 5 * time.Second
	// concurrentQueries bounds the load on the telemetry store.
	concurrentQueries = 16
)

// Watch samples every check of the plan once per interval until the window ends,
// and returns its verdict; a failing one at once. A window passes only if every
// check passes at its end. A store that is slow or gone is an outage reading,
// never a stuck watch. Started again, it goes on with what its heartbeats kept.
func (a *Deploy) Watch(ctx context.Context, in signals.WatchInput) (signals.WindowResult, error) {
	w := newWatch(in)
	w.resume(ctx)
	p, stop := startPulse(ctx)
	defer stop()
	p.show(w.progress)
	for {
		now := time.Now()
		if err := pause(ctx, w.looks.Next(w.last, now).Sub(now)); err != nil {
			return signals.WindowResult{}, err
		}
		if err := w.look(ctx, a.Telemetry); err != nil {
			return signals.WindowResult{}, err
		}
		p.show(w.progress)
		verdict, reason := analysis.Worst(w.progress.Checks)
		if verdict == signals.Fail || !w.last.Before(w.looks.End) {
			return w.result(verdict, reason), nil
		}
	}
}

// watch is the state of one watched window.
type watch struct {
	in       signals.WatchInput
	looks    analysis.Looks
	last     time.Time
	reach    map[string]int
	queries  map[string]string
	progress signals.WatchProgress
}

func newWatch(in signals.WatchInput) *watch {
	end := in.Start.Add(in.Window.Duration.D())
	return &watch{
		in:      in,
		looks:   analysis.Looks{From: judgedFrom(in), Interval: interval(in.Window), End: end},
		reach:   map[string]int{},
		queries: map[string]string{},
		progress: signals.WatchProgress{
			Phase: in.Phase, Weight: in.Weight, Ends: end, Extension: in.Extension,
		},
	}
}

// interval is the time between two looks; a window without one is looked at in
// its middle and at its end.
func interval(w signals.Window) time.Duration {
	if w.Interval > 0 {
		return w.Interval.D()
	}
	return max(w.Duration.D()/2, time.Millisecond)
}

// judgedFrom is where judging starts: after the warm-up. An extension goes on
// with the data of the windows that it extends, which were as long and saw the
// same weight; it needs no warm-up of its own. A window on hold, beyond the last
// extension, is longer than those before it and stands alone.
func judgedFrom(in signals.WatchInput) time.Time {
	warm := in.Start.Add(in.Window.WarmUp.D())
	switch {
	case in.Extension == 0:
		return warm
	case in.Extension <= in.Window.Extensions:
		return warm.Add(-time.Duration(in.Extension) * in.Window.Duration.D())
	}
	return in.Start
}

// resume takes over the readings of an attempt of the same window that ended
// without a verdict.
func (w *watch) resume(ctx context.Context) {
	if !activity.HasHeartbeatDetails(ctx) {
		return
	}
	var before signals.WatchProgress
	if err := activity.GetHeartbeatDetails(ctx, &before); err != nil || !before.Ends.Equal(w.progress.Ends) || before.Phase != w.in.Phase {
		return
	}
	w.progress = before
	if n := len(before.Readings); n > 0 {
		w.last = before.Readings[n-1].At
	}
}

// look takes one reading of every check on every track that matters and judges
// them. Its time is the same for all readings.
func (w *watch) look(ctx context.Context, telemetry Telemetry) error {
	w.last = time.Now().UTC()
	asked := w.ask()
	answers := query(ctx, telemetry, asked.texts, min(max(w.looks.Interval, shortestQuery), longestQuery))
	if err := ctx.Err(); err != nil {
		return err // what was cut off says nothing about the telemetry
	}
	results := make([]signals.CheckResult, 0, len(w.in.Plan.Checks))
	for _, c := range w.in.Plan.Checks {
		judged := asked.reading(c.Name, w.in.Track, w.last, answers)
		w.progress.Readings = append(w.progress.Readings, judged)
		var stable *signals.Reading
		if w.compares(c) {
			r := asked.reading(c.Name, signals.TrackStable, w.last, answers)
			w.progress.Readings = append(w.progress.Readings, r)
			stable = &r
		}
		results = append(results, analysis.Judge(c, judged, stable))
		if few, known := fewest(judged, stable); known {
			w.reach[c.Name] = analysis.NextReach(w.reachOf(c), few, c.MinSamples)
		}
	}
	w.progress.Checks = results
	w.progress.Taken++
	w.progress.Readings = analysis.Thin(w.progress.Readings)
	return nil
}

// compares says whether the check is also measured on stable: to compare the
// canary with it, unless all traffic is on the canary.
func (w *watch) compares(c signals.Check) bool {
	return c.Versus != nil && w.in.Track == signals.TrackCanary && w.in.Weight < 100
}

func (w *watch) reachOf(c signals.Check) int {
	if reach, ok := w.reach[c.Name]; ok {
		return reach
	}
	return analysis.FullReach
}

// fewest is the smaller number of samples. If one is unknown nothing is known:
// looking further back does not mend an outage.
func fewest(judged signals.Reading, stable *signals.Reading) (few float64, known bool) {
	if judged.Samples == nil || stable != nil && stable.Samples == nil {
		return 0, false
	}
	if stable == nil {
		return *judged.Samples, true
	}
	return min(*judged.Samples, *stable.Samples), true
}

func (w *watch) result(verdict signals.Verdict, reason string) signals.WindowResult {
	return signals.WindowResult{
		Phase: w.in.Phase, Weight: w.in.Weight, Verdict: verdict, Reason: reason,
		Checks: w.progress.Checks, Readings: w.progress.Readings, Queries: w.queries,
		Started: w.in.Start, Ended: w.last,
	}
}

// answer is what a query came to.
type answer struct {
	value   float64
	problem string
}

// query evaluates every distinct text once, all at the same time.
func query(ctx context.Context, telemetry Telemetry, texts map[string]bool, timeout time.Duration) map[string]answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var (
		mu      sync.Mutex
		wait    sync.WaitGroup
		slots   = make(chan struct{}, concurrentQueries)
		answers = make(map[string]answer, len(texts))
	)
	for text := range texts {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			value, err := telemetry.Query(ctx, text)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				answers[text] = answer{problem: err.Error()}
				return
			}
			answers[text] = answer{value: value}
		})
	}
	wait.Wait()
	return answers
}
