package deploy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startup bounds the start of etcd and the API server on a busy machine.
const startup = 3 * time.Minute

// apiServer is a real etcd and kube-apiserver on loopback, with kubectl to talk
// to it. There is no controller and no node: what is tested is what the server
// itself decides, that is schema, defaulting, RBAC and Pod Security admission.
type apiServer struct {
	binary string
	flags  []string // kubectl's connection flags
}

// tool builds a pinned tool where it is missing and returns the folder of tools.
func tool(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tools/install.sh", name).CombinedOutput()
	require.NoErrorf(t, err, "install %s: %s", name, out)
	dir, err := filepath.Abs("../.tools/bin")
	require.NoError(t, err)
	return dir
}

// startAPIServer starts the server and stops it with the test.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(tool(t, "kubernetes"), "kubernetes")
	ports := freePorts(t, 3)
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	server := fmt.Sprintf("https://127.0.0.1:%d", ports[2])

	startProcess(t, binary, "etcd",
		"--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)

	const token = "deploy-test"
	tokens := filepath.Join(dir, "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte(token+",deploy-test,1,system:masters\n"), 0o600))
	accounts := filepath.Join(dir, "accounts.key")
	writeKey(t, accounts)
	certs := filepath.Join(dir, "certs")
	startProcess(t, binary, "kube-apiserver",
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
		"--cert-dir="+certs, "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts)

	s := &apiServer{binary: binary, flags: []string{
		"--server=" + server, "--token=" + token, "--certificate-authority=" + filepath.Join(certs, "apiserver.crt"),
	}}
	require.Eventually(t, func() bool {
		_, err := s.kubectl(t, nil, "get", "--raw=/readyz")
		return err == nil
	}, startup, 200*time.Millisecond, "the API server did not become ready")
	return s
}

// kubectl runs kubectl against the server and returns what it printed; a failure
// carries what it printed on standard error.
func (s *apiServer) kubectl(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	return kubectl(t, s.binary, stdin, append(args, s.flags...)...)
}

// kubectl runs the kubectl of the multi-call binary.
func kubectl(t *testing.T, binary string, stdin []byte, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+os.TempDir())
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// startProcess starts a long-running component of the multi-call binary.
func startProcess(t *testing.T, binary string, args ...string) {
	t.Helper()
	start(t, exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...))
}

// start starts cmd and kills it with the test, whose log shows the end of its
// output on failure; the kernel kills it if the test's process dies first.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("end of the output of %v:\n%s", cmd.Args[:2], output.tail(4000))
		}
	})
}

// freePorts reserves n different loopback ports and lets go of them.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		var config net.ListenConfig
		listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// writeKey writes a new private key for service account tokens.
func writeKey(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	require.NoError(t, os.WriteFile(path, block, 0o600))
}

// syncBuffer collects a process's output while the test may read it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf.String()
	return text[max(0, len(text)-n):]
}
