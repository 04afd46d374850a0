package kube

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/kube/kubetest"
	"github.com/waybill-dev/waybill/signals"
)

const (
	waitLong = time.Minute
	tick     = 50 * time.Millisecond
)

var _ activities.Cluster = (*Client)(nil)

// One control plane serves the package; each test has a namespace.
var (
	administrator *rest.Config
	clients       kubernetes.Interface
	client        *Client
	// troubles maps an image to what is wrong with pods that run it.
	troubles sync.Map
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, setUp)) }

func setUp(ctx context.Context, server *kubetest.Server) (err error) {
	administrator = server.Config
	if clients, err = kubernetes.NewForConfig(server.Config); err != nil {
		return err
	}
	if client, err = New(server.Config); err != nil {
		return err
	}
	go kubetest.Node(ctx, clients, func(pod *corev1.Pod) string {
		reason, _ := troubles.Load(pod.Spec.Containers[0].Image)
		text, _ := reason.(string)
		return text
	})
	return nil
}

func digest(version string) string { return signals.Digest([]byte(version)) }

func image(version string) string { return "registry.example/payments-api@" + digest(version) }

// lane is a namespace with a stable Deployment and its Service.
type lane struct {
	t      *testing.T
	target signals.Target
}

func newLane(t *testing.T, change func(*appsv1.Deployment)) *lane {
	t.Helper()
	made, err := clients.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "lane-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	namespace := made.Name
	_, err = clients.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"limit": "10"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = clients.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "login"}, Data: map[string][]byte{"password": []byte("one")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	labels := map[string]string{"app.kubernetes.io/name": "payments-api", WorkloadLabel: "payments-api"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "payments-api", Annotations: map[string]string{"team": "payments"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "app", Image: image("v1"),
					EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
					Env: []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
						LocalObjectReference: corev1.LocalObjectReference{Name: "login"}, Key: "password",
					}}}},
				}, {Name: "proxy", Image: "registry.example/proxy:1"}}},
			},
		},
	}
	if change != nil {
		change(d)
	}
	_, err = clients.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = clients.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "payments-api"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{WorkloadLabel: "payments-api"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 8080, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	l := &lane{t: t, target: signals.Target{
		Cluster: "local", Namespace: namespace, Stable: "payments-api", Canary: "payments-api-canary",
		Container: "app", Route: "payments-api", Port: 8080, CanaryReplicas: 1,
	}}
	return l
}

func (l *lane) input(version string) signals.DeployInput {
	return signals.DeployInput{
		Release: "release-" + version, Run: "run", Service: "payments-api", Environment: "prod", Ticket: "CHG-1", Target: l.target,
		Artifact: signals.Artifact{Repository: "registry.example/payments-api", Digest: digest(version)},
	}
}

func (l *lane) canary(version string, replicas int32) signals.CanaryInput {
	return signals.CanaryInput{DeployInput: l.input(version), Replicas: replicas}
}

// await polls a track until it is as wanted and returns it.
func (l *lane) await(track string, wanted func(activities.Workload) bool) activities.Workload {
	l.t.Helper()
	var last activities.Workload
	require.Eventually(l.t, func() bool {
		w, err := client.Workload(l.t.Context(), l.target, track)
		last = w
		return err == nil && wanted(w)
	}, time.Minute, 50*time.Millisecond, "last seen: %s", seen{&last})
	return last
}

// seen prints a workload at the time of a failure.
type seen struct{ w *activities.Workload }

func (s seen) String() string { return fmt.Sprintf("%+v", *s.w) }

func runs(version string) func(activities.Workload) bool {
	return func(w activities.Workload) bool { return w.Settled && w.Digest == digest(version) }
}

func (l *lane) deployment(name string) *appsv1.Deployment {
	l.t.Helper()
	d, err := clients.AppsV1().Deployments(l.target.Namespace).Get(l.t.Context(), name, metav1.GetOptions{})
	require.NoError(l.t, err)
	return d
}
