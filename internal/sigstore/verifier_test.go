package sigstore

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	mediatypes "github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/stretchr/testify/require"

	registries "github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/signals"
)

const (
	source  = "https://git.example/payments/payments-api"
	builder = "https://ci.example/builders/payments/v1"
)

var commit = strings.Repeat("4f", 20)

// bed is a real registry, real keys and the real cosign.
type bed struct {
	*testing.T
	cosign                       sigtest.Cosign
	host                         string
	ci, builder, tests, stranger sigtest.Key
	source, scanner              sigtest.Key
	serial                       atomic.Int32
}

func newBed(t *testing.T) *bed {
	t.Helper()
	cosign, err := sigtest.Installed(t.Context())
	require.NoError(t, err)
	b := &bed{T: t, cosign: cosign, host: serve(t, true)}
	dir := t.TempDir()
	for name, key := range map[string]*sigtest.Key{"ci": &b.ci, "builder": &b.builder, "tests": &b.tests, "stranger": &b.stranger, "source": &b.source, "scanner": &b.scanner} {
		*key, err = cosign.GenerateKey(t.Context(), dir, name)
		require.NoError(t, err)
	}
	return b
}

// serve starts a real registry, with or without the OCI referrers API.
func serve(t *testing.T, referrers bool) string {
	t.Helper()
	quiet := registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))
	server := httptest.NewServer(registry.New(quiet, registry.WithReferrersSupport(referrers)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// image pushes a new image without papers and returns it.
func (b *bed) image() signals.Artifact {
	repository := b.host + "/payments-api"
	img, err := sigtest.Image{Binary: []byte("binary"), Arch: "amd64", Labels: map[string]string{"serial": strconv.Itoa(int(b.serial.Add(1)))}}.Build()
	require.NoError(b, err)
	ref, err := sigtest.Push(b.Context(), repository, img)
	require.NoError(b, err)
	return signals.Artifact{Repository: repository, Digest: ref.DigestStr()}
}

func (b *bed) sign(a signals.Artifact, key sigtest.Key, form sigtest.Form) {
	require.NoError(b, b.cosign.Sign(b.Context(), a.Reference(), key, form))
}

func (b *bed) provenance(a signals.Artifact, key sigtest.Key, form sigtest.Form, source, commit, builder string) {
	require.NoError(b, b.cosign.Attest(b.Context(), a.Reference(), key, form, sigtest.ProvenanceType, sigtest.Provenance(source, commit, builder)))
}

func (b *bed) tested(a signals.Artifact, key sigtest.Key, form sigtest.Form, commit, result string) {
	require.NoError(b, b.cosign.Attest(b.Context(), a.Reference(), key, form, sigtest.TestResultType, sigtest.TestResult(source, commit, result)))
}

func (b *bed) reviewed(a signals.Artifact, key sigtest.Key, form sigtest.Form, commit string) {
	predicate := sigtest.SourceReview(source, commit, "developer@payments.example", "release-lead@payments.example")
	require.NoError(b, b.cosign.Attest(b.Context(), a.Reference(), key, form, sigtest.SourceType, predicate))
}

func (b *bed) scanned(a signals.Artifact, key sigtest.Key, form sigtest.Form, predicate any) {
	require.NoError(b, b.cosign.Attest(b.Context(), a.Reference(), key, form, sigtest.VulnsType, predicate))
}

func (b *bed) good(form sigtest.Form) signals.Artifact {
	a := b.image()
	b.sign(a, b.ci, form)
	b.provenance(a, b.builder, form, source, commit, builder)
	b.tested(a, b.tests, form, commit, "PASSED")
	b.reviewed(a, b.source, form, commit)
	b.scanned(a, b.scanner, form, sigtest.Vulns("HIGH", "LOW", "LOW"))
	return a
}

func (b *bed) key(id string, key sigtest.Key) signals.PublicKey {
	text, err := os.ReadFile(key.Public)
	require.NoError(b, err)
	return signals.PublicKey{ID: id, PEM: string(text)}
}

func (b *bed) input(a signals.Artifact) signals.VerifyInput {
	return signals.VerifyInput{Artifact: a, Commit: commit, Source: source, Trust: signals.Trust{
		Builder:    builder,
		Signature:  []signals.PublicKey{b.key("payments-ci", b.ci)},
		Provenance: []signals.PublicKey{b.key("builder", b.builder)},
		Tests:      []signals.PublicKey{b.key("tests", b.tests)},
		Source:     []signals.PublicKey{b.key("source", b.source)}, Vulnerabilities: []signals.PublicKey{b.key("scanner", b.scanner)},
	}}
}

func (b *bed) verify(in signals.VerifyInput) signals.Verification {
	b.Helper()
	result, err := verifier().Verify(b.Context(), in)
	require.NoError(b, err)
	return result
}

func verifier() *Verifier { return New(registries.New(nil), time.Now) }

func TestGoodPapersInEveryForm(t *testing.T) {
	b := newBed(t)
	withAPI, withoutAPI := b.host, serve(t, false)
	for _, host := range []string{withAPI, withoutAPI} {
		b.host = host
		for _, form := range []sigtest.Form{sigtest.Legacy, sigtest.Bundle} {
			t.Run(fmt.Sprintf("%s, referrers API %t", form, host == withAPI), func(t *testing.T) {
				a := b.good(form)
				result := b.verify(b.input(a))
				require.Empty(t, result.Refusals)
				require.Equal(t, a.Digest, result.Digest)

				require.Len(t, result.Signatures, 1)
				require.Equal(t, "payments-ci", result.Signatures[0].KeyID)
				require.Equal(t, string(form), result.Signatures[0].Form)
				require.NotNil(t, result.Provenance)
				require.Equal(t, "builder", result.Provenance.KeyID)
				require.Equal(t, builder, result.Provenance.Builder)
				require.Equal(t, source, result.Provenance.Source)
				require.Equal(t, commit, result.Provenance.Commit)
				require.Equal(t, sigtest.BuildType, result.Provenance.BuildType)
				require.Equal(t, sigtest.ProvenanceType, result.Provenance.Predicate)
				require.Len(t, result.Tests, 1)
				require.Equal(t, "tests", result.Tests[0].KeyID)
				require.Equal(t, "PASSED", result.Tests[0].Result)
				require.Equal(t, []string{"unit", "integration"}, result.Tests[0].Suites)
				require.Equal(t, "source", result.Source.KeyID)
				require.Equal(t, commit, result.Source.Commit)
				require.Equal(t, []signals.Contributor{{Email: "developer@payments.example"}}, result.Source.Authors)
				require.Equal(t, []signals.Contributor{{Email: "release-lead@payments.example"}}, result.Source.Reviewers)
				require.Len(t, result.Scans, 1)
				require.Equal(t, "scanner", result.Scans[0].KeyID)
				require.Equal(t, map[string]int{"HIGH": 1, "LOW": 2}, result.Scans[0].Found)
				for _, stored := range []string{
					result.Signatures[0].Digest, result.Provenance.Digest, result.Tests[0].Digest, result.Source.Digest, result.Scans[0].Digest,
				} {
					require.Equal(t, stored, b.blobDigest(a, stored), "the digest finds the stored bytes")
				}
			})
		}
	}
}

// blobDigest reads the blob from the registry and returns its digest.
func (b *bed) blobDigest(a signals.Artifact, digest string) string {
	ref, err := name.NewDigest(a.Repository + "@" + digest)
	require.NoError(b, err)
	layer, err := remote.Layer(ref, remote.WithContext(b.Context()))
	require.NoError(b, err)
	found, err := layer.Digest()
	require.NoError(b, err)
	return found.String()
}

// Papers of both forms side by side, as while a team moves to bundles.
func TestFormsMayBeMixed(t *testing.T) {
	b := newBed(t)
	a := b.image()
	b.sign(a, b.ci, sigtest.Legacy)
	b.sign(a, b.ci, sigtest.Bundle)
	b.provenance(a, b.builder, sigtest.Bundle, source, commit, builder)
	b.tested(a, b.tests, sigtest.Legacy, commit, "WARNED")
	result := b.verify(b.input(a))
	require.Empty(t, result.Refusals)
	require.Len(t, result.Signatures, 2)
	require.Equal(t, "WARNED", result.Tests[0].Result)
}

// A registry that has learnt the referrers API since may hold older bundles
// under the fallback tag alone.
func TestFallbackTagCountsBesideTheAPI(t *testing.T) {
	b := newBed(t)
	withAPI := b.host
	b.host = serve(t, false)
	old := b.good(sigtest.Bundle)
	at, err := name.NewDigest(old.Reference())
	require.NoError(t, err)
	image, err := remote.Image(at, remote.WithContext(t.Context()))
	require.NoError(t, err)
	_, err = sigtest.Push(t.Context(), withAPI+"/payments-api", image)
	require.NoError(t, err)

	referrers, err := verifier().referrers(t.Context(), at)
	require.NoError(t, err)
	require.Len(t, referrers, 5)
	index := mutate.IndexMediaType(empty.Index, mediatypes.OCIImageIndex)
	for _, referrer := range referrers {
		stored, err := verifier().bundleBytes(t.Context(), at.Context().Digest(referrer.String()))
		require.NoError(t, err)
		// Without a subject the API does not list it.
		bundle, err := mutate.AppendLayers(empty.Image, static.NewLayer(stored, bundleMediaType+".v0.3+json"))
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: bundle})
	}
	moved := signals.Artifact{Repository: withAPI + "/payments-api", Digest: old.Digest}
	tag, err := name.NewTag(moved.Repository + ":" + strings.Replace(old.Digest, ":", "-", 1))
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(tag, index, remote.WithContext(t.Context())))
	result := b.verify(b.input(moved))
	require.Empty(t, result.Refusals)
	require.Equal(t, "bundle", result.Signatures[0].Form)
}

