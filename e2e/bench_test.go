package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	promapi "github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/signals"
)

// The benchmarks measure and assert nothing about time; docs/performance.md
// defines what they report. Smaller numbers make a quick try.
var (
	releases  = flag.Int("releases", 5, "releases that BenchmarkReleaseOverhead takes the median of")
	rollbacks = flag.Int("rollbacks", 7, "bad releases that BenchmarkReaction takes the median of")
	waiting   = flag.Int("waiting", 1000, "releases that BenchmarkWaitingReleases has waiting at once")
	bursting  = flag.Int("bursting", 100, "releases that BenchmarkApprovalBurst has approved at once, by five people each")
	settling  = flag.Duration("settling", 5*time.Minute, "how long BenchmarkWaitingReleases lets the worker come to rest")
)

// report adds a metric and leaves out the time per operation, which says nothing
// here.
func report(b *testing.B, value float64, unit string) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(value, unit)
}

// BenchmarkReleaseHistory is what one promoted release leaves in Temporal and in
// the bucket, and that longer windows leave no more events.
func BenchmarkReleaseHistory(b *testing.B) {
	cases := []struct {
		name, environment, tag string
		longer                 bool
	}{
		{"tier2", "prod", "v2", false},
		{"tier1", "staging", "v2", false},
		{"tier1-windows-x10", "staging", "v1", true},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			if c.longer {
				lengthenWindows(b)
			}
			for b.Loop() {
				release := start(b, c.environment, c.tag)
				if c.environment == "prod" {
					approve(b, release)
				}
				out, h := ended(b, release)
				require.Equal(b, signals.Promoted, out.Kind, out.Reasons)
				stored := objects(b, c.environment, release)
				var bytes int64
				for _, o := range stored {
					bytes += aws.ToInt64(o.Size)
				}
				windows, length := h.windows()
				report(b, float64(len(h.events)), "events")
				report(b, kib(h.bytes), "history-KiB")
				report(b, float64(len(stored)), "records")
				report(b, kib(bytes), "bucket-KiB")
				report(b, float64(windows), "windows")
				report(b, length.Seconds(), "windows-s")
				b.Log(h.costs())
			}
		})
	}
}

// lengthenWindows makes every window of the demo's catalog entry ten times as
// long until the benchmark ends.
func lengthenWindows(b *testing.B) {
	b.Helper()
	file := filepath.Join(stack.dir, "catalog", "payments-api.yaml")
	text, err := os.ReadFile(file)
	require.NoError(b, err)
	longer := regexp.MustCompile(`duration: (\d)s`).ReplaceAll(text, []byte("duration: ${1}0s"))
	require.NotEqual(b, text, longer)
	require.NoError(b, os.WriteFile(file, longer, 0o600))
	b.Cleanup(func() { require.NoError(b, os.WriteFile(file, text, 0o600)) })
}

// BenchmarkReleaseOverhead is what Waybill adds to a release of tier 1, which
// waits for nobody's approval: all of its time but windows and pods.
func BenchmarkReleaseOverhead(b *testing.B) {
	for b.Loop() {
		parts := map[string][]time.Duration{}
		for i := range *releases {
			out, h := ended(b, start(b, "staging", []string{"v2", "v1"}[i%2]))
			require.Equal(b, signals.Promoted, out.Kind, out.Reasons)
			_, windows := h.windows()
			overhead := h.wall() - windows
			rest := overhead
			took := map[string]time.Duration{"wall": h.wall(), "windows": windows}
			for activity, spent := range h.spent() {
				if purpose := purposes[activity]; purpose != "windows" { // these run beside their timers
					took[purpose] += spent
					rest -= spent
				}
			}
			took["overhead"], took["workflow tasks and late timers"] = overhead-took["pods"], rest
			for part, t := range took {
				parts[part] = append(parts[part], t)
			}
		}
		for _, part := range []string{"wall", "windows", "pods", "overhead"} {
			report(b, median(parts[part]).Seconds(), part+"-s")
			b.Logf("%s: median %s, from %s to %s", part, median(parts[part]),
				slices.Min(parts[part]).Round(time.Millisecond), slices.Max(parts[part]).Round(time.Millisecond))
			delete(parts, part)
		}
		var lines []string
		for part, times := range parts {
			lines = append(lines, fmt.Sprintf("%s %s", part, median(times)))
		}
		slices.Sort(lines)
		b.Log("overhead, medians: " + strings.Join(lines, "; "))
	}
}

// median is the middle one, the mean of both if there are two, to the millisecond.
func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return ((sorted[(n-1)/2] + sorted[n/2]) / 2).Round(time.Millisecond)
}

// BenchmarkReaction is the time from the scrape that first shows an error of a
// bad version to all traffic being back on stable, and its two parts: until a
// sample is judged as failing, and from there to the weight as read back.
func BenchmarkReaction(b *testing.B) {
	for b.Loop() {
		var whole, judging, acting []time.Duration
		for range *rollbacks {
			out, h := ended(b, start(b, "staging", "v3"))
			require.Equal(b, signals.RolledBack, out.Kind, out.Reasons)
			require.Regexp(b, "error-ratio|authorisations-answered", strings.Join(out.Reasons, " "))
			watched := results[signals.WindowResult](b, h, "Watch")
			judged := watched[len(watched)-1].Ended
			shifts := results[signals.Weights](b, h, "SetWeight")
			back := shifts[len(shifts)-1]
			require.Zero(b, back.Canary)
			bad := firstBadScrape(b, out.StartedAt, judged)
			whole, judging, acting = append(whole, back.At.Sub(bad)), append(judging, judged.Sub(bad)), append(acting, back.At.Sub(judged))
		}
		report(b, median(whole).Seconds(), "median-s")
		report(b, slices.Max(whole).Seconds(), "max-s")
		report(b, median(judging).Seconds(), "judging-median-s")
		report(b, median(acting).Seconds(), "acting-median-s")
		report(b, slices.Max(acting).Seconds(), "acting-max-s")
		b.Logf("whole %v; judging %v; acting %v", whole, judging, acting)
	}
}

