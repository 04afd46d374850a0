package kubetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TestServerRollsOut proves that the parts work together: a Deployment's pods
// are made by the controllers and become available through the Node.
func TestServerRollsOut(t *testing.T) {
	server, err := Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	defer server.Stop()
	clients, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	go Node(t.Context(), clients, func(*corev1.Pod) string { return "" })

	labels := map[string]string{"app": "a"}
	replicas := int32(2)
	_, err = clients.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example/app:1"}}},
			},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		d, err := clients.AppsV1().Deployments("default").Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 2
	}, time.Minute, 100*time.Millisecond)
	require.NoError(t, server.InstallGatewayAPI(t.Context()))
}
