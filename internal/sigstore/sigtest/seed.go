package sigtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Predicate types of what Seed attaches.
const (
	ProvenanceType = "https://slsa.dev/provenance/v1"
	TestResultType = "https://in-toto.io/attestation/test-result/v0.1"
	SourceType     = "https://waybill.dev/attestation/source/v1"
	VulnsType      = "https://in-toto.io/attestation/vulns/v0.2"
)

// BuildType is the SLSA build type that seeded provenance names.
const BuildType = "https://waybill.dev/buildtypes/static-binary/v1"

// Keys are who signs what. A nil key leaves that part out.
type Keys struct {
	Signature  *Key
	Provenance *Key
	Tests      *Key
	Source     *Key
	Scan       *Key
}

// SeedInput says what image to build and what papers to give it.
type SeedInput struct {
	Cosign Cosign
	// Registry is host:port; the image becomes Registry/Repo:Tag.
	Registry string
	Repo     string
	Tag      string
	// Binary is a static linux binary for Arch (default: this machine's), Env
	// its environment.
	Binary []byte
	Arch   string
	Env    map[string]string
	// Commit, Source and Builder are what the provenance says: the full Git
	// commit id, the repository's URL, and the SLSA builder id.
	Commit  string
	Source  string
	Builder string
	// Author is the e-mail address of who wrote and committed the change,
	// Reviewer of who reviewed it; either may be "".
	Author   string
	Reviewer string
	Keys     Keys
	Form     Form
	// TestResult is PASSED (default), WARNED or FAILED.
	TestResult string
}

// Seed builds and pushes the image, signs and attests it, and tags it last, so
// that a tag in place means finished papers: a second call with the same input
// finds the tag and does nothing. It returns the image's digest ("sha256:<hex>").
func Seed(ctx context.Context, in SeedInput) (string, error) {
	img, err := in.image().Build()
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("image digest: %w", err)
	}
	repository := in.Registry + "/" + in.Repo
	current, err := tagged(ctx, repository+":"+in.Tag)
	if err != nil || current == digest.String() {
		return current, err
	}
	ref, err := Push(ctx, repository, img)
	if err != nil {
		return "", err
	}
	if err := in.papers(ctx, ref.String()); err != nil {
		return "", err
	}
	return digest.String(), Tag(ctx, ref, in.Tag)
}

func (in SeedInput) image() Image {
	arch := in.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	return Image{Binary: in.Binary, Arch: arch, Env: in.Env, Labels: map[string]string{
		"org.opencontainers.image.authors":  in.Author,
		"org.opencontainers.image.revision": in.Commit,
		"org.opencontainers.image.source":   in.Source,
		"org.opencontainers.image.version":  in.Tag,
	}}
}

// papers signs and attests with the keys that are set.
func (in SeedInput) papers(ctx context.Context, image string) error {
	if in.Keys.Signature != nil {
		if err := in.Cosign.Sign(ctx, image, *in.Keys.Signature, in.Form); err != nil {
			return err
		}
	}
	for _, paper := range []struct {
		key           *Key
		predicateType string
		predicate     any
	}{
		{in.Keys.Provenance, ProvenanceType, Provenance(in.Source, in.Commit, in.Builder)},
		{in.Keys.Tests, TestResultType, TestResult(in.Source, in.Commit, cmp.Or(in.TestResult, "PASSED"))},
		{in.Keys.Source, SourceType, SourceReview(in.Source, in.Commit, in.Author, in.Reviewer)},
		{in.Keys.Scan, VulnsType, Vulns("MEDIUM", "LOW", "LOW")},
	} {
		if paper.key == nil {
			continue
		}
		if err := in.Cosign.Attest(ctx, image, *paper.key, in.Form, paper.predicateType, paper.predicate); err != nil {
			return err
		}
	}
	return nil
}

// tagged returns the digest that the tag names, or "" if there is no such tag.
func tagged(ctx context.Context, tag string) (string, error) {
	ref, err := name.NewTag(tag, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("image tag: %w", err)
	}
	descriptor, err := remote.Head(ref, remote.WithContext(ctx))
	if refused := (*transport.Error)(nil); errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", ref, err)
	}
	return descriptor.Digest.String(), nil
}