// prometheus is the API of the stack's Prometheus.
func prometheus(b *testing.B) v1.API {
	b.Helper()
	c, err := promapi.NewClient(promapi.Config{Address: stack.Prometheus})
	require.NoError(b, err)
	return v1.NewAPI(c)
}

// firstBadScrape is Prometheus' own time of the first sample, of the canary that
// was made after from, which counts any error.
func firstBadScrape(b *testing.B, from, until time.Time) time.Time {
	b.Helper()
	const before = time.Minute // shows which series are those of an earlier canary
	query := fmt.Sprintf(`payments_http_requests_total{namespace="payments-staging",workload="payments-api-canary",code=~"5.."}[%dms]`,
		(until.Sub(from) + before).Milliseconds())
	value, _, _, err := prometheus(b).Query(b.Context(), query, until)
	require.NoError(b, err)
	require.IsType(b, model.Matrix{}, value)
	var first time.Time
	for _, series := range value.(model.Matrix) {
		if series.Values[0].Timestamp.Time().Before(from) {
			continue
		}
		for _, sample := range series.Values {
			if at := sample.Timestamp.Time(); sample.Value > 0 && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	require.False(b, first.IsZero(), "no scrape shows an error between %s and %s", from, until)
	return first
}

// BenchmarkWaitingReleases is the memory of a fresh worker before and while many
// releases wait for approval, and how long it takes to close the papers of all
// of them when they are cancelled.
func BenchmarkWaitingReleases(b *testing.B) {
	const (
		service  = "payments-waiting"
		atOnce   = 16 // releases on their way to, or back from, waiting
		patience = 40 * time.Minute
	)
	drill(b, service, "{approval: 10m,", "{approval: 24h,")
	killWorker(b)
	c, v := dial(b), image(b, "v2")
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	ids := make([]string, *waiting)
	for i := range ids {
		ids[i] = fmt.Sprintf("waiting-%s-%04d", time.Now().UTC().Format("150405"), i)
	}
	toApproval := func(ctx context.Context, id string) error {
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: signals.ReleaseQueue}, signals.ReleaseWorkflow,
			signals.Request{Service: service, Environment: "prod", Image: v.Image, Commit: v.Commit, Ticket: "CHG-2007", RequestedBy: "ci"})
		if err != nil {
			return err
		}
		for {
			d, err := c.DescribeWorkflowExecution(ctx, id, "")
			if err != nil {
				return err
			}
			if phase(d.GetWorkflowExecutionInfo().GetSearchAttributes()) == signals.Approving {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("release %s: %w", id, ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	toItsEnd := func(ctx context.Context, id string) error {
		if err := c.CancelWorkflow(ctx, id, ""); err != nil {
			return err
		}
		var out signals.Outcome
		if err := c.GetWorkflow(ctx, id, "").Get(ctx, &out); err != nil {
			return fmt.Errorf("release %s: %w", id, err)
		}
		return nil
	}
	each := func(ids []string, do func(context.Context, string) error) time.Duration {
		began := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, id := range ids {
			group.Go(func() error { return do(ctx, id) })
		}
		require.NoError(b, group.Wait())
		return time.Since(began)
	}
	for b.Loop() {
		// The first release makes the worker load what every release needs.
		starting := each(ids[:1], toApproval)
		before := memory(b, "VmRSS")
		starting += each(ids[1:], toApproval)
		require.Eventually(b, func() bool {
			n, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: fmt.Sprintf(
				`%s = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'`, signals.AttrPhase.GetName(), signals.Approving, signals.AttrService.GetName(), service)})
			return err == nil && n.GetCount() == int64(len(ids))
		}, 2*time.Minute, time.Second, "visibility does not show all releases in phase approval")
		after := memory(b, "VmRSS")
		time.Sleep(*settling)
		rest := memory(b, "VmRSS")
		// What is in use right after a garbage collection is the least that is seen.
		heap, _, _, err := prometheus(b).Query(ctx, fmt.Sprintf(
			`min_over_time(go_memstats_heap_alloc_bytes{job="waybilld-worker"}[%dms])`, settling.Milliseconds()), time.Time{})
		require.NoError(b, err)
		require.Len(b, heap, 1)
		report(b, before/1024, "before-MiB")
		report(b, after/1024, "after-MiB")
		report(b, rest/1024, "at-rest-MiB")
		report(b, (rest-before)/float64(len(ids)-1), "KiB/release")
		report(b, float64(heap.(model.Vector)[0].Value)/1024/1024, "heap-MiB")
		report(b, memory(b, "VmHWM")/1024, "peak-MiB")
		report(b, starting.Seconds(), "starting-s")
		report(b, each(ids, toItsEnd).Seconds(), "cancelling-s")
	}
}

// memory is one of the worker's values in /proc/PID/status, in KiB.
func memory(b *testing.B, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pidOf(b, "worker")))
	require.NoError(b, err)
	found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindStringSubmatch(string(text))
	require.NotNil(b, found, string(text))
	n, err := strconv.ParseFloat(found[1], 64)
	require.NoError(b, err)
	return n
}
