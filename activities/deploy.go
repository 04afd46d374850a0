package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// Deploy changes and watches the environments of one cluster. Its activities may
// be run again after a crash at any point. What moves an environment forward
// needs a permit; what takes it back never does.
type Deploy struct {
	Cluster   Cluster
	Traffic   Traffic
	Telemetry Telemetry
	// PermitKeys are the evidence keys that permits must be signed with. They
	// come from the worker's own configuration: a plan can't choose them.
	PermitKeys []signals.PublicKey
}

const (
	// rolloutPoll is how often a rollout is looked at while it is waited for.
	rolloutPoll = 250 * time.Millisecond
	// readyWithin bounds the wait for a rollout if the target names no bound.
	readyWithin = 2 * time.Minute
)

// Observe reads what the lane runs now: digest, pod template, configuration,
// route weights, and whether a canary is there.
func (a *Deploy) Observe(ctx context.Context, in signals.DeployInput) (signals.Snapshot, error) {
	_, stop := startPulse(ctx)
	defer stop()
	snapshot, err := a.Cluster.Observe(ctx, in.Target)
	if err != nil {
		return signals.Snapshot{}, err
	}
	weights, err := a.Traffic.Weights(ctx, in.Target)
	if err != nil {
		return signals.Snapshot{}, err
	}
	snapshot.CanaryWeight = weights.Canary
	return snapshot, nil
}

// EnsureCanary brings the canary up with the artifact and the number of pods
// asked for, and returns when all of them are ready. It fails with ErrNotReady,
// naming what is in the way, if that takes longer than the target allows.
func (a *Deploy) EnsureCanary(ctx context.Context, in signals.CanaryInput) (signals.Rollout, error) {
	if err := a.permitted(in.DeployInput); err != nil {
		return signals.Rollout{}, err
	}
	p, stop := startPulse(ctx)
	defer stop()
	if err := a.Cluster.ApplyCanary(ctx, in); err != nil {
		return signals.Rollout{}, err
	}
	rollout, err := a.awaitRollout(ctx, p, in.DeployInput, signals.TrackCanary, in.Artifact.Digest)
	return rollout, final(err)
}

// PromoteStable has the stable track take the artifact and returns when it runs
// on all pods and no older pod is left; else it fails with ErrNotReady.
func (a *Deploy) PromoteStable(ctx context.Context, in signals.DeployInput) (signals.Rollout, error) {
	if err := a.permitted(in); err != nil {
		return signals.Rollout{}, err
	}
	p, stop := startPulse(ctx)
	defer stop()
	if err := a.Cluster.SetImage(ctx, in); err != nil {
		return signals.Rollout{}, err
	}
	rollout, err := a.awaitRollout(ctx, p, in, signals.TrackStable, in.Artifact.Digest)
	return rollout, final(err)
}

// RestoreStable puts the stable track's pod template and configuration back to
// the snapshot and returns when it is healthy with the snapshot's digest. That it
// isn't yet is worth another attempt: there is nothing else to go back to.
func (a *Deploy) RestoreStable(ctx context.Context, in signals.RestoreInput) (signals.Rollout, error) {
	p, stop := startPulse(ctx)
	defer stop()
	restoreErr := a.Cluster.Restore(ctx, in)
	if restoreErr != nil && !needsPerson(restoreErr) {
		return signals.Rollout{}, restoreErr
	}
	// What could be restored was, so how stable is can be told along with what could not.
	rollout, err := a.awaitRollout(ctx, p, in.DeployInput, signals.TrackStable, in.To.Digest)
	switch {
	case restoreErr == nil:
		return rollout, err
	case err != nil:
		return rollout, fmt.Errorf("%w; and not everything could be restored: %w", err, restoreErr)
	}
	return rollout, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("stable runs %s again, but not everything could be restored: %v", in.To.Digest, restoreErr), signals.ErrUndo, nil)
}

// needsPerson says whether an error stays the same however often it is tried.
func needsPerson(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

// RemoveCanary takes the canary out of the route, then deletes it. That it was
// never there, or is gone already, is fine.
func (a *Deploy) RemoveCanary(ctx context.Context, in signals.DeployInput) error {
	_, stop := startPulse(ctx)
	defer stop()
	if _, err := a.Traffic.RemoveCanary(ctx, in.Target); err != nil {
		return err
	}
	return a.Cluster.RemoveCanary(ctx, in.Target)
}

// permitted checks the permit for the artifact in this environment.
func (a *Deploy) permitted(in signals.DeployInput) error {
	if err := CheckPermit(in.Permit, a.PermitKeys, in.Artifact.Digest, in.Environment, in.Service, time.Now()); err != nil {
		return temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("%s may not go to %s/%s: %v", in.Artifact.Reference(), in.Environment, in.Service, err), signals.ErrPermit, nil)
	}
	return nil
}

// awaitRollout returns when the track runs digest on all its pods. While it
// waits it heartbeats the rollout, so that the Temporal UI shows how far it is
// and what blocks it. Errors of single reads are waited out.
func (a *Deploy) awaitRollout(ctx context.Context, p *pulse, in signals.DeployInput, track, digest string) (signals.Rollout, error) {
	limit := in.Target.ReadyWithin.D()
	if limit <= 0 {
		limit = readyWithin
	}
	deadline := time.Now().Add(limit)
	var last Workload
	for {
		w, err := a.Cluster.Workload(ctx, in.Target, track)
		if err == nil {
			last = w
			p.show(w.Rollout)
			if w.Exists && w.Settled && w.Digest == digest {
				return w.Rollout, nil
			}
		}
		if !time.Now().Before(deadline) {
			return last.Rollout, notReady(last, in.Target.Namespace, track, digest, limit, err)
		}
		if err := pause(ctx, rolloutPoll); err != nil {
			return last.Rollout, err
		}
	}
}

func notReady(w Workload, namespace, track, digest string, limit time.Duration, readErr error) error {
	state := fmt.Sprintf("%d of %d pods ready", w.Ready, w.Desired)
	switch {
	case readErr != nil:
		state = "its state can't be read: " + readErr.Error()
	case !w.Exists:
		state = "it does not exist"
	case w.Digest != digest:
		state = fmt.Sprintf("it asks for %s: changed outside of Waybill", w.Digest)
	case w.Blocked != "":
		state += ", blocked by " + w.Blocked
	case w.Ready >= w.Desired:
		state += ", but pods of an older template are left or not all are available"
	}
	return temporal.NewApplicationError(
		fmt.Sprintf("%s %s/%s did not run %s within %s: %s", track, namespace, w.Name, digest, limit, state), signals.ErrNotReady)
}

// final makes ErrNotReady the last word, for steps forward: waiting was the
// attempt, and the way back is open.
func final(err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() == signals.ErrNotReady {
		return temporal.NewNonRetryableApplicationError(app.Message(), signals.ErrNotReady, nil)
	}
	return err
}

// pause waits, or returns the context's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
