package activities

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func TestPodsFor(t *testing.T) {
	for _, c := range []struct{ full, percent, want int32 }{
		{10, 0, 0}, {10, 5, 1}, {10, 25, 3}, {10, 100, 10}, {3, 34, 2}, {0, 100, 1}, {0, 0, 0}, {2_000_000_000, 99, 1_980_000_000},
	} {
		require.Equal(t, c.want, PodsFor(c.full, c.percent), "%v", c)
	}
}

func TestCapacityFor(t *testing.T) {
	stable := Workload{Rollout: signals.Rollout{Name: "api", Desired: 4, Ready: 3}, Full: 4}
	canary := Workload{Rollout: signals.Rollout{Name: "api-canary", Desired: 1, Ready: 0, Blocked: "ImagePullBackOff"}}
	require.False(t, CapacityFor(stable, canary, 0, true).Enough)
	require.Equal(t, `canary "api-canary" has 0 ready pods, 1 of 4 are needed for 25% of the traffic: ImagePullBackOff`,
		CapacityFor(stable, canary, 25, false).Reason)
	require.True(t, CapacityFor(stable, canary, 25, true).Enough, "on the way back the canary is not asked")
	canary.Ready = 1
	require.True(t, CapacityFor(stable, canary, 25, false).Enough)
	require.Contains(t, CapacityFor(stable, canary, 5, false).Reason, `stable "api" has 3 ready pods, 4 of 4`)
}

// TestCapacityIsNeverBelowTheLane: whatever split is let through, the ready pods
// are at least as many as carry the lane whole.
func TestCapacityIsNeverBelowTheLane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods := rapid.Int32Range(0, 50)
		full := pods.Draw(t, "full")
		stable := Workload{Rollout: signals.Rollout{Ready: pods.Draw(t, "stable")}, Full: full}
		canary := Workload{Rollout: signals.Rollout{Ready: pods.Draw(t, "canary")}}
		share := rapid.Int32Range(0, 100).Draw(t, "share")
		if CapacityFor(stable, canary, share, false).Enough {
			require.GreaterOrEqual(t, stable.Ready+canary.Ready, full)
			require.False(t, share > 0 && canary.Ready == 0)
			require.False(t, share < 100 && stable.Ready == 0)
		}
	})
}