func (b *bed) copyTag(a signals.Artifact, from, to string) {
	ref, err := name.NewTag(a.Repository + ":" + from)
	require.NoError(b, err)
	stored, err := remote.Get(ref, remote.WithContext(b.Context()))
	require.NoError(b, err)
	require.NoError(b, remote.Tag(ref.Tag(to), stored, remote.WithContext(b.Context())))
}

func TestKeysCountInTheirTimeOnly(t *testing.T) {
	b := newBed(t)
	in := b.input(b.good(sigtest.Legacy))
	now := time.Now()
	in.Trust.Signature[0].NotAfter = now.Add(-time.Hour)
	refusals := b.verify(in).Refusals
	require.Len(t, refusals, 1)
	require.Contains(t, refusals[0], "signature: signed by payments-ci, whose key counts from ever to ")

	renewed := b.key("payments-ci-2", b.ci)
	renewed.NotBefore = now.Add(-time.Hour)
	in.Trust.Signature = append(in.Trust.Signature, renewed)
	result := b.verify(in)
	require.Empty(t, result.Refusals)
	require.Equal(t, "payments-ci-2", result.Signatures[0].KeyID)
}

func TestKindsWithoutPinnedKeysAreNotAsked(t *testing.T) {
	b := newBed(t)
	a := b.image()
	b.sign(a, b.ci, sigtest.Bundle)
	in := b.input(a)
	in.Trust.Provenance, in.Trust.Tests = nil, nil
	result := b.verify(in)
	require.Empty(t, result.Refusals)
	require.Nil(t, result.Provenance)

	in.Trust.Signature = nil
	require.Equal(t, []string{"signature: expected one by a key, but none is pinned, found one that no pinned key verifies" +
		` (it calls itself "` + hintOf(t, b, a) + `")`}, b.verify(in).Refusals)
}

