package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/testtools"
)

// binary is the daemon as it is deployed; tests run it as a process.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "waybilld-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		defer apitest.StopTemporal()
		binary = filepath.Join(dir, "waybilld")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the daemon: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// site is a directory with everything that a configuration names.
type site struct {
	t         *testing.T
	dir       string
	ops, apiT string // addresses
}

func newSite(t *testing.T, temporal string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), ops: free(t), apiT: free(t)}
	for _, name := range []string{"gateway", "gateway-next", "evidence", "payments-ci", "builder", "tests", "source", "scanner"} {
		s.key(name)
	}
	for _, name := range []string{"login-secret", "slack-token", "slack-secret", "directory-token"} {
		require.NoError(t, os.WriteFile(s.path("keys/"+name), []byte("secret of "+name+"\n"), 0o600))
	}
	s.catalog()
	root, err := testtools.Root()
	require.NoError(t, err)
	kubeconfig := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n" +
		"contexts: [{name: c, context: {cluster: c}}]\n"
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "kubeconfig"), []byte(kubeconfig), 0o600))
	text := strings.NewReplacer("127.0.0.1:7233", temporal, "127.0.0.1:9090", s.ops, "127.0.0.1:8080", s.apiT,
		"/etc/waybill/policies", filepath.Join(root, "policies")).Replace(full)
	require.NoError(t, os.WriteFile(s.path("waybilld.yaml"), []byte(text), 0o600))
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) key(name string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(s.t, err)
	require.NoError(s.t, os.MkdirAll(s.path("keys"), 0o700))
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "PRIVATE KEY", Bytes: private}, name + ".pub": {Type: "PUBLIC KEY", Bytes: public},
	} {
		require.NoError(s.t, os.WriteFile(s.path("keys/"+file), pem.EncodeToMemory(block), 0o600))
	}
}

// catalog renders the demo's catalog.
func (s *site) catalog() {
	s.t.Helper()
	source, err := os.ReadFile("../../deploy/demo/catalog/payments-api.yaml.tmpl")
	require.NoError(s.t, err)
	parsed, err := template.New("demo").Delims("[[", "]]").Option("missingkey=error").Parse(string(source))
	require.NoError(s.t, err)
	var out bytes.Buffer
	require.NoError(s.t, parsed.Execute(&out, map[string]string{
		"Registry": "127.0.0.1:5000", "Cluster": "local", "KeysDir": s.path("keys"),
		"Source": "https://git.example/payments/payments-api", "Builder": "https://ci.example/builders/payments/v1",
	}))
	require.NoError(s.t, os.MkdirAll(s.path("catalog"), 0o700))
	require.NoError(s.t, os.WriteFile(s.path("catalog/payments-api.yaml"), out.Bytes(), 0o600))
}

func free(t *testing.T) string {
	t.Helper()
	address, err := testtools.FreeAddress(t.Context())
	require.NoError(t, err)
	return address
}

// daemon is a running process.
type daemon struct {
	*exec.Cmd
	log *bytes.Buffer
}

func (s *site) run(args ...string) *daemon {
	s.t.Helper()
	d := &daemon{exec.CommandContext(context.WithoutCancel(s.t.Context()), binary, append(args, "--config", s.path("waybilld.yaml"))...), &bytes.Buffer{}}
	d.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_EC2_METADATA_DISABLED=true")
	d.Stderr = d.log
	require.NoError(s.t, d.Start())
	s.t.Cleanup(func() { _ = d.Process.Kill(); _ = d.Wait() })
	return d
}

// get returns the status of a page, 0 if nobody answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func answers(t *testing.T, url string, status int) {
	t.Helper()
	require.Eventually(t, func() bool { code, _ := get(t, url); return code == status }, time.Minute, 50*time.Millisecond, "%s", url)
}

func (d *daemon) stopsCleanly(t *testing.T) {
	t.Helper()
	require.NoError(t, d.Process.Signal(syscall.SIGTERM))
	require.NoError(t, d.Wait(), d.log)
}

func devServer(t *testing.T) string {
	t.Helper()
	_, err := apitest.Temporal()
	require.NoError(t, err)
	return apitest.Address()
}

