package activities

import (
	"fmt"

	"github.com/waybill-dev/waybill/signals"
)

// PodsFor is how many of full pods carry percent of the traffic, rounded up: a
// share above zero needs at least one pod.
func PodsFor(full, percent int32) int32 {
	if percent <= 0 {
		return 0
	}
	return max(1, int32((int64(full)*int64(percent)+99)/100)) //nolint:gosec // at most full, which is an int32
}

// CapacityFor decides whether both tracks have enough ready pods for a split
// that gives canaryShare percent to the canary. On the way back the canary is
// not asked: it is about to lose its traffic, whatever state it is in.
func CapacityFor(stable, canary Workload, canaryShare int32, back bool) signals.Capacity {
	c := signals.Capacity{Stable: stable.Rollout, Canary: canary.Rollout, Enough: true}
	need := func(track string, w Workload, percent int32) {
		want := PodsFor(stable.Full, percent)
		if w.Ready >= want || !c.Enough {
			return
		}
		c.Enough = false
		c.Reason = fmt.Sprintf("%s %q has %d ready pods, %d of %d are needed for %d%% of the traffic",
			track, w.Name, w.Ready, want, max(1, stable.Full), percent)
		if w.Blocked != "" {
			c.Reason += ": " + w.Blocked
		}
	}
	need(signals.TrackStable, stable, 100-canaryShare)
	if !back {
		need(signals.TrackCanary, canary, canaryShare)
	}
	return c
}
