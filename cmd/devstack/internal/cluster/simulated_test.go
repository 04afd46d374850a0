package cluster

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestSimulatedCluster runs the same images as local processes behind the same
// route, and ends them when their pods end.
func TestSimulatedCluster(t *testing.T) {
	dir := t.TempDir()
	images := newImageServer(t)
	o := Options{Name: "test", StateDir: dir, Mode: Simulated, RegistryPort: images.port}
	sup, c := startCluster(t, o)
	require.Equal(t, Simulated, c.Mode)
	client := deployEcho(t, c, images.pushEcho(t))

	setWeights(t, c, 80, 20)
	requireShare(t, c, 0.2)
	setWeights(t, c, 0, 100)
	requireShare(t, c, 1)

	pods, err := client.CoreV1().Pods("echo").List(t.Context(), metav1.ListOptions{LabelSelector: "version=v1"})
	require.NoError(t, err)
	require.Len(t, pods.Items, 2)
	for _, pod := range pods.Items {
		body, err := get(t, "http://"+pod.Annotations[ProcessAnnotation], "")
		require.NoError(t, err)
		require.Equal(t, "v1", body)
	}
	_, err = client.AppsV1().Deployments("echo").Patch(t.Context(), "echo-v1", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	for _, pod := range pods.Items {
		eventually(t, func(context.Context) error {
			if _, err := get(t, "http://"+pod.Annotations[ProcessAnnotation], ""); err == nil {
				return errors.New("the process of pod " + pod.Name + " still answers")
			}
			return nil
		})
	}
	requireShare(t, c, 1)

	require.NotEmpty(t, leftovers(t, dir, identity(o), nil))
	require.NoError(t, sup.Stop(t.Context()))
	require.Empty(t, leftovers(t, dir, identity(o), nil))
}

func TestChoiceOfCluster(t *testing.T) {
	_, _, err := choose(t.Context(), "imaginary")
	require.ErrorContains(t, err, "want real, existing or simulated")

	t.Setenv(ModeVariable, Simulated)
	mode, why, err := choose(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, [2]string{Simulated, "asked for"}, [2]string{mode, why})

	t.Setenv(ModeVariable, "")
	t.Setenv("KUBECONFIG", "/somewhere")
	mode, _, err = choose(t.Context(), "")
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.Contains(t, []string{Real, Simulated}, mode, "a user's own cluster is not touched unasked by root")
	} else {
		require.Equal(t, Existing, mode)
	}
}

func TestExistingClusterNeedsAKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	_, err := copyKubeconfig(t.TempDir() + "/" + strconv.Itoa(os.Getpid()))
	require.ErrorContains(t, err, "KUBECONFIG is not set")
}
