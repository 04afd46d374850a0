package activities

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// backWithin is how long stable may take to become large enough for all of the
// traffic before it gets all of it anyway.
const backWithin = 30 * time.Second

// SetWeight gives the canary its share of the traffic and returns the split as
// read back once the Gateway's controller has accepted it. Forward it needs a
// permit and refuses with ErrCapacity while a side can't carry its share. Back it
// needs neither; see back.
func (a *Deploy) SetWeight(ctx context.Context, in signals.WeightInput) (signals.Weights, error) {
	p, stop := startPulse(ctx)
	defer stop()
	if in.Back {
		return a.back(ctx, p, in)
	}
	if err := a.permitted(in.DeployInput); err != nil {
		return signals.Weights{}, err
	}
	stable, canary, err := a.workloads(ctx, in.Target)
	if err != nil {
		return signals.Weights{}, err
	}
	if in.Canary > 0 && canary.Digest != in.Artifact.Digest {
		return signals.Weights{}, temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("canary %s/%s runs %q, not %s: changed outside of Waybill", in.Target.Namespace, in.Target.Canary, canary.Digest, in.Artifact.Digest),
			signals.ErrConflict, nil)
	}
	if canary, err = a.growCanary(ctx, p, in, stable, canary); err != nil {
		return signals.Weights{}, err
	}
	if c := CapacityFor(stable, canary, in.Canary, false); !c.Enough {
		return signals.Weights{}, temporal.NewApplicationError(c.Reason, signals.ErrCapacity)
	}
	return a.Traffic.SetWeights(ctx, in.Target, in.Canary)
}

// growCanary gives the canary the pods that its share takes, if an autoscaler has
// grown stable since the canary was sized.
func (a *Deploy) growCanary(ctx context.Context, p *pulse, in signals.WeightInput, stable, canary Workload) (Workload, error) {
	want := PodsFor(stable.Full, in.Canary)
	if canary.Desired >= want {
		return canary, nil
	}
	if err := a.Cluster.ApplyCanary(ctx, signals.CanaryInput{DeployInput: in.DeployInput, Replicas: want}); err != nil {
		return canary, err
	}
	if _, err := a.awaitRollout(ctx, p, in.DeployInput, signals.TrackCanary, in.Artifact.Digest); err != nil {
		return canary, final(err)
	}
	return a.Cluster.Workload(ctx, in.Target, signals.TrackCanary)
}

func (a *Deploy) workloads(ctx context.Context, t signals.Target) (stable, canary Workload, err error) {
	if stable, err = a.Cluster.Workload(ctx, t, signals.TrackStable); err != nil {
		return stable, canary, err
	}
	canary, err = a.Cluster.Workload(ctx, t, signals.TrackCanary)
	return stable, canary, err
}

// back moves traffic to stable no faster than stable can take it, and no slower:
// at once as much as its ready pods carry, the rest as more become ready. A
// stable track that was scaled down meanwhile is grown first. After
// backWithin everything goes to what is there, because an overloaded good
// version is better than a bad one; only without any ready pod it is an error.
func (a *Deploy) back(ctx context.Context, p *pulse, in signals.WeightInput) (signals.Weights, error) {
	t := in.Target
	deadline := time.Now().Add(backWithin)
	grown := false
	for {
		stable, canary, err := a.workloads(ctx, t)
		if err != nil {
			return signals.Weights{}, err
		}
		enough := CapacityFor(stable, canary, in.Canary, true)
		late := !time.Now().Before(deadline)
		if enough.Enough || late && stable.Ready > 0 {
			if !enough.Enough {
				slog.WarnContext(ctx, "all traffic goes back to a stable track that is too small",
					"release", in.Release, "environment", in.Environment, "service", in.Service, "reason", enough.Reason)
			}
			return a.setBack(ctx, t, in.Canary, canary)
		}
		if late {
			return signals.Weights{}, temporal.NewApplicationError(enough.Reason, signals.ErrCapacity)
		}
		if !grown && stable.Exists && stable.Desired < stable.Full {
			if err := a.Cluster.Scale(ctx, t, stable.Full); err != nil {
				return signals.Weights{}, err
			}
			grown = true
		}
		p.show(stable.Rollout)
		if err := a.partlyBack(ctx, t, stable, canary); err != nil {
			return signals.Weights{}, err
		}
		if err := pause(ctx, rolloutPoll); err != nil {
			return signals.Weights{}, err
		}
	}
}

// setBack sets the weight. Without a canary's Service the route must not refer
// to it any more, not even with weight 0: the controller would not accept it.
func (a *Deploy) setBack(ctx context.Context, t signals.Target, share int32, canary Workload) (signals.Weights, error) {
	if !canary.Exists && share == 0 {
		return a.Traffic.RemoveCanary(ctx, t)
	}
	return a.Traffic.SetWeights(ctx, t, share)
}

// partlyBack gives stable as much as its ready pods can carry, if that is more
// than it has.
func (a *Deploy) partlyBack(ctx context.Context, t signals.Target, stable, canary Workload) error {
	if stable.Ready == 0 || !canary.Exists {
		return nil
	}
	now, err := a.Traffic.Weights(ctx, t)
	if err != nil {
		return err
	}
	canaryShare := 100 - min(100, 100*stable.Ready/max(1, stable.Full))
	if canaryShare >= now.Canary {
		return nil
	}
	_, err = a.Traffic.SetWeights(ctx, t, canaryShare)
	return err
}
