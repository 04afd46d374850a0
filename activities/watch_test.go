package activities_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/promql"
	"github.com/waybill-dev/waybill/internal/promql/promtest"
	"github.com/waybill-dev/waybill/internal/testtools"
	"github.com/waybill-dev/waybill/signals"
)

// service is a scrape target that answers requests on both tracks, with a real
// Prometheus that scrapes it.
type service struct {
	t          *testing.T
	target     *promtest.Target
	prometheus *promtest.Prometheus
	telemetry  *promql.Client

	mu     sync.Mutex
	rates  map[string]int // requests of each track per 50 ms
	errors map[string]int // of which fail
}

func startService(t *testing.T) *service {
	t.Helper()
	binary, err := testtools.Tool(t.Context(), "prometheus")
	require.NoError(t, err)
	s := &service{
		t: t, target: promtest.NewTarget(t),
		rates: map[string]int{"api": 10, "api-canary": 10}, errors: map[string]int{},
	}
	for _, workload := range []string{"api", "api-canary"} {
		s.target.Add(series(workload, "200"), 0)
		s.target.Add(series(workload, "500"), 0)
	}
	s.prometheus = promtest.Start(t, binary, s.target)
	s.telemetry, err = promql.New(s.prometheus.URL)
	require.NoError(t, err)
	go s.serve(t.Context())
	require.Eventually(t, func() bool { // scraped often enough for a rate
		v, err := s.telemetry.Query(t.Context(), `sum(increase(requests_total[2s]))`)
		return err == nil && v > 100
	}, 30*time.Second, 50*time.Millisecond)
	return s
}

func series(workload, code string) string {
	return fmt.Sprintf("requests_total{workload=%q,code=%q}", workload, code)
}

func (s *service) serve(ctx context.Context) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		for workload, n := range s.rates {
			s.target.Add(series(workload, "500"), float64(s.errors[workload]))
			s.target.Add(series(workload, "200"), float64(n-s.errors[workload]))
		}
		s.mu.Unlock()
	}
}

func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

const (
	requests = `sum(increase(requests_total{workload="{{.Workload}}"}[{{.Window}}]))`
	failures = `sum(increase(requests_total{workload="{{.Workload}}",code="500"}[{{.Window}}]))`
)

func errorRatio() signals.Check {
	return signals.Check{
		Name: "errors", Kind: signals.ErrorRatio, Unit: "ratio", Query: failures + " / " + requests, Samples: requests,
		Max: new(0.1), Versus: &signals.Versus{MaxRatio: new(2.0), Slack: 0.02}, MinSamples: 20,
	}
}

func window(checks ...signals.Check) signals.WatchInput {
	plan := signals.Plan{Service: "api", Environment: "prod", Checks: checks}
	plan.Target = signals.Target{Namespace: "prod", Stable: "api", Canary: "api-canary"}
	return signals.WatchInput{
		Plan: plan, Phase: signals.Canary, Weight: 5, Track: signals.TrackCanary, Start: time.Now().UTC(), Digest: "sha256:2",
		Window: signals.Window{Duration: signals.Duration(4 * time.Second), Interval: signals.Duration(500 * time.Millisecond), WarmUp: signals.Duration(500 * time.Millisecond)},
	}
}

// environment runs activities as a worker does, under ctx.
func environment(ctx context.Context, d *activities.Deploy) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(d)
	return env
}

func (s *service) watch(in signals.WatchInput) signals.WindowResult {
	s.t.Helper()
	d := &activities.Deploy{Telemetry: s.telemetry}
	value, err := environment(s.t.Context(), d).ExecuteActivity(d.Watch, in)
	require.NoError(s.t, err)
	var result signals.WindowResult
	require.NoError(s.t, value.Get(&result))
	return result
}

