// Package promtest starts a real Prometheus for tests, with a target whose
// metrics the test sets.
package promtest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// Target is a scrape target that exposes what it was told to.
type Target struct {
	mu     sync.Mutex
	values map[string]float64
	server *httptest.Server
}

// NewTarget starts a target that stops with the test.
func NewTarget(t *testing.T) *Target {
	t.Helper()
	target := &Target{values: map[string]float64{}}
	target.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		target.mu.Lock()
		defer target.mu.Unlock()
		for _, series := range slices.Sorted(maps.Keys(target.values)) {
			fmt.Fprintf(w, "%s %g\n", series, target.values[series])
		}
	}))
	t.Cleanup(target.server.Close)
	return target
}

// Add adds to a series such as `requests_total{code="200"}`, which begins at 0.
func (t *Target) Add(series string, by float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[series] += by
}

// Drop forgets a series.
func (t *Target) Drop(series string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.values, series)
}

// Prometheus is a running server.
type Prometheus struct {
	// URL is the address of its HTTP API.
	URL string
	cmd *exec.Cmd
}

// Start runs the binary with a scrape interval of 200 ms for the target, and
// stops it with the test.
func Start(t *testing.T, binary string, target *Target) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: test
    metrics_path: /
    static_configs: [{targets: [%q]}]
    fallback_scrape_protocol: PrometheusText0.0.4
`, strings.TrimPrefix(target.server.URL, "http://"))), 0o600))
	address, err := testtools.FreeAddress(t.Context())
	require.NoError(t, err)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, testtools.DieWithParent()
	require.NoError(t, cmd.Start())
	p := &Prometheus{URL: "http://" + address, cmd: cmd}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus:\n%s", text[max(0, len(text)-2000):])
		}
	})
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/-/ready", http.NoBody)
		if err != nil {
			return false
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "Prometheus did not become ready")
	return p
}

// Kill ends the server at once, as a crash does. A second call does nothing.
func (p *Prometheus) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
