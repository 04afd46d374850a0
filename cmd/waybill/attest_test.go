package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/catalog"
	registries "github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/sigstore"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/signals"
)

const attestedSource = "https://git.example/payments/payments-api"

// build is a CI job: a Git repository, a registry with an image, and keys.
type build struct {
	*testing.T
	dir    string
	keys   map[string]sigtest.Key
	image  signals.Artifact
	commit string
}

func newBuild(t *testing.T) *build {
	t.Helper()
	b := &build{T: t, dir: t.TempDir(), keys: map[string]sigtest.Key{}}
	b.git("init", "--quiet", "--initial-branch=main")
	b.write("main.go", "package main")
	b.git("add", ".")
	b.git("commit", "--quiet", "--message", "first")
	b.git("tag", "v1")
	b.write("main.go", "package main // changed")
	b.git("commit", "--quiet", "--all", "--message", "second\n\nCo-authored-by: On call <on-call@payments.example>")
	b.commit = b.git("rev-parse", "HEAD")

	cosign, err := sigtest.Installed(t.Context())
	require.NoError(t, err)
	keys := t.TempDir()
	for _, name := range []string{"ci", "source", "tests"} {
		b.keys[name], err = cosign.GenerateKey(t.Context(), keys, name)
		require.NoError(t, err)
	}
	quiet := registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))
	server := httptest.NewServer(registry.New(quiet, registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	ci := b.keys["ci"]
	b.image.Repository = strings.TrimPrefix(server.URL, "http://") + "/payments-api"
	b.image.Digest, err = sigtest.Seed(t.Context(), sigtest.SeedInput{
		Cosign: cosign, Registry: strings.TrimPrefix(server.URL, "http://"), Repo: "payments-api", Tag: "v2", Form: sigtest.Bundle,
		Keys: sigtest.Keys{Signature: &ci},
	})
	require.NoError(t, err)
	return b
}

func (b *build) write(name, text string) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	require.NoError(b, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(b, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (b *build) git(args ...string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "git", append([]string{"-c", "user.name=developer", "-c", "user.email=developer@payments.example"}, args...)...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoErrorf(b, err, "git %v\n%s", args, out)
	return strings.TrimSpace(string(out))
}

// waybill runs the client in the repository as a job of GitHub Actions does.
func (b *build) waybill(args ...string) result {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), binary, append([]string{"attest"}, args...)...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "WAYBILL_HOME="+b.TempDir(), "COSIGN_PASSWORD=",
		"GITHUB_SERVER_URL=https://git.example", "GITHUB_REPOSITORY=payments/payments-api",
		"GITHUB_EVENT_PATH="+filepath.Join(b.dir, ".git", "event.json"))
	event := `{"after": "` + b.commit + `", "pusher": {"name": "release-lead", "email": "release-lead@payments.example"}}`
	require.NoError(b, os.WriteFile(filepath.Join(b.dir, ".git", "event.json"), []byte(event), 0o600))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it all
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (b *build) key(name string) signals.PublicKey {
	text, err := os.ReadFile(b.keys[name].Public)
	require.NoError(b, err)
	return signals.PublicKey{ID: name, PEM: string(text)}
}

func (b *build) verify() signals.Verification {
	b.Helper()
	found, err := sigstore.New(registries.New(nil), time.Now).Verify(b.Context(), signals.VerifyInput{
		Artifact: b.image, Commit: b.commit, Source: attestedSource,
		Trust: signals.Trust{
			Signature: []signals.PublicKey{b.key("ci")}, Tests: []signals.PublicKey{b.key("tests")}, Source: []signals.PublicKey{b.key("source")},
		},
	})
	require.NoError(b, err)
	return found
}

func TestWhatCIAttestsIsVerified(t *testing.T) {
	for _, form := range []string{"--legacy=true", "--legacy=false"} {
		b := newBuild(t)
		b.write("reviews.json", `[{"user": {"login": "reviewer"}, "state": "APPROVED"}]`)
		r := b.waybill("source", "--base", "v1", "--reviews", "reviews.json", "--reviewer", "risk-officer@payments.example",
			"--image", b.image.Reference(), "--key", b.keys["source"].Private, form)
		require.Zero(t, r.code, r.errOut)
		require.Contains(t, r.out, "attested 1 commits by 2 authors up to "+b.commit)
		junit := b.write("junit.xml", `<testsuite><testcase classname="payments" name="TestPay"/></testsuite>`)
		r = b.waybill("tests", "--junit", junit, "--image", b.image.Reference(), "--key", b.keys["tests"].Private, form)
		require.Zero(t, r.code, r.errOut)
		require.Contains(t, r.out, "attested tests PASSED (1 passed, 0 flaky, 0 failed)")

		found := b.verify()
		require.Empty(t, found.Refusals)
		require.Equal(t, []signals.Contributor{
			{Name: "developer", Email: "developer@payments.example"}, {Name: "On call", Email: "on-call@payments.example"},
		}, found.Source.Authors)
		require.Equal(t, &signals.Contributor{Login: "release-lead", Email: "release-lead@payments.example"}, found.Source.Merger)
		require.Equal(t, []signals.Contributor{{Login: "reviewer"}, {Email: "risk-officer@payments.example"}}, found.Source.Reviewers)
		require.Equal(t, "source", found.Source.KeyID)
		require.Equal(t, "PASSED", found.Tests[0].Result)
		require.Equal(t, b.commit, found.Tests[0].Commit)

		// The tests' key must not say who wrote the change (threat 13).
		r = b.waybill("source", "--merger", "somebody-else", "--image", b.image.Reference(), "--key", b.keys["tests"].Private, form)
		require.Zero(t, r.code, r.errOut)
		require.Equal(t, found.Source, b.verify().Source)

		failing := b.write("failing.xml", `<testsuite><testcase name="TestRefund"><failure/></testcase></testsuite>`)
		r = b.waybill("tests", junit, failing, "--image", b.image.Reference(), "--key", b.keys["tests"].Private, form)
		require.Zero(t, r.code, r.errOut)
		require.Equal(t, []string{"tests: expected result PASSED, found FAILED: TestRefund"}, b.verify().Refusals)
	}
}

func TestPredicatesArePrintedForCosign(t *testing.T) {
	b := newBuild(t)
	r := b.waybill("source", "--commit", "v1")
	require.Zero(t, r.code, r.errOut)
	var source struct {
		Repository string
		Merger     *signals.Contributor
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &source))
	require.Equal(t, attestedSource, source.Repository)
	require.Nil(t, source.Merger)
	require.Contains(t, r.errOut, "who merged is not taken from it")

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"source", "--image", b.image.Reference()}, "--image and --key are needed both"},
		{[]string{"source", "--image", b.image.Repository + ":v2", "--key", "k"}, "want it by digest"},
		{[]string{"source", "--image", b.image.Reference(), "--key", "none.key"}, "no such file"},
		{[]string{"source", "--base", "v9"}, `revision "v9"`},
		{[]string{"source", "--merger", "no body"}, "--merger \"no body\""},
		{[]string{"source", "--reviewer", "no body"}, "--reviewer \"no body\""},
		{[]string{"source", "--reviews", "none.json"}, "reviews: "},
		{[]string{"tests"}, "name the JUnit files"},
		{[]string{"tests", "none.xml"}, "no such file"},
		{[]string{"authors"}, "accepts 1 arg"},
		{[]string{"authors", ".", "--days=-1"}, "--days -1"},
	} {
		r := b.waybill(c.args...)
		require.Equal(t, exitUsage, r.code, "%v: %s", c.args, r.errOut)
		require.Contains(t, r.errOut, c.says)
		require.Empty(t, r.out)
	}
}

func TestAuthorsOfACatalogAreWrittenDown(t *testing.T) {
	b := newBuild(t)
	b.write("catalog/ledger.yaml", "service: ledger\n")
	b.git("add", ".")
	b.git("commit", "--quiet", "--message", "catalog")
	r := b.waybill("authors", "catalog")
	require.Zero(t, r.code, r.errOut)
	require.Contains(t, r.out, "catalog/authors.json: 1 files, 1 people")
	content, err := os.ReadFile(filepath.Join(b.dir, "catalog", "authors.json"))
	require.NoError(t, err)
	authors, err := catalog.ParseAuthors(content)
	require.NoError(t, err)
	require.Equal(t, "developer@payments.example", authors.Files["ledger.yaml"][0].Email)
}
