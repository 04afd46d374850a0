package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// project loads docker-compose.yaml as Docker Compose does: checked against the
// schema of the Compose specification, interpolated, normalised, consistent.
func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yaml"}, cli.WithWorkingDirectory(".."), cli.WithConsistency(true))
	require.NoError(t, err)
	p, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return p
}

func TestComposeRefusesWhatTheSpecificationDoesNotKnow(t *testing.T) {
	raw, err := os.ReadFile("../docker-compose.yaml")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "docker-compose.yaml")
	broken := strings.Replace(string(raw), "    shm_size:", "    shm_sise:", 1)
	require.NotEqual(t, string(raw), broken)
	require.NoError(t, os.WriteFile(file, []byte(broken), 0o600))
	options, err := cli.NewProjectOptions([]string{file})
	require.NoError(t, err)
	_, err = options.LoadProject(t.Context())
	require.ErrorContains(t, err, "shm_sise")
}

func TestComposeServices(t *testing.T) {
	p := project(t)
	images := map[string]string{}
	for name, service := range p.Services {
		images[name] = service.Image
	}
	const waybilld = "ghcr.io/waybill-dev/waybilld:v0.1.0"
	require.Equal(t, map[string]string{
		"postgres":           "postgres:17.10",
		"temporal-schema":    "temporalio/admin-tools:1.32.0",
		"temporal":           "temporalio/server:1.32.0",
		"temporal-namespace": "temporalio/admin-tools:1.32.0",
		"temporal-ui":        "temporalio/ui:2.55.0",
		"worker-release":     waybilld,
		"worker-deploy":      waybilld,
		"notary":             waybilld,
		"worker-notify":      waybilld,
		"gateway":            waybilld,
		"versitygw":          "versity/versitygw:v1.8.0",
		"accounts":           "versity/versitygw:v1.8.0",
		"bucket":             waybilld,
		"registry":           "registry:3.1.1",
		"prometheus":         "prom/prometheus:v3.15.0",
	}, images)
}

func TestComposeHardening(t *testing.T) {
	p := project(t)
	oneShot := []string{"temporal-schema", "temporal-namespace", "accounts", "bucket"}
	for name, service := range p.Services {
		require.Truef(t, service.ReadOnly, "%s: read_only", name)
		require.Falsef(t, service.Privileged, "%s: privileged", name)
		require.Equalf(t, []string{"ALL"}, service.CapDrop, "%s: cap_drop", name)
		require.Emptyf(t, service.CapAdd, "%s: cap_add", name)
		require.Containsf(t, service.SecurityOpt, "no-new-privileges:true", "%s: security_opt", name)
		require.Equalf(t, slices.Contains(oneShot, name), service.HealthCheck == nil || service.HealthCheck.Disable, "%s: healthcheck", name)
		for _, port := range service.Ports {
			require.Equalf(t, "127.0.0.1", port.HostIP, "%s: port %s is published beyond loopback", name, port.Published)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				require.Truef(t, volume.ReadOnly, "%s: %s", name, volume.Source)
			}
		}
		for key, value := range service.Environment {
			secret := regexp.MustCompile(`(?i)password|secret|token|_key$`).MatchString(key) && !strings.HasSuffix(key, "_FILE")
			require.Falsef(t, secret, "%s: %s=%v is a secret in the environment", name, key, value)
		}
	}
}

// TestComposeSeparatesDuties checks who holds a key, and who can reach the bucket
// and the database over a network at all.
func TestComposeSeparatesDuties(t *testing.T) {
	p := project(t)
	holders := map[string][]string{}
	for name, service := range p.Services {
		for _, secret := range service.Secrets {
			holders[secret.Source] = append(holders[secret.Source], name)
		}
	}
	for secret, want := range map[string][]string{
		"evidence-key":        {"notary"},
		"s3-notary":           {"accounts", "notary"},
		"s3-auditor":          {"accounts"},
		"s3-root":             {"accounts", "bucket", "versitygw"},
		"gateway-key":         {"gateway"},
		"login-client-secret": {"gateway"},
		"directory-token":     {"gateway", "worker-release"},
		"slack-bot-token":     {"gateway", "worker-notify"},
		"slack-app-token":     {"gateway"},
		"kubeconfig":          {"worker-deploy"},
		"postgres-password":   {"postgres", "temporal", "temporal-schema"},
	} {
		require.ElementsMatchf(t, want, holders[secret], "holders of %s", secret)
	}
	require.Len(t, p.Services["worker-notify"].Secrets, 1, "worker-notify holds the bot token and nothing else")
	for service, want := range map[string][]string{
		"versitygw": {"accounts", "bucket", "notary"},
		"postgres":  {"temporal", "temporal-schema"},
	} {
		var reach []string
		for name, other := range p.Services {
			for network := range p.Services[service].Networks {
				if _, shared := other.Networks[network]; shared && name != service {
					reach = append(reach, name)
				}
			}
		}
		require.ElementsMatchf(t, want, reach, "services that can reach %s", service)
	}
}

// TestComposeMountsWhatIsThere checks that each file of the repository that is
// mounted or built from exists, as Docker would make a folder in its place.
func TestComposeMountsWhatIsThere(t *testing.T) {
	p := project(t)
	for name, service := range p.Services {
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && volume.Target != "/etc/waybill/catalog" {
				require.FileExistsf(t, volume.Source, "%s", name)
			}
		}
	}
	for name, secret := range p.Secrets {
		require.Equalf(t, filepath.Join(p.WorkingDir, ".waybill", "compose"), filepath.Dir(secret.File), "secret %s", name)
	}
}

// TestSecrets runs the script that makes the secrets: it must make every file
// that the Compose file names but the kubeconfig, and keep it when run again.
func TestSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	run := func() map[string]string {
		cmd := exec.CommandContext(t.Context(), "compose/secrets.sh")
		cmd.Env = append(os.Environ(), "WAYBILL_SECRETS="+dir)
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
		contents := map[string]string{}
		for name, secret := range project(t).Secrets {
			if name == "kubeconfig" {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, filepath.Base(secret.File)))
			require.NoError(t, err)
			require.NotEmptyf(t, raw, "secret %s", name)
			contents[name] = string(raw)
		}
		return contents
	}
	first := run()
	require.Equal(t, first, run())
	require.DirExists(t, filepath.Join(dir, "catalog"))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}
