package cluster

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// TestRealCluster is one cluster's life: pods from a registry, traffic by
// weight, use as an existing cluster, and an end that leaves nothing.
func TestRealCluster(t *testing.T) {
	dir := t.TempDir()
	images := newImageServer(t)
	o := Options{Name: "test", StateDir: dir, Mode: Real, RegistryPort: images.port, OnNetwork: images.alsoOn(t)}
	sup, c := startCluster(t, o)
	require.Equal(t, Real, c.Mode)
	client := deployEcho(t, c, images.pushEcho(t))
	pods, err := client.CoreV1().Pods("echo").List(t.Context(), metav1.ListOptions{LabelSelector: "version=v2"})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	pod := pods.Items[0]

	t.Run("pods are reached from the machine", func(t *testing.T) {
		body, err := get(t, "http://"+pod.Status.PodIP+":8080/", "")
		require.NoError(t, err)
		require.Equal(t, "v2", body)
	})
	t.Run("pods reach each other through a Service", func(t *testing.T) {
		service, err := client.CoreV1().Services("echo").Get(t.Context(), "echo-v1", metav1.GetOptions{})
		require.NoError(t, err)
		eventually(t, func(context.Context) error {
			body, err := get(t, "http://"+pod.Status.PodIP+":8080/relay?url=http://"+service.Spec.ClusterIP, "")
			if err == nil {
				require.Equal(t, "v1", body)
			}
			return err
		})
	})
	t.Run("the API server reaches the kubelet", func(t *testing.T) {
		stream, err := client.CoreV1().Pods("echo").GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(t.Context())
		require.NoError(t, err)
		defer func() { _ = stream.Close() }()
		text, err := io.ReadAll(stream)
		require.NoError(t, err)
		require.Contains(t, string(text), "echo serves version v2")
	})
	t.Run("the route splits requests by weight", func(t *testing.T) {
		setWeights(t, c, 80, 20)
		requireShare(t, c, 0.2)
		setWeights(t, c, 0, 100)
		requireShare(t, c, 1)
		setWeights(t, c, 100, 0)
		requireShare(t, c, 0)
	})
	t.Run("the ingress counts requests by Service", func(t *testing.T) {
		text, err := get(t, c.TraefikMetrics, "")
		require.NoError(t, err)
		require.Regexp(t, `traefik_service_requests_total\{[^}]*service="[^"]*echo-v2[^"]*"`, text)
	})
	t.Run("it serves as an existing cluster", func(t *testing.T) { useAsExisting(t, c) })
	t.Run("another stack beside it leaves nothing when it is killed", func(t *testing.T) { killBeside(t) })

	id := identity(o)
	sockets := shimSockets(t, id)
	require.NotEmpty(t, leftovers(t, dir, id, sockets), "the look for leftovers sees nothing")
	require.NoError(t, sup.Stop(t.Context()))
	require.Empty(t, leftovers(t, dir, id, sockets))
}

// requireShare sends 1,000 requests and wants v2's part of them within five
// standard deviations of its weight.
func requireShare(t *testing.T, c *Cluster, share float64) {
	t.Helper()
	const n = 1000
	got, err := count(t, c, n)
	require.NoError(t, err)
	require.Equal(t, n, got["v1"]+got["v2"], "answers: %v", got)
	require.InDelta(t, n*share, got["v2"], 5*math.Sqrt(n*share*(1-share)))
}

// useAsExisting points a second stack at the running cluster.
func useAsExisting(t *testing.T, c *Cluster) {
	t.Helper()
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	t.Setenv(portVariable, "8000")
	sup, other := startCluster(t, Options{Name: "guest", StateDir: t.TempDir(), Mode: Existing})
	require.Equal(t, Existing, other.Mode)
	require.Equal(t, c.IngressURL, other.IngressURL)
	require.Equal(t, c.HostAddress, other.HostAddress)
	setWeights(t, other, 50, 50)
	require.NoError(t, sup.Stop(t.Context()))
	client, err := clientFor(c.Kubeconfig)
	require.NoError(t, err)
	eventually(t, func(ctx context.Context) error {
		namespace, err := client.CoreV1().Namespaces().Get(ctx, GatewayNamespace, metav1.GetOptions{})
		if err == nil && namespace.DeletionTimestamp == nil {
			t.Error("the guest left its Gateway behind")
		}
		return nil
	})
}

var _ = proc.RegisterHelper("test-cluster", func(args []string) error {
	ctx := context.Background()
	sup, err := proc.New(args[0])
	if err != nil {
		return err
	}
	c, err := Start(ctx, sup, Options{Name: "victim", StateDir: args[0], Tools: args[1], Mode: Real})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], "up"), []byte(c.Kubeconfig), 0o600); err != nil {
		return err
	}
	select {}
})

// killBeside starts a second stack in a process of its own, kills that with
// SIGKILL while pods run, and waits for its guard.
func killBeside(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	id := identity(Options{Name: "victim", StateDir: dir})
	argv, err := proc.HelperArgv("test-cluster", dir, toolsDir(t))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	eventually(t, func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "up"))
		return err
	})
	kubeconfig, err := os.ReadFile(filepath.Join(dir, "up"))
	require.NoError(t, err)
	applyFile(t, &Cluster{Kubeconfig: string(kubeconfig)}, "testdata/idle.yaml", "${IMAGE}", pauseImage)
	client, err := clientFor(string(kubeconfig))
	require.NoError(t, err)
	eventually(t, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "idle", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 2 {
			err = fmt.Errorf("%+v", d.Status)
		}
		return err
	})
	sockets := shimSockets(t, id)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	// The lock is free when the guard is through.
	sup, err := proc.New(dir)
	require.NoError(t, err, stderr.String())
	require.NoError(t, sup.Stop(t.Context()))
	require.Empty(t, leftovers(t, dir, id, sockets))
}
