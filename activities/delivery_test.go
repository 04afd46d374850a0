package activities_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waybill-dev/waybill/signals"
)

func TestDelivery(t *testing.T) {
	w := startWorld(t)
	scenarios := map[string]func(*lane){
		"forward": forward, "no-permit": noPermit, "no-capacity": noCapacity, "canary-never-ready": canaryNeverReady,
		"promotion-fails": promotionFails, "stable-shrunk": stableShrunk, "stable-grown": stableGrown, "canary-deleted": canaryDeleted,
		"canary-changed": canaryChanged, "nothing-happened": nothingHappened, "stable-gone": stableGone,
	}
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { w.cause(nil) })
			scenarios[name](w.newLane(t, name))
		})
	}
}

func forward(l *lane) {
	l.step("v2", 1, 5)
	l.step("v2", 2, 50)
	l.step("v2", 4, 100)
	seen := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	require.EqualValues(l.t, 100, seen.CanaryWeight)
	require.True(l.t, seen.CanaryExists)
	for range 2 { // a second time, as after a crash before the result was reported
		rollout := must[signals.Rollout](l, l.deploy.PromoteStable, l.input("v2"))
		require.Equal(l.t, signals.Rollout{Name: "api", Digest: digestOf("v2"), Desired: 4, Ready: 4}, rollout)
	}
	must[signals.Weights](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2")})
	for range 2 {
		must[any](l, l.deploy.RemoveCanary, l.input("v2"))
	}
	require.Equal(l.t, map[string]int32{"api": 100}, l.weights())
	seen = must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	require.Equal(l.t, digestOf("v2"), seen.Digest)
	require.False(l.t, seen.CanaryExists)
}

func noPermit(l *lane) {
	in := l.input("v2")
	in.Permit = l.input("v3").Permit
	for _, activity := range []any{l.deploy.PromoteStable, l.deploy.EnsureCanary, l.deploy.SetWeight} {
		var err error
		switch activity := activity.(type) {
		case func(context.Context, signals.CanaryInput) (signals.Rollout, error):
			_, err = perform[any](l, activity, signals.CanaryInput{DeployInput: in, Replicas: 1})
		case func(context.Context, signals.WeightInput) (signals.Weights, error):
			_, err = perform[any](l, activity, signals.WeightInput{DeployInput: in, Canary: 5})
		default:
			_, err = perform[any](l, activity, in)
		}
		l.requireError(signals.ErrPermit, true, "the permit is for another artifact", err)
	}
	seen := must[signals.Snapshot](l, l.deploy.Observe, in)
	require.Equal(l.t, digestOf("v1"), seen.Digest)
	require.False(l.t, seen.CanaryExists)
}

// noCapacity: a stable track with broken pods gets no canary beside it that it
// would have to take over from.
func noCapacity(l *lane) {
	l.step("v2", 1, 5)
	l.scaleStable(1)
	l.awaitStable("v1", 1)
	_, err := perform[any](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2"), Canary: 25})
	l.requireError(signals.ErrCapacity, false, "1 ready pods, 3 of 4 are needed for 75%", err)
	require.Equal(l.t, map[string]int32{"api": 95, "api-canary": 5}, l.weights())
}

// stableGrown: an autoscaler doubled stable after the canary was sized.
func stableGrown(l *lane) {
	l.step("v2", 1, 5)
	l.scaleStable(8)
	l.awaitStable("v1", 8)
	w := must[signals.Weights](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2"), Canary: 50})
	require.EqualValues(l.t, 50, w.Canary)
	canary, err := l.cluster.Workload(l.t.Context(), l.target, signals.TrackCanary)
	require.NoError(l.t, err)
	require.EqualValues(l.t, 4, canary.Ready)
}

func canaryNeverReady(l *lane) {
	l.cause(func(p *corev1.Pod) string {
		if p.Spec.Containers[0].Image == "registry.example/api@"+digestOf("v2") {
			return "ImagePullBackOff"
		}
		return ""
	})
	l.target.ReadyWithin = signals.Duration(3 * time.Second)
	_, err := perform[any](l, l.deploy.EnsureCanary, signals.CanaryInput{DeployInput: l.input("v2"), Replicas: 2})
	l.requireError(signals.ErrNotReady, true, "within 3s: 0 of 2 pods ready, blocked by ImagePullBackOff on 2 of 2 pods", err)
	to := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	l.undo("v2", to)
}

// promotionFails: the canary served everything well, and stable can't start the
// same digest. Stable goes back first, traffic follows.
func promotionFails(l *lane) {
	to := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	l.step("v2", 4, 100)
	l.cause(func(p *corev1.Pod) string {
		if p.Labels["waybill.dev/workload"] == "api" && p.Spec.Containers[0].Image == "registry.example/api@"+digestOf("v2") {
			return "CrashLoopBackOff"
		}
		return ""
	})
	l.target.ReadyWithin = signals.Duration(3 * time.Second)
	_, err := perform[any](l, l.deploy.PromoteStable, l.input("v2"))
	l.requireError(signals.ErrNotReady, true, "CrashLoopBackOff", err)
	_, err = perform[any](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2")})
	l.requireError(signals.ErrCapacity, false, `stable "api"`, err)
	require.Equal(l.t, map[string]int32{"api": 0, "api-canary": 100}, l.weights(), "no traffic to a broken stable")
	l.target.ReadyWithin = signals.Duration(time.Minute)
	l.undo("v2", to)
}

// stableShrunk: an autoscaler took the idle stable track down to one pod. Back
// goes what that one can carry, the rest once the others are there again.
func stableShrunk(l *lane) {
	l.step("v2", 4, 100)
	l.scaleStable(1)
	l.awaitStable("v1", 1)
	shrunk := time.Now()
	l.cause(func(p *corev1.Pod) string {
		if p.Labels["waybill.dev/workload"] == "api" && p.CreationTimestamp.After(shrunk.Add(-time.Second)) && p.Status.Phase != corev1.PodRunning {
			return corev1.PodReasonUnschedulable
		}
		return ""
	})
	partly := make(chan bool)
	go func() {
		partly <- poll(30*time.Second, func() bool {
			w, err := l.traffic.Weights(l.t.Context(), l.target)
			return err == nil && w.Stable == 25 && w.Accepted
		})
		l.cause(nil)
	}()
	w := must[signals.Weights](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2"), Back: true})
	require.True(l.t, <-partly, "a quarter of the traffic went back first")
	require.EqualValues(l.t, 100, w.Stable)
	l.awaitStable("v1", 4)
}

func poll(limit time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

// canaryDeleted: somebody deleted the canary while it had traffic.
func canaryDeleted(l *lane) {
	to := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	l.step("v2", 1, 25)
	require.NoError(l.t, l.kubes.AppsV1().Deployments(l.target.Namespace).Delete(l.t.Context(), "api-canary", metav1.DeleteOptions{}))
	require.NoError(l.t, l.kubes.CoreV1().Services(l.target.Namespace).Delete(l.t.Context(), "api-canary", metav1.DeleteOptions{}))
	_, err := perform[any](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2"), Canary: 50})
	l.requireError(signals.ErrConflict, true, "changed outside of Waybill", err)
	l.undo("v2", to)
}

func canaryChanged(l *lane) {
	l.step("v2", 1, 5)
	_, err := l.kubes.AppsV1().Deployments(l.target.Namespace).Patch(l.t.Context(), "api-canary", types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"registry.example/api@`+digestOf("v9")+`"}]}}}}`), metav1.PatchOptions{})
	require.NoError(l.t, err)
	_, err = perform[any](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input("v2"), Canary: 10})
	l.requireError(signals.ErrConflict, true, "changed outside of Waybill", err)
}

// nothingHappened: undos are registered before their steps, so each must accept
// that its step never ran.
func nothingHappened(l *lane) {
	to := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	before, err := l.kubes.AppsV1().Deployments(l.target.Namespace).Get(l.t.Context(), "api", metav1.GetOptions{})
	require.NoError(l.t, err)
	l.undo("v2", to)
	after, err := l.kubes.AppsV1().Deployments(l.target.Namespace).Get(l.t.Context(), "api", metav1.GetOptions{})
	require.NoError(l.t, err)
	require.Equal(l.t, before.Generation, after.Generation)
	_, err = l.kubes.AppsV1().Deployments(l.target.Namespace).Get(l.t.Context(), "api-canary", metav1.GetOptions{})
	require.True(l.t, apierrors.IsNotFound(err))
}

// stableGone: what can't be put back is said, and pages.
func stableGone(l *lane) {
	to := must[signals.Snapshot](l, l.deploy.Observe, l.input("v2"))
	require.NoError(l.t, l.kubes.AppsV1().Deployments(l.target.Namespace).Delete(l.t.Context(), "api", metav1.DeleteOptions{}))
	l.target.ReadyWithin = signals.Duration(time.Second)
	_, err := perform[any](l, l.deploy.RestoreStable, signals.RestoreInput{DeployInput: l.input("v2"), To: to})
	require.ErrorContains(l.t, err, "the stable Deployment stable-gone/api does not exist")
	_, err = perform[any](l, l.deploy.Observe, l.input("v2"))
	l.requireError(signals.ErrConflict, true, "deploy the service once", err)
}
