package sigstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/signals"
)

// verifyTimeout bounds one verification; it takes some ten requests.
const verifyTimeout = time.Minute

// Verifier verifies images in registries. It keeps nothing between calls but
// the registry client's connections.
type Verifier struct {
	registry *registry.Client
	now      func() time.Time
}

// New returns a verifier that reads through client. now is the clock that the
// validity of keys is judged by.
func New(client *registry.Client, now func() time.Time) *Verifier {
	return &Verifier{registry: client, now: now}
}

// Verify looks up and checks the papers of the artifact. Kinds of paper for
// which in.Trust pins no key are not looked at, except signatures, which every
// image needs; whether a kind may be left out is the policy's to say. Source
// attestations and scans may be missing although keys are pinned: then the
// result has none, and the policy knows which tier wants them. An empty in.Commit
// leaves commits unchecked. An error is technical (registry down,
// timeout, a pinned key that can't be read) and may pass.
func (v *Verifier) Verify(ctx context.Context, in signals.VerifyInput) (signals.Verification, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	result := signals.Verification{Digest: in.Artifact.Digest, Signatures: []signals.SignedFact{}, At: v.now().UTC()}
	image, err := name.NewDigest(in.Artifact.Reference(), v.registry.NameOptions(in.Artifact.Repository)...)
	if err != nil {
		return result, fmt.Errorf("verifying %s: %w", in.Artifact.Reference(), err)
	}
	keys, err := pinned(in.Trust)
	if err != nil {
		return result, fmt.Errorf("verifying %s: %w", image, err)
	}
	if _, err := remote.Head(image, v.registry.Options(ctx)...); missing(err) {
		result.Refusals = []string{fmt.Sprintf("artifact: expected %s in the registry, found nothing under that digest", image)}
		return result, nil
	} else if err != nil {
		return result, fmt.Errorf("verifying %s: looking for the image: %w", image, err)
	}
	papers, err := v.fetch(ctx, image)
	if err != nil {
		return result, fmt.Errorf("verifying %s: %w", image, err)
	}
	v.judge(ctx, in, keys, papers, &result)
	return result, ctx.Err()
}

// judge fills the result with what holds and with a refusal for what doesn't.
func (v *Verifier) judge(ctx context.Context, in signals.VerifyInput, keys keyring, papers []paper, result *signals.Verification) {
	digest, _ := v1.NewHash(in.Artifact.Digest) // name.NewDigest has parsed it
	bench := bench{keys: keys, digest: digest, commit: in.Commit, papers: papers, now: result.At}

	signatures, why := bench.accept(ctx, signatureKind)
	for _, s := range signatures {
		result.Signatures = append(result.Signatures, s.fact)
	}
	result.Refusals = append(result.Refusals, why...)

	if len(keys[provenanceKind]) > 0 {
		accepted, why := bench.accept(ctx, provenanceKind)
		provenance, faults := judgeProvenance(accepted, in)
		result.Provenance = provenance
		if bench.commit == "" && provenance != nil && len(faults) == 0 {
			bench.commit = provenance.Commit
		}
		result.Refusals = append(append(result.Refusals, why...), faults...)
	}
	if len(keys[testsKind]) > 0 {
		accepted, why := bench.accept(ctx, testsKind)
		tests, faults := judgeTests(accepted, in.Commit)
		result.Tests = tests
		result.Refusals = append(append(result.Refusals, why...), faults...)
	}
	if len(keys[sourceKind]) > 0 && bench.has(sourceKind) {
		accepted, why := bench.accept(ctx, sourceKind)
		source, faults := judgeSource(accepted, in.Source, bench.commit)
		result.Source = source
		result.Refusals = append(append(result.Refusals, why...), faults...)
	}
	if len(keys[scanKind]) > 0 && bench.has(scanKind) {
		accepted, why := bench.accept(ctx, scanKind)
		scans, faults := judgeScans(accepted)
		result.Scans = scans
		result.Refusals = append(append(result.Refusals, why...), faults...)
	}
}

// missing tells whether err is the registry's "not found".
func missing(err error) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}
