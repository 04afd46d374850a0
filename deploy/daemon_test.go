package deploy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// TestDaemons runs what the Compose file runs, by the same configuration, with
// the same secrets, and built from no more than what the Dockerfile sees: each
// role must become ready, as the Compose file's own health check tells.
func TestDaemons(t *testing.T) {
	dir := t.TempDir()
	bin := buildFromContext(t)
	run := secretsAsMounted(t, dir)
	cluster := startCluster(t)
	require.NoError(t, os.Link(cluster.kubeconfig, filepath.Join(run, "kubeconfig")))
	temporal := startTemporal(t)
	policies, err := filepath.Abs("../policies")
	require.NoError(t, err)
	catalog := demoCatalog(t, filepath.Join(run, "evidence-public"))

	raw, err := os.ReadFile("compose/waybilld.yaml")
	require.NoError(t, err)
	for role, args := range map[string][]string{
		"release": {"worker", "--roles=release"},
		"deploy":  {"worker", "--roles=deploy"},
		"notary":  {"worker", "--roles=notary"},
		"gateway": {"gateway"},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			ports, err := testtools.FreePorts(t.Context(), 2)
			require.NoError(t, err)
			listen := fmt.Sprintf("127.0.0.1:%d", ports[0])
			local := strings.NewReplacer(
				"0.0.0.0:9090", listen, "0.0.0.0:8080", fmt.Sprintf("127.0.0.1:%d", ports[1]),
				"address: temporal:7233", "address: "+temporal, "/run/secrets", run,
				"/etc/waybill/catalog", catalog, "/etc/waybill/policies", policies,
			).Replace(string(raw))
			config := filepath.Join(dir, role+".yaml")
			require.NoError(t, os.WriteFile(config, []byte(local), 0o600))
			daemon := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(bin, "waybilld"), append(args, "--config="+config)...)
			daemon.Env = append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(run, "s3-notary"))
			start(t, daemon)
			require.Eventually(t, func() bool {
				return exec.CommandContext(t.Context(), filepath.Join(bin, "probe"), "http://"+listen+"/readyz").Run() == nil
			}, time.Minute, 100*time.Millisecond, "the role did not become ready")
		})
	}
}

// buildFromContext builds the image's programs in a copy of the files that
// .dockerignore lets through, and returns their folder.
func buildFromContext(t *testing.T) string {
	t.Helper()
	ignore, err := os.ReadFile("../.dockerignore")
	require.NoError(t, err)
	source := t.TempDir()
	for line := range strings.Lines(string(ignore)) {
		path, included := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !included {
			continue
		}
		from, to := filepath.Join("..", path), filepath.Join(source, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		out, err := exec.CommandContext(t.Context(), "cp", "-R", from, to).CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
	}
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin+"/",
		"./cmd/waybill", "./cmd/waybilld", "./deploy/compose/probe", "./deploy/compose/bucket")
	cmd.Dir = source
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	return bin
}

// secretsAsMounted makes the secrets and returns a folder that holds each by the
// name under which the Compose file mounts it.
func secretsAsMounted(t *testing.T, dir string) string {
	t.Helper()
	files, run := filepath.Join(dir, "files"), filepath.Join(dir, "run")
	cmd := exec.CommandContext(t.Context(), "compose/secrets.sh")
	cmd.Env = append(os.Environ(), "WAYBILL_SECRETS="+files)
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	require.NoError(t, os.Mkdir(run, 0o700))
	for name, secret := range project(t).Secrets {
		if name != "kubeconfig" {
			require.NoError(t, os.Link(filepath.Join(files, filepath.Base(secret.File)), filepath.Join(run, name)))
		}
	}
	return run
}

// startTemporal starts Temporal with the namespace prepared and returns its
// frontend's address.
func startTemporal(t *testing.T) string {
	t.Helper()
	temporal, err := testtools.Tool(t.Context(), "temporal")
	require.NoError(t, err)
	ports, err := testtools.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	env := append(os.Environ(), "PATH="+filepath.Dir(temporal)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(),
		"TEMPORAL_ADDRESS="+address, "TEMPORAL_NAMESPACE=waybill")
	server := exec.CommandContext(context.WithoutCancel(t.Context()), temporal, "server", "start-dev",
		"--headless", "--ip=127.0.0.1", fmt.Sprintf("--port=%d", ports[0]))
	server.Env = env
	start(t, server)
	for range 2 { // it must be safe to run again
		script := exec.CommandContext(t.Context(), "/bin/sh", "temporal/namespace.sh")
		script.Env = env
		out, err := script.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
	}
	return address
}

// demoCatalog renders the demo's catalog with key as everybody's key.
func demoCatalog(t *testing.T, key string) string {
	t.Helper()
	raw, err := os.ReadFile("demo/catalog/payments-api.yaml.tmpl")
	require.NoError(t, err)
	entry, err := template.New("catalog").Delims("[[", "]]").Option("missingkey=error").Parse(string(raw))
	require.NoError(t, err)
	dir := t.TempDir()
	var text bytes.Buffer
	require.NoError(t, entry.Execute(&text, map[string]string{
		"Registry": "registry:5000", "Cluster": "main", "KeysDir": dir,
		"Source": "https://git.example/payments-api", "Builder": "https://ci.example/builder",
	}))
	pem, err := os.ReadFile(key)
	require.NoError(t, err)
	for _, name := range []string{"payments-ci.pub", "builder.pub", "tests.pub", "source.pub", "scanner.pub"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "payments-api.yaml"), text.Bytes(), 0o600))
	return dir
}
