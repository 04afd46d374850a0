package activities

import (
	"context"

	"github.com/waybill-dev/waybill/signals"
)

// Workload is one track's Deployment as the cluster reports it.
type Workload struct {
	signals.Rollout
	// Exists is true if the Deployment is there and is the track's own. For the
	// canary its Service must be there too.
	Exists bool
	// Settled is true once the newest template runs on all wanted pods, all of
	// them are available, and no pod of an older template is left.
	Settled bool
	// Full is how many pods carry all of the lane's traffic: stable's size when
	// the canary was made, or its size now if that is larger. An autoscaler that
	// shrinks an idle stable track does not lower it.
	Full int32
}

// Cluster acts on the Deployments of a lane. Every method may be called again
// after it failed half way, and each returns at once: waiting is the caller's.
type Cluster interface {
	// Observe reads what the stable track runs and keeps a copy of the
	// configuration it refers to. The canary's weight is left zero.
	Observe(ctx context.Context, target signals.Target) (signals.Snapshot, error)
	// Workload reads the Deployment of a track (signals.TrackStable or
	// signals.TrackCanary). One that is missing is no error.
	Workload(ctx context.Context, target signals.Target, track string) (Workload, error)
	// ApplyCanary makes the canary's Deployment and Service as asked, from the
	// stable track's template.
	ApplyCanary(ctx context.Context, in signals.CanaryInput) error
	// SetImage has the stable track run the artifact and changes nothing else.
	SetImage(ctx context.Context, in signals.DeployInput) error
	// Scale grows the stable track to at least replicas pods.
	Scale(ctx context.Context, target signals.Target, replicas int32) error
	// Restore puts the stable track's pod template and configuration back.
	Restore(ctx context.Context, in signals.RestoreInput) error
	// RemoveCanary deletes the canary's Deployment and Service if they are there
	// and Waybill's own.
	RemoveCanary(ctx context.Context, target signals.Target) error
}

// Traffic splits a lane's requests between its two Services. A method that
// changes the split returns when the Gateway's controller has accepted it.
type Traffic interface {
	// Weights reads the split in percent.
	Weights(ctx context.Context, target signals.Target) (signals.Weights, error)
	// SetWeights gives the canary its percentage and stable the rest.
	SetWeights(ctx context.Context, target signals.Target, canary int32) (signals.Weights, error)
	// RemoveCanary gives stable everything and forgets the canary's Service, so
	// that the Service can go.
	RemoveCanary(ctx context.Context, target signals.Target) (signals.Weights, error)
}

// Telemetry answers queries.
type Telemetry interface {
	// Query evaluates a query now and returns its one finite value. Anything
	// else, and a store that doesn't answer before ctx ends, is an error whose
	// text says what was found.
	Query(ctx context.Context, query string) (float64, error)
}