func TestGatewayServesAndStops(t *testing.T) {
	s := newSite(t, devServer(t))
	d := s.run("gateway")
	answers(t, "http://"+s.apiT+"/readyz", http.StatusNoContent)
	answers(t, "http://"+s.ops+"/readyz", http.StatusNoContent)
	code, body := get(t, "http://"+s.apiT+"/v1/auth-config")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `"clientId":"waybill-cli"`)
	code, _ = get(t, "http://"+s.apiT+"/v1/releases")
	assert.Equal(t, http.StatusUnauthorized, code)
	_, metrics := get(t, "http://"+s.ops+"/metrics")
	assert.Contains(t, metrics, `waybill_gateway_request_duration_seconds_count{operation="list-releases",status="401"} 1`)
	code, body = get(t, "http://"+s.apiT+"/decide/payments-api-1")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "The identity provider can’t be reached")
	res, err := http.Post("http://"+s.apiT+"/slack/interactions", "application/x-www-form-urlencoded", strings.NewReader("payload=%7B%7D"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode, "Slack has not signed it")
	code, _ = get(t, "http://"+s.apiT+"/metrics")
	assert.Equal(t, http.StatusNotFound, code, "metrics are not for the API's callers")
	d.stopsCleanly(t)
}

func TestWorkerOfAllRolesIsReadyOncePollingAndStops(t *testing.T) {
	s := newSite(t, devServer(t))
	d := s.run("worker", "--roles", "release,deploy,notary")
	answers(t, "http://"+s.ops+"/readyz", http.StatusNoContent)
	_, metrics := get(t, "http://"+s.ops+"/metrics")
	for _, queue := range []string{"waybill-release", "waybill-deploy-local", "waybill-notary"} {
		assert.Contains(t, d.log.String(), queue)
	}
	assert.Contains(t, metrics, "waybill_catalog_valid 1")
	assert.Contains(t, metrics, "temporal_worker_start")
	d.stopsCleanly(t)
}

func TestDaemonWaitsForTemporal(t *testing.T) {
	s := newSite(t, free(t))
	worker := s.run("worker", "--roles", "notary")
	answers(t, "http://"+s.ops+"/healthz", http.StatusNoContent)
	code, _ := get(t, "http://"+s.ops+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	worker.stopsCleanly(t)

	gateway := s.run("gateway")
	answers(t, "http://"+s.apiT+"/healthz", http.StatusNoContent)
	answers(t, "http://"+s.apiT+"/readyz", http.StatusServiceUnavailable)
	gateway.stopsCleanly(t)
}

func TestDaemonRefusesToStartWithFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		file, from, to string
		args           []string
		says           string
	}{
		"configuration typo": {"waybilld.yaml", "lockMode", "lockMode2", []string{"worker", "--roles", "notary"}, "lockMode2"},
		"unknown role":       {"waybilld.yaml", "", "", []string{"worker", "--roles", "releese"}, `role "releese" is unknown`},
		"catalog typo":       {"catalog/payments-api.yaml", "owner:", "ovner:", []string{"worker", "--roles", "release"}, "ovner"},
		"key missing":        {"waybilld.yaml", "keys/evidence.pem", "keys/nothing.pem", []string{"worker", "--roles", "notary"}, "nothing.pem"},
		"key of nobody":      {"keys/gateway.pem", "PRIVATE", "STRANGE", []string{"gateway"}, "PKCS #8"},
		"kubeconfig missing": {"waybilld.yaml", "kubeconfig: kubeconfig", "kubeconfig: nothing", []string{"worker", "--roles", "deploy"}, "cluster local"},
		"address taken":      {"waybilld.yaml", "gateway:\n  listen: 127.0.0.1", "gateway:\n  listen: 192.0.2.1", []string{"gateway"}, "gateway: listen"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, devServer(t))
			raw, err := os.ReadFile(s.path(tc.file))
			require.NoError(t, err)
			require.Contains(t, string(raw), tc.from)
			require.NoError(t, os.WriteFile(s.path(tc.file), bytes.ReplaceAll(raw, []byte(tc.from), []byte(tc.to)), 0o600))
			d := s.run(tc.args...)
			require.Error(t, d.Wait())
			assert.Equal(t, 1, d.ProcessState.ExitCode())
			assert.Contains(t, d.log.String(), tc.says)
			assert.NotContains(t, d.log.String(), "goroutine")
		})
	}
}
