package sigstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/signals"
)

func TestRefusals(t *testing.T) {
	b := newBed(t)
	otherCommit := strings.Repeat("0", 40)
	for _, form := range []sigtest.Form{sigtest.Legacy, sigtest.Bundle} {
		for name, c := range map[string]struct {
			papers func(signals.Artifact)
			kind   kind
			says   []string
		}{
			"unsigned":      {func(signals.Artifact) {}, signatureKind, []string{"signature: expected one by payments-ci, found none"}},
			"no provenance": {func(signals.Artifact) {}, provenanceKind, []string{"provenance: expected one by builder, found none"}},
			"no tests":      {func(signals.Artifact) {}, testsKind, []string{"tests: expected one by tests, found none"}},
			"signed by a stranger": {func(a signals.Artifact) { b.sign(a, b.stranger, form) },
				signatureKind, []string{"signature: expected one by payments-ci, found one that no pinned key verifies"}},
			// Threat 13: a key may vouch for nothing but what it is pinned for.
			"tests signed by the builder": {func(a signals.Artifact) { b.tested(a, b.builder, form, commit, "PASSED") },
				testsKind, []string{"tests: expected one by tests, found one by builder, whose key counts for provenance only"}},
			"image signed by the builder": {func(a signals.Artifact) { b.sign(a, b.builder, form) },
				signatureKind, []string{"signature: expected one by payments-ci, found one by builder, whose key counts for provenance only"}},
			// Threat 14: an attestation by the signer's key is not a signature.
			"attestation for a signature": {
				func(a signals.Artifact) {
					require.NoError(b, b.cosign.Attest(b.Context(), a.Reference(), b.ci, form, "https://example.com/note/v1", map[string]any{"note": "looks fine"}))
				},
				signatureKind, []string{"signature: expected one by payments-ci, found none among attestations of type https://example.com/note/v1"},
			},
			"another commit": {func(a signals.Artifact) { b.provenance(a, b.builder, form, source, otherCommit, builder) },
				provenanceKind, []string{"provenance: expected commit " + commit + ", found " + otherCommit}},
			"another builder and source": {
				func(a signals.Artifact) {
					b.provenance(a, b.builder, form, "https://git.example/fork", commit, "https://laptop.example")
				},
				provenanceKind, []string{
					"provenance: expected builder " + builder + ", found https://laptop.example",
					"provenance: expected source " + source + ", found https://git.example/fork",
				},
			},
			"tests of another commit": {func(a signals.Artifact) { b.tested(a, b.tests, form, otherCommit, "PASSED") },
				testsKind, []string{"tests: expected a result for commit " + commit + ", found one for " + otherCommit}},
			"no source": {func(signals.Artifact) {}, sourceKind, nil},
			"no scan":   {func(signals.Artifact) {}, scanKind, nil},
			"source of another commit": {func(a signals.Artifact) { b.reviewed(a, b.source, form, otherCommit) },
				sourceKind, []string{"source: expected commit " + commit + ", found " + otherCommit}},
			// Threat 13 again: who tests or builds must not say who wrote it.
			"source signed by the builder": {func(a signals.Artifact) { b.reviewed(a, b.builder, form, commit) },
				sourceKind, []string{"source: expected one by source, found one by builder, whose key counts for provenance only"}},
			"source signed by a stranger": {func(a signals.Artifact) { b.reviewed(a, b.stranger, form, commit) },
				sourceKind, []string{"source: expected one by source, found one that no pinned key verifies"}},
			"provenance signed by the source key": {func(a signals.Artifact) { b.provenance(a, b.source, form, source, commit, builder) },
				provenanceKind, []string{"provenance: expected one by builder, found one by source, whose key counts for source only"}},
			"scan signed by the tests' key": {func(a signals.Artifact) { b.scanned(a, b.tests, form, sigtest.Vulns()) },
				scanKind, []string{"vulnerabilities: expected one by scanner, found one by tests, whose key counts for tests only"}},
			"scan out of form": {func(a signals.Artifact) { b.scanned(a, b.scanner, form, map[string]any{"scanner": map[string]any{}}) },
				scanKind, []string{"vulnerabilities: not an in-toto vulnerability attestation v0.2: scanner.uri is missing"}},
			"tests that failed": {func(a signals.Artifact) { b.tested(a, b.tests, form, commit, "FAILED") },
				testsKind, []string{"tests: expected result PASSED, found FAILED: integration"}},
		} {
			t.Run(fmt.Sprintf("%s, %s", name, form), func(t *testing.T) {
				a := b.image()
				c.papers(a)
				var refusals []string
				for _, refusal := range b.verify(b.input(a)).Refusals {
					if strings.HasPrefix(refusal, string(c.kind)+":") {
						refusal, _, _ = strings.Cut(refusal, " (it calls itself ")
						refusals = append(refusals, refusal)
					}
				}
				require.Equal(t, c.says, refusals)
			})
		}
	}
}