func hintOf(t *testing.T, b *bed, a signals.Artifact) string {
	t.Helper()
	ref, err := name.NewDigest(a.Reference())
	require.NoError(t, err)
	papers, err := verifier().fetch(b.Context(), ref)
	require.NoError(t, err)
	require.Len(t, papers, 1)
	require.Equal(t, types.CosignSignPredicateType, papers[0].predicate)
	return papers[0].hint
}

func TestImageThatIsGone(t *testing.T) {
	b := newBed(t)
	a := signals.Artifact{Repository: b.host + "/payments-api", Digest: "sha256:" + strings.Repeat("0", 64)}
	require.Equal(t, []string{"artifact: expected " + a.Reference() + " in the registry, found nothing under that digest"}, b.verify(b.input(a)).Refusals)
}

func TestTechnicalErrorsAreNoRefusals(t *testing.T) {
	b := newBed(t)
	in := b.input(b.good(sigtest.Bundle))

	down := in
	down.Artifact.Repository = "127.0.0.1:1/payments-api"
	_, err := verifier().Verify(t.Context(), down)
	require.ErrorContains(t, err, "looking for the image")

	unreadable := in
	unreadable.Trust.Signature = []signals.PublicKey{{ID: "broken", PEM: "not a key"}}
	_, err = verifier().Verify(t.Context(), unreadable)
	require.ErrorContains(t, err, "pinned signature key broken")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = verifier().Verify(ctx, in)
	require.ErrorIs(t, err, context.Canceled)
}

// Junk beside good papers changes nothing.
func TestJunkIsLeftOut(t *testing.T) {
	b := newBed(t)
	a := b.good(sigtest.Bundle)
	b.provenance(a, b.stranger, sigtest.Bundle, source, commit, builder)
	b.sign(a, b.stranger, sigtest.Legacy)
	junk, err := sigtest.Image{Binary: []byte("junk")}.Build()
	require.NoError(t, err)
	tag, err := name.NewTag(a.Repository + ":" + strings.Replace(a.Digest, ":", "-", 1) + ".att")
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, junk, remote.WithContext(t.Context())))
	result := b.verify(b.input(a))
	require.Empty(t, result.Refusals)
	require.Len(t, result.Signatures, 1)
}
