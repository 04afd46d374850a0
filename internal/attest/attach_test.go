package attest

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/signals"
)

// site is a real registry with an image, and a key by the real cosign.
type site struct {
	cosign sigtest.Cosign
	key    sigtest.Key
	image  string
}

func newSite(t *testing.T) site {
	t.Helper()
	t.Setenv(passwordVariable, "")
	quiet := registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))
	server := httptest.NewServer(registry.New(quiet, registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	var s site
	var err error
	s.cosign, err = sigtest.Installed(t.Context())
	require.NoError(t, err)
	s.key, err = s.cosign.GenerateKey(t.Context(), t.TempDir(), "key")
	require.NoError(t, err)
	img, err := sigtest.Image{Binary: []byte("binary")}.Build()
	require.NoError(t, err)
	ref, err := sigtest.Push(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/app", img)
	require.NoError(t, err)
	s.image = ref.String()
	return s
}

func TestCosignVerifiesWhatIsAttached(t *testing.T) {
	s := newSite(t)
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	require.NoError(t, os.WriteFile(root, []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), 0o600))
	verify := func(predicateType string, legacy bool) error {
		form := "--new-bundle-format=true"
		if legacy {
			form = "--new-bundle-format=false"
		}
		return exec.CommandContext(t.Context(), s.cosign.Path, "verify-attestation", "--type", predicateType, "--key", s.key.Public,
			"--insecure-ignore-tlog", "--allow-http-registry", "--trusted-root", root, form, s.image).Run()
	}
	source := Source{Repository: "https://git.example/app", Commit: strings.Repeat("a", 40), Commits: 1, Authors: []signals.Contributor{role("developer")}}
	for _, legacy := range []bool{true, false} {
		require.Error(t, verify(signals.SourceReviewType, legacy), "nothing is attached yet")
		image, err := ParseImage(s.image, true, legacy)
		require.NoError(t, err)
		key, err := OpenKey(t.Context(), s.key.Private)
		require.NoError(t, err)
		require.NoError(t, image.Attest(t.Context(), key, signals.SourceReviewType, source))
		require.NoError(t, image.Attest(t.Context(), key, TestResultType, TestResult{Result: "PASSED"}), "a second one stands beside the first")
		require.NoError(t, verify(signals.SourceReviewType, legacy))
		require.NoError(t, verify(TestResultType, legacy))
	}
}

func TestKeysByReference(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.key.Private)
	require.NoError(t, err)
	t.Setenv("SOURCE_KEY", string(text))
	_, err = OpenKey(t.Context(), "env://SOURCE_KEY")
	require.NoError(t, err)

	for ref, says := range map[string]string{
		"env://NO_SUCH_KEY": "the variable is not set",
		"/none.key":         "no such file",
		"stonekms://a":      "no such KMS",
		s.key.Public:        "want a key by cosign generate-key-pair",
	} {
		_, err := OpenKey(t.Context(), ref)
		require.ErrorContains(t, err, says)
	}
	t.Setenv(passwordVariable, "wrong")
	_, err = OpenKey(t.Context(), s.key.Private)
	require.ErrorContains(t, err, passwordVariable)
}

func TestImagesThatCannotBeAttested(t *testing.T) {
	s := newSite(t)
	for _, reference := range []string{"registry.example/app:v1", "registry.example/app", "", "app@sha256:12"} {
		_, err := ParseImage(reference, false, false)
		require.ErrorContains(t, err, "want it by digest", reference)
	}
	repository, _, _ := strings.Cut(s.image, "@")
	absent, err := ParseImage(repository+"@sha256:"+strings.Repeat("0", 64), true, false)
	require.NoError(t, err)
	key, err := OpenKey(t.Context(), s.key.Private)
	require.NoError(t, err)
	require.ErrorContains(t, absent.Attest(t.Context(), key, TestResultType, TestResult{}), "push it first")
}
