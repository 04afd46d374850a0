package kube

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

func requireConflict(t *testing.T, err error, text string) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, signals.ErrConflict, app.Type())
	require.True(t, app.NonRetryable())
	require.ErrorContains(t, err, text)
}

func TestCanaryComesUpBesideStable(t *testing.T) {
	l := newLane(t, nil)
	l.await(signals.TrackStable, runs("v1"))
	before := l.deployment("payments-api")

	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 1)))
	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 1)), "a second time, as after a crash")
	w := l.await(signals.TrackCanary, runs("v2"))
	require.True(t, w.Exists)
	require.EqualValues(t, 1, w.Ready)

	d := l.deployment("payments-api-canary")
	require.Equal(t, map[string]string{WorkloadLabel: "payments-api-canary"}, d.Spec.Selector.MatchLabels)
	require.Equal(t, "payments-api", d.Spec.Template.Labels["app.kubernetes.io/name"])
	require.Equal(t, "CHG-1", d.Spec.Template.Annotations[TicketAnnotation])
	require.Equal(t, "release-v2", d.Spec.Template.Annotations[ReleaseAnnotation])
	require.Equal(t, "registry.example/proxy:1", d.Spec.Template.Spec.Containers[1].Image)
	require.Equal(t, before.Spec.Template.Spec.Containers[0].Env, d.Spec.Template.Spec.Containers[0].Env)

	service, err := clients.CoreV1().Services(l.target.Namespace).Get(t.Context(), "payments-api-canary", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{WorkloadLabel: "payments-api-canary"}, service.Spec.Selector)
	require.Equal(t, "http", service.Spec.Ports[0].Name)

	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 3)))
	require.EqualValues(t, 3, l.await(signals.TrackCanary, func(w activities.Workload) bool { return w.Settled && w.Desired == 3 }).Ready)
	require.Equal(t, before.Spec, l.deployment("payments-api").Spec, "stable is left alone")

	for range 2 {
		require.NoError(t, client.RemoveCanary(t.Context(), l.target))
		w, err := client.Workload(t.Context(), l.target, signals.TrackCanary)
		require.NoError(t, err)
		require.False(t, w.Exists)
	}
	_, err = clients.CoreV1().Services(l.target.Namespace).Get(t.Context(), "payments-api-canary", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
	l.await(signals.TrackStable, runs("v1"))
}

func TestLeftoverCanaryTakesNewDigest(t *testing.T) {
	l := newLane(t, nil)
	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 2)))
	l.await(signals.TrackCanary, runs("v2"))
	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v3", 1)))
	w := l.await(signals.TrackCanary, runs("v3"))
	require.EqualValues(t, 1, w.Desired)
	require.Equal(t, "release-v3", l.deployment("payments-api-canary").Annotations[ReleaseAnnotation])
}

func TestForeignCanaryIsLeftAlone(t *testing.T) {
	l := newLane(t, nil)
	labels := map[string]string{"app": "other"}
	_, err := clients.AppsV1().Deployments(l.target.Namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "payments-api-canary"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image("v9")}}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	requireConflict(t, client.ApplyCanary(t.Context(), l.canary("v2", 1)), "is not Waybill's")
	require.NoError(t, client.RemoveCanary(t.Context(), l.target))
	require.Equal(t, image("v9"), l.deployment("payments-api-canary").Spec.Template.Spec.Containers[0].Image)
}

