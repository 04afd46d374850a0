package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// TestStagingIsReleasedWithoutApproval takes a good version through tier 1 and a
// bad one back.
func TestStagingIsReleasedWithoutApproval(t *testing.T) {
	good := start(t, "staging", "v2")
	ended := outcome(t, good)
	require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
	require.True(t, strings.HasSuffix(stableImage(t, "staging"), image(t, "v2").Digest))
	stable, canary := weights(t, "staging")
	require.Positive(t, stable)
	require.Zero(t, canary)

	slow := start(t, "staging", "v4")
	ended = outcome(t, slow)
	require.Equal(t, signals.RolledBack, ended.Kind, ended.Reasons)
	require.Contains(t, strings.Join(ended.Reasons, " "), "latency-p99")
	require.True(t, strings.HasSuffix(stableImage(t, "staging"), image(t, "v2").Digest))
	stable, canary = weights(t, "staging")
	require.Positive(t, stable)
	require.Zero(t, canary)

	require.Len(t, records(t, "staging", good), status(t, good).Records)
	r := evidence(t, "verify")
	require.Zero(t, r.code, r.stdout+r.stderr)
}
