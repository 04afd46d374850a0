package sigtest

import (
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
)

// BuildType is the SLSA build type that seeded provenance names.
const BuildType = "https://waybill.dev/buildtypes/static-binary/v1"

// Keys are who signs what. A nil key leaves that part out.
type Keys struct {
	Signature  *Key
	Provenance *Key
	Tests      *Key
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
	Keys    Keys
	Form    Form
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
	if in.Keys.Provenance != nil {
		provenance := Provenance(in.Source, in.Commit, in.Builder)
		if err := in.Cosign.Attest(ctx, image, *in.Keys.Provenance, in.Form, ProvenanceType, provenance); err != nil {
			return err
		}
	}
	if in.Keys.Tests != nil {
		result := in.TestResult
		if result == "" {
			result = "PASSED"
		}
		tests := TestResult(in.Source, in.Commit, result)
		if err := in.Cosign.Attest(ctx, image, *in.Keys.Tests, in.Form, TestResultType, tests); err != nil {
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

// object is a JSON object.
type object = map[string]any

// Provenance is a SLSA provenance v1 predicate of one build from source at commit.
func Provenance(source, commit, builder string) any {
	return object{
		"buildDefinition": object{
			"buildType":          BuildType,
			"externalParameters": object{"source": source, "ref": "refs/heads/main"},
			"internalParameters": object{},
			"resolvedDependencies": []object{
				{"uri": "git+" + source + "@refs/heads/main", "digest": object{"gitCommit": commit}},
			},
		},
		"runDetails": object{
			"builder":  object{"id": builder},
			"metadata": object{"invocationId": builder + "/" + commit},
		},
	}
}

// TestResult is an in-toto test-result v0.1 predicate about source at commit. A
// result of FAILED names the suite that failed.
func TestResult(source, commit, result string) any {
	suites := []string{"unit", "integration"}
	predicate := object{
		"result":        result,
		"configuration": []object{{"uri": "git+" + source, "digest": object{"gitCommit": commit}}},
		"passedTests":   suites,
	}
	switch result {
	case "FAILED":
		predicate["passedTests"], predicate["failedTests"] = suites[:1], suites[1:]
	case "WARNED":
		predicate["passedTests"], predicate["warnedTests"] = suites[:1], suites[1:]
	}
	return predicate
}