func TestStableServiceThatWouldCatchTheCanaryIsRefused(t *testing.T) {
	l := newLane(t, nil)
	_, err := clients.CoreV1().Services(l.target.Namespace).Patch(t.Context(), "payments-api", types.MergePatchType,
		[]byte(`{"spec":{"selector":{"waybill.dev/workload":null,"app.kubernetes.io/name":"payments-api"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	requireConflict(t, client.ApplyCanary(t.Context(), l.canary("v2", 1)), "would select the canary's pods too")
}

func TestWrongTargetsSayWhatToDo(t *testing.T) {
	l := newLane(t, nil)
	in := l.canary("v2", 1)
	in.Target.Container = "main"
	requireConflict(t, client.ApplyCanary(t.Context(), in), `no container "main"`)
	in.Target.Stable = "missing"
	requireConflict(t, client.ApplyCanary(t.Context(), in), "deploy the service once")
	w, err := client.Workload(t.Context(), in.Target, signals.TrackStable)
	require.NoError(t, err)
	require.False(t, w.Exists)
}

func TestBlockedNamesTheReason(t *testing.T) {
	for _, reason := range []string{"ImagePullBackOff", "CrashLoopBackOff", "Unschedulable", "CreateContainerConfigError"} {
		t.Run(reason, func(t *testing.T) {
			l := newLane(t, nil)
			version := "bad-" + reason
			troubles.Store(image(version), reason)
			require.NoError(t, client.ApplyCanary(t.Context(), l.canary(version, 2)))
			w := l.await(signals.TrackCanary, func(w activities.Workload) bool { return w.Blocked != "" })
			require.Contains(t, w.Blocked, reason)
			require.False(t, w.Settled)
			require.Zero(t, w.Ready)
		})
	}
	t.Run("quota", func(t *testing.T) {
		l := newLane(t, nil)
		l.await(signals.TrackStable, runs("v1"))
		_, err := clients.CoreV1().ResourceQuotas(l.target.Namespace).Create(t.Context(), &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "pods"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			q, err := clients.CoreV1().ResourceQuotas(l.target.Namespace).Get(t.Context(), "pods", metav1.GetOptions{})
			return err == nil && q.Status.Used.Pods().Value() == 2
		}, time.Minute, 50*time.Millisecond)
		require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 1)))
		w := l.await(signals.TrackCanary, func(w activities.Workload) bool { return w.Blocked != "" })
		require.Contains(t, w.Blocked, "exceeded quota")
	})
}

// TestAutoscaledStable: an autoscaler that shrinks the idle stable track must not
// shrink what counts as the lane's full capacity, and nothing of it is touched.
func TestAutoscaledStable(t *testing.T) {
	l := newLane(t, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
	l.await(signals.TrackStable, runs("v1"))
	hpa, err := clients.AutoscalingV2().HorizontalPodAutoscalers(l.target.Namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "payments-api"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "payments-api"},
			MinReplicas:    new(int32(1)), MaxReplicas: 10,
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 5)))

	shrink(t, l, 1)
	require.NoError(t, client.ApplyCanary(t.Context(), l.canary("v2", 5)), "again after the autoscaler acted")
	w := l.await(signals.TrackStable, func(w activities.Workload) bool { return w.Settled && w.Ready == 1 })
	require.EqualValues(t, 5, w.Full)

	require.NoError(t, client.Scale(t.Context(), l.target, w.Full))
	l.await(signals.TrackStable, func(w activities.Workload) bool { return w.Settled && w.Ready == 5 })
	require.NoError(t, client.Scale(t.Context(), l.target, 3), "asking for fewer never shrinks")
	require.EqualValues(t, 5, *l.deployment("payments-api").Spec.Replicas)

	require.NoError(t, client.RemoveCanary(t.Context(), l.target))
	_, err = clients.AppsV1().Deployments(l.target.Namespace).Get(t.Context(), "payments-api-canary", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "nothing is left that an autoscaler could revive")
	after, err := clients.AutoscalingV2().HorizontalPodAutoscalers(l.target.Namespace).Get(t.Context(), "payments-api", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, hpa.Spec, after.Spec)
}

// shrink scales stable as an autoscaler does, by the scale subresource.
func shrink(t *testing.T, l *lane, to int32) {
	t.Helper()
	deployments := clients.AppsV1().Deployments(l.target.Namespace)
	require.NoError(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		scale, err := deployments.GetScale(t.Context(), "payments-api", metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = to
		_, err = deployments.UpdateScale(t.Context(), "payments-api", scale, metav1.UpdateOptions{})
		return err
	}))
}
