package deploy

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// TestPrometheusConfig loads the configuration into the real Prometheus and
// compares the targets with the services of the Compose file.
func TestPrometheusConfig(t *testing.T) {
	binary, err := testtools.Tool(t.Context(), "prometheus")
	require.NoError(t, err)
	ports, err := testtools.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	start(t, exec.CommandContext(context.WithoutCancel(t.Context()), binary,
		"--config.file=prometheus/prometheus.yml", "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+address))
	require.Eventually(t, func() bool { return healthy(t, "http://"+address+"/-/ready") }, time.Minute, 50*time.Millisecond,
		"Prometheus did not become ready")

	client, err := api.NewClient(api.Config{Address: "http://" + address, Client: http.DefaultClient})
	require.NoError(t, err)
	p := project(t)
	scraped := map[string]bool{}
	require.Eventually(t, func() bool {
		targets, err := prometheus.NewAPI(client).Targets(t.Context())
		if err != nil {
			return false
		}
		for _, target := range targets.Active {
			scraped[string(target.Labels["instance"])] = true
		}
		return len(scraped) > 0
	}, time.Minute, 50*time.Millisecond, "Prometheus shows no targets")
	require.Equal(t, map[string]bool{
		"worker-release:9090": true, "worker-deploy:9090": true, "notary:9090": true, "worker-notify:9090": true, "gateway:9090": true, "temporal:8000": true,
	}, scraped)
	for _, service := range []string{"worker-release", "worker-deploy", "notary", "worker-notify", "gateway", "temporal"} {
		require.Containsf(t, p.Services[service].Networks, "monitoring", "%s can't be scraped", service)
	}
}