// Papers that are genuine but were made for another image: the registry lets
// anybody who may push hang them on this one.
func TestPapersOfAnotherImage(t *testing.T) {
	b := newBed(t)
	theirs := b.good(sigtest.Legacy)
	mine := b.image()
	for _, suffix := range []string{".sig", ".att"} {
		b.copyTag(theirs, strings.Replace(theirs.Digest, ":", "-", 1)+suffix, strings.Replace(mine.Digest, ":", "-", 1)+suffix)
	}
	about := fmt.Sprintf("expected one about %s, found one about %s", mine.Digest, theirs.Digest)
	require.Equal(t, []string{"signature: " + about, "provenance: " + about, "tests: " + about, "source: " + about, "vulnerabilities: " + about}, b.verify(b.input(mine)).Refusals)
}

// Bundles of another image, listed for this one by the fallback tag.
func TestBundlesOfAnotherImage(t *testing.T) {
	b := newBed(t)
	b.host = serve(t, false)
	theirs, mine := b.good(sigtest.Bundle), b.image()
	b.copyTag(theirs, strings.Replace(theirs.Digest, ":", "-", 1), strings.Replace(mine.Digest, ":", "-", 1))
	about := fmt.Sprintf("expected one about %s, found one about %s", mine.Digest, theirs.Digest)
	require.Equal(t, []string{"signature: " + about, "provenance: " + about, "tests: " + about, "source: " + about, "vulnerabilities: " + about}, b.verify(b.input(mine)).Refusals)
}

// In-toto's test results are about source, not about images: one that hangs on
// the image counts if its subject is the commit that the image was built from.
func TestResultsAboutTheCommit(t *testing.T) {
	b := newBed(t)
	t.Setenv("COSIGN_PASSWORD", "")
	otherCommit := strings.Repeat("0", 40)
	attach := func(a signals.Artifact, key sigtest.Key, predicateType, commit, result string, legacy bool) {
		image, err := attest.ParseImage(a.Reference(), true, legacy)
		require.NoError(t, err)
		signer, err := attest.OpenKey(t.Context(), key.Private)
		require.NoError(t, err)
		require.NoError(t, image.Attach(t.Context(), signer, attest.Statement{
			Type: "https://in-toto.io/Statement/v1", PredicateType: predicateType,
			Subject:   []attest.Subject{{Name: "git+" + source, Digest: map[string]string{"gitCommit": commit}}},
			Predicate: attest.TestResult{Result: result, Configuration: []attest.Resource{{URI: "ci"}}},
		}))
	}
	for _, legacy := range []bool{true, false} {
		form := map[bool]sigtest.Form{true: sigtest.Legacy, false: sigtest.Bundle}[legacy]
		untested := func() signals.Artifact {
			a := b.image()
			b.sign(a, b.ci, form)
			b.provenance(a, b.builder, form, source, commit, builder)
			return a
		}
		about := untested()
		attach(about, b.tests, attest.TestResultType, commit, "PASSED", legacy)
		result := b.verify(b.input(about))
		require.Empty(t, result.Refusals)
		require.Equal(t, commit, result.Tests[0].Commit)

		in := b.input(about)
		in.Commit = ""
		require.Empty(t, b.verify(in).Refusals, "where no commit is asked, that of the provenance counts")
		in.Trust.Provenance = nil
		require.Len(t, b.verify(in).Refusals, 1, "without either, nothing ties the result to the image")

		failing := untested()
		attach(failing, b.tests, attest.TestResultType, commit, "FAILED", legacy)
		require.Equal(t, []string{"tests: expected result PASSED, found FAILED"}, b.verify(b.input(failing)).Refusals)

		other := untested()
		attach(other, b.tests, attest.TestResultType, otherCommit, "PASSED", legacy)
		require.Equal(t, []string{"tests: expected one about " + other.Digest + ", found one about " + otherCommit}, b.verify(b.input(other)).Refusals)

		// By another kind's key, and as another kind of paper: nothing.
		forged := untested()
		attach(forged, b.builder, attest.TestResultType, commit, "PASSED", legacy)
		require.Equal(t, []string{"tests: expected one by tests, found one by builder, whose key counts for provenance only"}, b.verify(b.input(forged)).Refusals)
		scan := untested()
		b.tested(scan, b.tests, form, commit, "PASSED")
		attach(scan, b.scanner, sigtest.VulnsType, commit, "PASSED", legacy)
		require.Equal(t, []string{"vulnerabilities: expected one about " + scan.Digest + ", found one about " + commit}, b.verify(b.input(scan)).Refusals)
	}
}
