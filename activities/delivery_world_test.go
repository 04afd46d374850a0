package activities_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/kube"
	"github.com/waybill-dev/waybill/internal/kube/kubetest"
	"github.com/waybill-dev/waybill/internal/traffic"
	"github.com/waybill-dev/waybill/signals"
)

// world is a control plane with a Gateway controller, and a node whose pods come
// up unless the test wants trouble.
type world struct {
	kubes    kubernetes.Interface
	gateways versioned.Interface
	cluster  *kube.Client
	traffic  *traffic.Routes
	notary   *signer

	mu      sync.Mutex
	trouble kubetest.Trouble
}

func (w *world) cause(trouble kubetest.Trouble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = trouble
}

func startWorld(t *testing.T) *world {
	t.Helper()
	server, err := kubetest.Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.NoError(t, server.StartTraefik(t.Context()))
	w := &world{
		kubes: kubernetes.NewForConfigOrDie(server.Config), gateways: versioned.NewForConfigOrDie(server.Config),
		notary: newSigner(t, "evidence-1"),
	}
	w.cluster, err = kube.New(server.Config)
	require.NoError(t, err)
	w.traffic, err = traffic.New(kube.Limits(server.Config))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go kubetest.Node(ctx, w.kubes, func(pod *corev1.Pod) string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.trouble == nil {
			return ""
		}
		return w.trouble(pod)
	})
	return w
}

// lane is one service in one namespace, at version v1 with four pods.
type lane struct {
	*world
	t      *testing.T
	deploy *activities.Deploy
	target signals.Target
}

func digestOf(version string) string { return signals.Digest([]byte(version)) }

func (w *world) newLane(t *testing.T, namespace string) *lane {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "api", Namespace: namespace}
	labels := map[string]string{"waybill.dev/workload": "api"}
	_, err := w.kubes.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.kubes.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(4)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/api@" + digestOf("v1")}}},
		},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.kubes.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 8080}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.gateways.GatewayV1().HTTPRoutes(namespace).Create(t.Context(), &gatewayv1.HTTPRoute{ObjectMeta: meta, Spec: gatewayv1.HTTPRouteSpec{
		CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{
			Name: kubetest.GatewayName, Namespace: new(gatewayv1.Namespace(kubetest.GatewayNamespace)),
		}}},
		Hostnames: []gatewayv1.Hostname{gatewayv1.Hostname(namespace + ".example")},
		Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: "api", Port: new(gatewayv1.PortNumber(8080))},
		}}}}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	l := &lane{world: w, t: t, target: signals.Target{
		Cluster: "local", Namespace: namespace, Stable: "api", Canary: "api-canary", Container: "app", Route: "api", Port: 8080,
		ReadyWithin: signals.Duration(time.Minute),
	}}
	l.deploy = &activities.Deploy{Cluster: w.cluster, Traffic: w.traffic, PermitKeys: []signals.PublicKey{w.notary.public(t)}}
	l.awaitStable("v1", 4)
	return l
}

func (l *lane) awaitStable(version string, ready int32) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		w, err := l.cluster.Workload(l.t.Context(), l.target, signals.TrackStable)
		return err == nil && w.Settled && w.Digest == digestOf(version) && w.Ready == ready
	}, time.Minute, 50*time.Millisecond)
}

func (l *lane) input(version string) signals.DeployInput {
	return signals.DeployInput{
		Release: "release-" + version, Run: "run", Service: "api", Environment: "prod", Target: l.target,
		Artifact: signals.Artifact{Repository: "registry.example/api", Digest: digestOf(version)},
		Permit:   l.notary.sign(l.t, inTotoPayload, statement(digestOf(version), "prod", "api", time.Now().UTC())),
	}
}

// perform executes an activity as a worker does.
func perform[Out any](l *lane, activity, in any) (Out, error) {
	l.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: l.t.Context()})
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(l.deploy)
	var out Out
	value, err := env.ExecuteActivity(activity, in)
	if err == nil && value.HasValue() {
		require.NoError(l.t, value.Get(&out))
	}
	return out, err
}

func must[Out any](l *lane, activity, in any) Out {
	l.t.Helper()
	out, err := perform[Out](l, activity, in)
	require.NoError(l.t, err)
	return out
}

func (l *lane) requireError(kind string, final bool, says string, err error) {
	l.t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(l.t, err, &app)
	require.Equal(l.t, kind, app.Type(), err.Error())
	require.Equal(l.t, final, app.NonRetryable())
	require.ErrorContains(l.t, err, says)
}

func (l *lane) weights() map[string]int32 {
	l.t.Helper()
	route, err := l.gateways.GatewayV1().HTTPRoutes(l.target.Namespace).Get(l.t.Context(), "api", metav1.GetOptions{})
	require.NoError(l.t, err)
	found := map[string]int32{}
	for _, ref := range route.Spec.Rules[0].BackendRefs {
		found[string(ref.Name)] = *ref.Weight
	}
	return found
}

func (l *lane) step(version string, replicas, weight int32) {
	l.t.Helper()
	rollout := must[signals.Rollout](l, l.deploy.EnsureCanary, signals.CanaryInput{DeployInput: l.input(version), Replicas: replicas})
	require.Equal(l.t, signals.Rollout{Name: "api-canary", Digest: digestOf(version), Desired: replicas, Ready: replicas}, rollout)
	w := must[signals.Weights](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: l.input(version), Canary: weight})
	require.True(l.t, w.Accepted)
	require.Equal(l.t, weight, w.Canary)
	require.Equal(l.t, map[string]int32{"api": 100 - weight, "api-canary": weight}, l.weights())
}

// undo runs the compensations of a release that was promoting, as the workflow
// does, and requires the lane to be as it was.
func (l *lane) undo(version string, to signals.Snapshot) {
	l.t.Helper()
	in := l.input(version)
	in.Permit = nil // a way back is never blocked by papers
	rollout := must[signals.Rollout](l, l.deploy.RestoreStable, signals.RestoreInput{DeployInput: in, To: to})
	require.Equal(l.t, to.Digest, rollout.Digest)
	w := must[signals.Weights](l, l.deploy.SetWeight, signals.WeightInput{DeployInput: in, Back: true})
	require.EqualValues(l.t, 100, w.Stable)
	must[any](l, l.deploy.RemoveCanary, in)
	after := must[signals.Snapshot](l, l.deploy.Observe, in)
	require.Equal(l.t, to.TemplateHash, after.TemplateHash)
	require.False(l.t, after.CanaryExists)
	require.Zero(l.t, after.CanaryWeight)
}

// scaleStable sets stable's size as an autoscaler does, by the scale subresource.
func (l *lane) scaleStable(replicas int32) {
	l.t.Helper()
	deployments := l.kubes.AppsV1().Deployments(l.target.Namespace)
	require.NoError(l.t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		scale, err := deployments.GetScale(l.t.Context(), "api", metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = replicas
		_, err = deployments.UpdateScale(l.t.Context(), "api", scale, metav1.UpdateOptions{})
		return err
	}))
}
