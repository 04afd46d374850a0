package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/internal/testtools"
)

func TestMain(m *testing.M) {
	proc.Reexec()
	os.Exit(m.Run())
}

func toolsDir(t *testing.T) string {
	t.Helper()
	root, err := testtools.Root()
	require.NoError(t, err)
	return filepath.Join(root, ".tools", "bin")
}

// imageServer is a registry on loopback, and on the cluster's side once that
// is known.
type imageServer struct {
	handler http.Handler
	port    int
}

func newImageServer(t *testing.T) *imageServer {
	t.Helper()
	s := &imageServer{handler: registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))}
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.port = server.Listener.Addr().(*net.TCPAddr).Port
	return s
}

func (s *imageServer) alsoOn(t *testing.T) func(string) error {
	t.Helper()
	return func(host string) error {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(s.port)))
		if err != nil {
			return err
		}
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: time.Minute}
		t.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(listener) }()
		return nil
	}
}

// pushEcho builds testdata/echo into an image and returns its name by digest.
func (s *imageServer) pushEcho(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "echo")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./testdata/echo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	content, err := os.ReadFile(binary)
	require.NoError(t, err)
	image, err := imageOf("echo", content)
	require.NoError(t, err)
	digest, err := image.Digest()
	require.NoError(t, err)
	reference, err := name.NewDigest(fmt.Sprintf("127.0.0.1:%d/echo@%s", s.port, digest))
	require.NoError(t, err)
	require.NoError(t, remote.Write(reference, image))
	return reference.String()
}

// startCluster starts a cluster for a test that stops it by itself.
func startCluster(t *testing.T, o Options) (*proc.Supervisor, *Cluster) {
	t.Helper()
	sup, err := proc.New(o.StateDir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sup.Stop(context.Background()) })
	sup.OnExit(func(part string, err error) { t.Errorf("%s: %v", part, err) })
	o.Tools = toolsDir(t)
	began := time.Now()
	o.Progress = func(part string, took time.Duration) { t.Logf("%-24s %5.1f s", part, took.Seconds()) }
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c, err := Start(ctx, sup, o)
	require.NoError(t, err)
	t.Logf("%-24s %5.1f s", "all", time.Since(began).Seconds())
	return sup, c
}

// deployEcho applies two versions of echo and waits until both are available.
func deployEcho(t *testing.T, c *Cluster, image string) kubernetes.Interface {
	t.Helper()
	applyFile(t, c, "testdata/app.yaml", "${IMAGE}", image)
	client, err := clientFor(c.Kubeconfig)
	require.NoError(t, err)
	eventually(t, func(ctx context.Context) error {
		list, err := client.AppsV1().Deployments("echo").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, d := range list.Items {
			if d.Status.AvailableReplicas != *d.Spec.Replicas {
				return fmt.Errorf("%s: %+v", d.Name, d.Status)
			}
		}
		return nil
	})
	return client
}

func applyFile(t *testing.T, c *Cluster, file string, replace ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	a, err := newApplier(c.Kubeconfig)
	require.NoError(t, err)
	require.NoError(t, a.apply(t.Context(), []byte(strings.NewReplacer(replace...).Replace(string(text)))))
}

// setWeights splits the route and waits until v2 answers if, and only if, it
// has a weight.
func setWeights(t *testing.T, c *Cluster, v1, v2 int) {
	t.Helper()
	applyFile(t, c, "testdata/route.yaml", "${V1}", strconv.Itoa(v1), "${V2}", strconv.Itoa(v2))
	eventually(t, func(context.Context) error {
		got, err := count(t, c, 40)
		if err != nil || (got["v1"] > 0) != (v1 > 0) || (got["v2"] > 0) != (v2 > 0) {
			return fmt.Errorf("answers by version %v: %w", got, err)
		}
		return nil
	})
}

// count sends n requests through the Gateway and counts the answers.
func count(t *testing.T, c *Cluster, n int) (map[string]int, error) {
	t.Helper()
	answers := map[string]int{}
	for range n {
		body, err := get(t, c.IngressURL, "echo.example")
		if err != nil {
			return answers, err
		}
		answers[body]++
	}
	return answers, nil
}

func get(t *testing.T, url, host string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = host
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status + ": " + string(body))
	}
	return string(body), err
}

func eventually(t *testing.T, step func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	require.NoError(t, poll(ctx, step))
}

// leftovers lists what a stack of this state directory and id left on the
// machine; sockets are those that its shims had.
func leftovers(t *testing.T, stateDir, id string, sockets []string) []string {
	t.Helper()
	var left []string
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environs {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), "WAYBILL_STACK="+stateDir) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			left = append(left, "process "+file+" "+string(cmdline))
		}
	}
	pids, err := containerProcesses(id)
	require.NoError(t, err)
	for _, pid := range pids {
		left = append(left, fmt.Sprintf("container process %d", pid))
	}
	groups, err := cgroups(id)
	require.NoError(t, err)
	left = append(left, groups...)
	table, err := mounts()
	require.NoError(t, err)
	for _, m := range table {
		if strings.Contains(m.at, id) || strings.HasPrefix(m.at, stateDir) {
			left = append(left, "mount "+m.at)
		}
	}
	n := networkOf(id)
	for _, file := range []string{n.file(), "/sys/class/net/" + n.cable, nodeDir(id)} {
		if _, err := os.Lstat(file); err == nil {
			left = append(left, file)
		}
	}
	for _, socket := range sockets {
		if _, err := os.Lstat(socket); err == nil {
			left = append(left, socket)
		}
	}
	return left
}

// shimSockets lists the sockets of a running node's shims.
func shimSockets(t *testing.T, id string) []string {
	t.Helper()
	files, err := shimAddresses(nodeDir(id))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
