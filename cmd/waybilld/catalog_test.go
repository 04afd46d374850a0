package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestABrokenCatalogLeavesTheLastValidOneInUse(t *testing.T) {
	s := newSite(t, "127.0.0.1:1")
	path := s.path("catalog/payments-api.yaml")
	valid, err := os.ReadFile(path)
	require.NoError(t, err)
	metrics, log := prometheus.NewRegistry(), &bytes.Buffer{}
	live, err := openCatalog(s.path("catalog"), metrics, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	gauge := func() float64 {
		families, err := metrics.Gather()
		require.NoError(t, err)
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	before, err := live.Entry("payments-api", "prod")
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(path, bytes.Replace(valid, []byte("owner:"), []byte("ovner:"), 1), 0o600))
	for range 3 {
		entry, err := live.Entry("payments-api", "prod")
		require.NoError(t, err)
		assert.Equal(t, before, entry)
	}
	assert.Zero(t, gauge())
	assert.Equal(t, 1, strings.Count(log.String(), "catalog is invalid"), "told once")
	assert.Contains(t, log.String(), "ovner")

	require.NoError(t, os.WriteFile(path, bytes.Replace(valid, []byte("owner: payments-leads"), []byte("owner: others"), 1), 0o600))
	entry, err := live.Entry("payments-api", "prod")
	require.NoError(t, err)
	assert.Equal(t, "others", entry.Owner)
	assert.NotEqual(t, before.Catalog, entry.Catalog)
	assert.InDelta(t, 1, gauge(), 0)
}

func TestACatalogThatIsInvalidToBeginWithStopsTheStart(t *testing.T) {
	s := newSite(t, "127.0.0.1:1")
	require.NoError(t, os.Remove(s.path("catalog/payments-api.yaml")))
	_, err := openCatalog(s.path("catalog"), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "no .yaml files")
}
