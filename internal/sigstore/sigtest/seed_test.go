package sigtest

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

// serve starts a real registry, with or without the OCI referrers API.
func serve(t *testing.T, referrers bool) string {
	t.Helper()
	quiet := registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))
	server := httptest.NewServer(registry.New(quiet, registry.WithReferrersSupport(referrers)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestCosignVerifiesWhatIsSeeded(t *testing.T) {
	cosign, err := Installed(t.Context())
	require.NoError(t, err)
	key, err := cosign.GenerateKey(t.Context(), t.TempDir(), "key")
	require.NoError(t, err)
	// Keys are all that is trusted: no certificate authority, no log.
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	require.NoError(t, os.WriteFile(root, []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), 0o600))
	for _, form := range []Form{Legacy, Bundle} {
		for _, referrers := range []bool{true, false} {
			host := serve(t, referrers)
			in := SeedInput{
				Cosign: cosign, Registry: host, Repo: "app", Tag: "v1", Binary: []byte("binary"), Form: form,
				Commit: strings.Repeat("a", 40), Source: "https://git.example/app", Builder: "https://ci.example/builder",
				Author: "developer@payments.example", Reviewer: "release-lead@payments.example",
				Keys: Keys{Signature: &key, Provenance: &key, Tests: &key, Source: &key, Scan: &key},
			}
			digest, err := Seed(t.Context(), in)
			require.NoError(t, err)
			again, err := Seed(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, digest, again)

			image := host + "/app@" + digest
			bundle := "--new-bundle-format=" + map[Form]string{Legacy: "false", Bundle: "true"}[form]
			for _, args := range [][]string{
				{"verify"},
				{"verify-attestation", "--type", ProvenanceType},
				{"verify-attestation", "--type", TestResultType},
				{"verify-attestation", "--type", SourceType},
				{"verify-attestation", "--type", VulnsType},
			} {
				args = append(args, "--key", key.Public, "--insecure-ignore-tlog", "--allow-http-registry", "--trusted-root", root, bundle, image)
				out, err := exec.CommandContext(t.Context(), cosign.Path, args...).CombinedOutput()
				require.NoError(t, err, "cosign %v\n%s", args, out)
			}
			require.Equal(t, map[Form]int{Legacy: 0, Bundle: 5}[form], countReferrers(t, image), "seeding again adds nothing")
		}
	}
}

func countReferrers(t *testing.T, image string) int {
	t.Helper()
	ref, err := name.NewDigest(image)
	require.NoError(t, err)
	index, err := remote.Referrers(ref, remote.WithContext(t.Context()))
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	return len(manifest.Manifests)
}

func TestGenerateKeyKeepsWhatIsThere(t *testing.T) {
	cosign, err := Installed(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	_, err = cosign.GenerateKey(t.Context(), dir, "key")
	require.NoError(t, err)
	_, err = Cosign{Path: "/nonexistent"}.GenerateKey(t.Context(), dir, "key")
	require.NoError(t, err, "an existing pair needs no cosign")
	_, err = Cosign{Path: "/nonexistent"}.GenerateKey(t.Context(), dir, "other")
	require.ErrorContains(t, err, "generate-key-pair")
}
