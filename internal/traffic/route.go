// Package traffic splits the requests of a lane between its stable and its
// canary Service by the weights of a Gateway API HTTPRoute. A change counts only
// once it was read back and the Gateway's controller has reported that it
// accepted that generation of the route.
package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/waybill-dev/waybill/signals"
)

const (
	fieldManager = "waybill"
	// attempts is how often a change is made that somebody else undoes.
	attempts = 5
	poll     = 100 * time.Millisecond
)

// Routes changes the HTTPRoutes of one cluster.
type Routes struct {
	clients versioned.Interface
	// AcceptWithin is how long the Gateway's controller may take to accept a
	// change.
	AcceptWithin time.Duration
}

// New builds the client for one cluster. config should carry rate and time
// limits (kube.Limits sets them).
func New(config *rest.Config) (*Routes, error) {
	clients, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build the Gateway API client: %w", err)
	}
	return &Routes{clients: clients, AcceptWithin: 30 * time.Second}, nil
}

// Weights reads the split of the target's route in percent.
func (r *Routes) Weights(ctx context.Context, t signals.Target) (signals.Weights, error) {
	route, err := r.get(ctx, t)
	if err != nil {
		return signals.Weights{}, err
	}
	return observed(route, t)
}

// SetWeights gives the canary its percentage, 0 to 100, and stable the rest, in
// every rule that sends traffic to stable. At 0 the canary's reference stays,
// with weight 0. It returns the split as read back after the Gateway's
// controller accepted it.
func (r *Routes) SetWeights(ctx context.Context, t signals.Target, canary int32) (signals.Weights, error) {
	if canary < 0 || canary > 100 {
		return signals.Weights{}, conflict(nil, "canary weight %d: want 0 to 100", canary)
	}
	return r.change(ctx, t, func(route *gatewayv1.HTTPRoute) ([]operation, error) {
		found, err := backends(route, t)
		if err != nil {
			return nil, conflict(nil, "%v", err)
		}
		for _, b := range found {
			refs := route.Spec.Rules[b.rule].BackendRefs
			asAsked := weight(refs[b.stable]) == 100-canary && (b.canary < 0 && canary == 0 || b.canary >= 0 && weight(refs[b.canary]) == canary)
			if !asAsked {
				return splitPatch(route, found, t, canary), nil
			}
		}
		return nil, nil
	})
}

// RemoveCanary gives stable everything and drops the references to the canary's
// Service. A route that refers to none, or does not exist, is fine.
func (r *Routes) RemoveCanary(ctx context.Context, t signals.Target) (signals.Weights, error) {
	w, err := r.change(ctx, t, func(route *gatewayv1.HTTPRoute) ([]operation, error) {
		return removePatch(route, t), nil
	})
	if apierrors.IsNotFound(err) {
		return signals.Weights{At: time.Now().UTC()}, nil
	}
	return w, err
}

// change patches the route until the patch is empty and the route accepted.
// Somebody else's edit in between is read and built upon: the patch names the
// version it was made for, and a route that was edited after the patch yields a
// new one. Somebody who undoes the change again and again is not fought for long.
func (r *Routes) change(ctx context.Context, t signals.Target, patchFor func(*gatewayv1.HTTPRoute) ([]operation, error)) (signals.Weights, error) {
	ctx, cancel := context.WithTimeout(ctx, r.AcceptWithin)
	defer cancel()
	waitingFor := "its weights could not be set"
	for applied := 0; ; {
		route, err := r.get(ctx, t)
		switch {
		case err != nil && ctx.Err() != nil:
			return signals.Weights{}, fmt.Errorf("HTTPRoute %s/%s: %s: %w", t.Namespace, t.Route, waitingFor, ctx.Err())
		case err != nil:
			return signals.Weights{}, err
		}
		patch, err := patchFor(route)
		if err != nil {
			return signals.Weights{}, err
		}
		if len(patch) == 0 {
			ok, why := accepted(route)
			if ok {
				return observed(route, t)
			}
			waitingFor = "it has the weights asked for, but is not accepted: " + why
			wait(ctx)
			continue
		}
		if applied == attempts {
			return signals.Weights{}, fmt.Errorf("HTTPRoute %s/%s: somebody else undid its weights %d times; find out who writes it (kubectl get httproute %s -n %s -o yaml --show-managed-fields)",
				t.Namespace, t.Route, attempts, t.Route, t.Namespace)
		}
		switch err := r.patch(ctx, route, patch); {
		case err == nil:
			applied++
		case !apierrors.IsConflict(err) && ctx.Err() == nil:
			return signals.Weights{}, err
		}
	}
}

func (r *Routes) patch(ctx context.Context, route *gatewayv1.HTTPRoute, patch []operation) error {
	patch = append([]operation{{Op: "replace", Path: "/metadata/resourceVersion", Value: route.ResourceVersion}}, patch...)
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	_, err = r.clients.GatewayV1().HTTPRoutes(route.Namespace).Patch(ctx, route.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsInvalid(err):
		return conflict(err, "the API server refuses the weights of HTTPRoute %s/%s", route.Namespace, route.Name)
	case err != nil:
		return fmt.Errorf("patch HTTPRoute %s/%s: %w", route.Namespace, route.Name, err)
	}
	return nil
}

func (r *Routes) get(ctx context.Context, t signals.Target) (*gatewayv1.HTTPRoute, error) {
	route, err := r.clients.GatewayV1().HTTPRoutes(t.Namespace).Get(ctx, t.Route, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, conflict(err, "HTTPRoute %s/%s does not exist; create it or correct target.route in the catalog", t.Namespace, t.Route)
	case err != nil:
		return nil, fmt.Errorf("read HTTPRoute %s/%s: %w", t.Namespace, t.Route, err)
	}
	return route, nil
}

// observed is the split as it stands, with whether the controller has taken it.
func observed(route *gatewayv1.HTTPRoute, t signals.Target) (signals.Weights, error) {
	found, err := backends(route, t)
	if err != nil {
		return signals.Weights{}, conflict(nil, "%v", err)
	}
	w := shares(route, found)
	w.Accepted, _ = accepted(route)
	w.At = time.Now().UTC()
	return w, nil
}

// wait pauses before the route is read again, or until ctx ends.
func wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(poll):
	}
}

// conflict is an error that needs a person and is not retried.
func conflict(cause error, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), signals.ErrConflict, cause)
}