func TestWatch(t *testing.T) {
	s := startService(t)

	t.Run("pass", func(t *testing.T) {
		in := window(errorRatio())
		result := s.watch(in)
		require.Equal(t, signals.Pass, result.Verdict, result.Reason)
		require.False(t, result.Ended.Before(in.Start.Add(4*time.Second)), "a pass is said at the end only")
		require.NotEmpty(t, result.Readings)
		for _, r := range result.Readings {
			require.Empty(t, r.Problem)
			require.False(t, r.At.Before(in.Start.Add(1500*time.Millisecond)), "nothing is looked at before two intervals after the warm-up")
		}
		require.Contains(t, result.Queries["errors/canary"], `workload="api-canary",code="500"}[3s500ms]`)
		require.Contains(t, result.Queries["errors/stable/samples"], `workload="api"}[3s500ms]`)
		require.NotNil(t, result.Checks[0].Stable)
	})

	t.Run("fail early", func(t *testing.T) {
		s.set(func() { s.errors["api-canary"] = 5 })
		defer s.set(func() { s.errors["api-canary"] = 0 })
		in := window(errorRatio())
		in.Window.Duration = signals.Duration(time.Hour)
		result := s.watch(in)
		require.Equal(t, signals.Fail, result.Verdict, result.Reason)
		require.Contains(t, result.Reason, "at most 10% is allowed")
		require.Equal(t, "≤ 10% and ≤ 2× stable + 2%", result.Checks[0].Bound)
	})

	t.Run("insufficient", func(t *testing.T) {
		check := errorRatio()
		check.MinSamples = 1e6
		result := s.watch(window(check))
		require.Equal(t, signals.Insufficient, result.Verdict, result.Reason)
	})

	t.Run("no traffic", func(t *testing.T) {
		s.set(func() { s.rates["api-canary"] = 0 })
		defer s.set(func() { s.rates["api-canary"] = 10 })
		result := s.watch(window(errorRatio()))
		require.Equal(t, signals.Insufficient, result.Verdict, result.Reason)
		require.Contains(t, result.Readings[len(result.Readings)-2].Problem, "NaN")
	})

	t.Run("broken telemetry", func(t *testing.T) {
		for name, c := range map[string]struct{ query, samples, says string }{
			"empty":      {`missing_total`, requests, "no series"},
			"NaN":        {`0 / 0 + sum(requests_total)`, requests, "NaN"},
			"two series": {`requests_total{workload="{{.Workload}}"}`, requests, "2 series"},
			"samples":    {failures, `missing_total`, "samples: no series"},
			"syntax":     {`sum(`, requests, "bad_data"},
			"template":   {`{{.Nope}}`, requests, "Nope"},
		} {
			check := errorRatio()
			check.Name, check.Query, check.Samples = name, c.query, c.samples
			in := window(errorRatio(), check)
			in.Window.Duration = signals.Duration(1500 * time.Millisecond)
			result := s.watch(in)
			require.Equal(t, signals.Outage, result.Verdict, "%s: %s", name, result.Reason)
			require.Contains(t, result.Reason, c.says)
		}
	})

	t.Run("stable alone", func(t *testing.T) {
		in := window(errorRatio())
		in.Track, in.Phase, in.Weight = signals.TrackStable, signals.Baseline, 0
		result := s.watch(in)
		require.Equal(t, signals.Pass, result.Verdict, result.Reason)
		for _, r := range result.Readings {
			require.Equal(t, signals.TrackStable, r.Track)
		}
		for text := range result.Queries {
			require.NotContains(t, text, "canary")
		}
	})

	t.Run("all traffic on the canary", func(t *testing.T) {
		s.set(func() { s.rates["api"] = 0 })
		defer s.set(func() { s.rates["api"] = 10 })
		in := window(errorRatio())
		in.Weight = 100
		result := s.watch(in)
		require.Equal(t, signals.Pass, result.Verdict, result.Reason)
		require.Equal(t, "≤ 10%", result.Checks[0].Bound)
	})

	t.Run("extension judges the windows it extends", func(t *testing.T) {
		check := errorRatio() // 200 requests a second
		check.MinSamples = 900
		in := window(check)
		require.Equal(t, signals.Insufficient, s.watch(in).Verdict)
		in.Start, in.Extension, in.Window.Extensions = time.Now().UTC(), 1, 1
		result := s.watch(in)
		require.Equal(t, signals.Pass, result.Verdict, result.Reason)
	})

	t.Run("goes on after a crash", func(t *testing.T) {
		in := window(errorRatio())
		in.Start = in.Start.Add(-2 * time.Second)
		before := signals.WatchProgress{
			Phase: in.Phase, Weight: in.Weight, Ends: in.Start.Add(in.Window.Duration.D()), Taken: 1,
			Readings: []signals.Reading{{At: in.Start.Add(1500 * time.Millisecond), Check: "errors", Track: signals.TrackCanary, Value: new(0.01), Samples: new(200.0)}},
		}
		d := &activities.Deploy{Telemetry: s.telemetry}
		for name, c := range map[string]struct {
			ends time.Time
			kept int
		}{"same window": {before.Ends, 1}, "another window": {before.Ends.Add(time.Second), 0}} {
			before.Ends = c.ends
			env := environment(t.Context(), d)
			env.SetHeartbeatDetails(before)
			value, err := env.ExecuteActivity(d.Watch, in)
			require.NoError(t, err)
			var result signals.WindowResult
			require.NoError(t, value.Get(&result))
			require.Equal(t, signals.Pass, result.Verdict, result.Reason)
			require.Equal(t, before.Readings[:c.kept], result.Readings[:c.kept], name)
			require.Greater(t, len(result.Readings), c.kept)
			for _, r := range result.Readings[c.kept:] {
				require.True(t, r.At.After(before.Readings[0].At), "%s: no look is taken twice", name)
			}
		}
	})

	t.Run("cancelled", func(t *testing.T) {
		in := window(errorRatio())
		in.Window.Duration = signals.Duration(time.Hour)
		d := &activities.Deploy{Telemetry: s.telemetry}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := environment(ctx, d).ExecuteActivity(d.Watch, in)
		require.Error(t, err)
		require.Contains(t, strings.ToLower(err.Error()), "cancel")
	})

	t.Run("Prometheus dies in the middle", func(t *testing.T) {
		time.AfterFunc(2500*time.Millisecond, s.prometheus.Kill)
		result := s.watch(window(errorRatio()))
		require.Equal(t, signals.Outage, result.Verdict, result.Reason)
		require.Contains(t, result.Reason, "can't be reached")
		require.Empty(t, result.Readings[0].Problem, "it began well")
	})
}
