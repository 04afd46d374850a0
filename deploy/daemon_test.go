package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/internal/testtools"
)

// site is a Temporal, and the image's programs with what they read beside their
// configuration and secrets.
type site struct{ bin, temporal, catalog, policies string }

// TestDaemons runs what the Compose file and the Kustomize base run, by the same
// commands and configuration, built from no more than what the Dockerfile sees,
// and with each role's own secrets alone: it must become ready, as the Compose
// file's own health check tells.
func TestDaemons(t *testing.T) {
	dir := t.TempDir()
	secrets := secretsAsMounted(t, dir)
	cluster := startCluster(t)
	policies, err := filepath.Abs("../policies")
	require.NoError(t, err)
	s := site{
		bin: buildFromContext(t), temporal: startTemporal(t),
		catalog: demoCatalog(t, filepath.Join(secrets, "evidence-public")), policies: policies,
	}
	require.NoError(t, os.Link(cluster.kubeconfig, filepath.Join(secrets, "kubeconfig")))
	t.Run("compose", func(t *testing.T) { s.runCompose(t, secrets) })
	t.Run("kustomize", func(t *testing.T) { s.runKustomize(t, cluster, secrets) })
}

// runCompose runs the Compose file's roles. Its gateway must reach Slack, too,
// whose place the emulator takes, with the Socket Mode that it is configured for.
func (s site) runCompose(t *testing.T, secrets string) {
	t.Helper()
	raw, err := os.ReadFile("compose/waybilld.yaml")
	require.NoError(t, err)
	workspace := emulatedSlack(t, secrets)
	config := strings.Replace(string(raw), "mode: socket\n", "mode: socket\n    apiURL: "+workspace.URL+"/api/\n", 1)
	require.NotEqual(t, string(raw), config)
	ran := map[string]bool{}
	for name, service := range project(t).Services {
		if len(service.Command) == 0 || service.Build == nil || service.Build.Target != "waybilld" {
			continue
		}
		ran[name] = true
		t.Run(name, func(t *testing.T) {
			own := t.TempDir()
			for _, secret := range service.Secrets {
				require.NoError(t, os.Link(filepath.Join(secrets, secret.Source), filepath.Join(own, secret.Source)))
			}
			s.run(t, own, service.Command, strings.ReplaceAll(config, "/run/secrets", own), filepath.Join(own, "s3-notary"))
			if name == "gateway" {
				require.Eventually(t, func() bool {
					app, err := workspace.App(t.Context())
					return err == nil && app.Sockets > 0
				}, time.Minute, 100*time.Millisecond, "the gateway did not connect to Slack")
			}
		})
	}
	require.Equal(t, map[string]bool{
		"worker-release": true, "worker-deploy": true, "notary": true, "worker-notify": true, "gateway": true,
	}, ran)
}

// emulatedSlack is a workspace that takes the tokens of the Compose file.
func emulatedSlack(t *testing.T, secrets string) slackemu.Client {
	t.Helper()
	token := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(secrets, name))
		require.NoError(t, err)
		return strings.TrimSpace(string(raw))
	}
	emulator, err := slackemu.New(slackemu.Options{SocketMode: true, BotToken: token("slack-bot-token"), AppToken: token("slack-app-token")})
	require.NoError(t, err)
	server := httptest.NewServer(emulator)
	t.Cleanup(func() {
		_ = emulator.Close()
		server.Close()
	})
	return slackemu.Client{URL: server.URL}
}

// runKustomize runs the base's roles with the files that their pods mount of the
// Secrets that the base documents. Delivery takes its pod's service account for
// the cluster, which there is none of here.
func (s site) runKustomize(t *testing.T, cluster *cluster, secrets string) {
	t.Helper()
	contents := map[string]map[string]string{
		"waybill-notary":    {"evidence.key": "evidence-key", "s3-credentials": "s3-notary"},
		"waybill-gateway":   {"gateway.key": "gateway-key", "login-client-secret": "login-client-secret", "slack-bot-token": "slack-bot-token", "slack-signing-secret": "slack-app-token"},
		"waybill-notify":    {"slack-bot-token": "slack-bot-token"},
		"waybill-directory": {"token": "directory-token"},
		"waybill-trust":     {"gateway.pub": "gateway-public", "evidence.pub": "evidence-public"},
	}
	documented, err := os.ReadFile("kustomize/base/kustomization.yaml")
	require.NoError(t, err)
	for secret, files := range contents {
		for file := range files {
			require.Regexpf(t, `(?m)^#   `+secret+` .*(\n#     +.*)?\b`+regexp.QuoteMeta(file)+`\b`, string(documented), "%s of %s is not documented", file, secret)
		}
	}
	raw, err := os.ReadFile("kustomize/base/waybilld.yaml")
	require.NoError(t, err)
	for _, d := range deployments(t, cluster.render(t, "kustomize/base")) {
		if d.Name == "worker-deploy" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			own := t.TempDir()
			pod := d.Spec.Template.Spec
			for _, volume := range pod.Volumes {
				if volume.Secret == nil {
					continue
				}
				for _, mount := range pod.Containers[0].VolumeMounts {
					if mount.Name != volume.Name {
						continue
					}
					at := filepath.Join(own, strings.TrimPrefix(mount.MountPath, "/etc/waybill"))
					require.NoError(t, os.Mkdir(at, 0o700))
					for file, source := range contents[volume.Secret.SecretName] {
						require.NoError(t, os.Link(filepath.Join(secrets, source), filepath.Join(at, file)))
					}
				}
			}
			s.run(t, own, pod.Containers[0].Args, string(raw), filepath.Join(own, "notary", "s3-credentials"))
		})
	}
}

// run starts a role by its command, with its configuration in dir and what is
// here put in the place of what that names, and waits until it is ready.
func (s site) run(t *testing.T, dir string, command []string, config, credentials string) {
	t.Helper()
	ports, err := testtools.FreePorts(t.Context(), 2)
	require.NoError(t, err)
	listen := fmt.Sprintf("127.0.0.1:%d", ports[0])
	file := filepath.Join(dir, "waybilld.yaml")
	local := strings.NewReplacer(
		"0.0.0.0:9090", listen, "0.0.0.0:8080", fmt.Sprintf("127.0.0.1:%d", ports[1]),
		"address: temporal:7233", "address: "+s.temporal, "address: temporal-frontend.temporal:7233", "address: "+s.temporal,
		"/etc/waybill/catalog", s.catalog, "/etc/waybill/policies", s.policies,
	).Replace(config)
	require.NoError(t, os.WriteFile(file, []byte(local), 0o600))
	args := slices.Clone(command)
	at := slices.Index(args, "--config=/etc/waybill/waybilld.yaml")
	require.GreaterOrEqualf(t, at, 0, "%v", args)
	args[at] = "--config=" + file
	daemon := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(s.bin, "waybilld"), args...)
	daemon.Env = append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+credentials)
	start(t, daemon)
	require.Eventually(t, func() bool {
		return exec.CommandContext(t.Context(), filepath.Join(s.bin, "probe"), "http://"+listen+"/readyz").Run() == nil
	}, time.Minute, 100*time.Millisecond, "the role did not become ready")
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
