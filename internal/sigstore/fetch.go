package sigstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/cosign/v2/pkg/oci"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
)

const (
	// maxPapers and maxPaperBytes bound what is read for one image: anybody who
	// may push can attach as much as they like.
	maxPapers     = 256
	maxPaperBytes = 8 << 20

	bundleMediaType = "application/vnd.dev.sigstore.bundle"
)

// noTime leaves a bound of a key's validity open.
var noTime time.Time

// fetch reads all papers of the image, whoever signed them. Stored junk is left
// out; an error is the registry's.
func (v *Verifier) fetch(ctx context.Context, image name.Digest) ([]paper, error) {
	options := []ociremote.Option{
		ociremote.WithRemoteOptions(v.registry.Options(ctx)...),
		ociremote.WithNameOptions(v.registry.NameOptions(image.String())...),
	}
	signatureTag, err := ociremote.SignatureTag(image, options...)
	if err != nil {
		return nil, fmt.Errorf("finding signatures: %w", err)
	}
	signatures, err := fetchTag(signatureTag, legacySignature, options)
	if err != nil {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	attestationTag, err := ociremote.AttestationTag(image, options...)
	if err != nil {
		return nil, fmt.Errorf("finding attestations: %w", err)
	}
	attestations, err := fetchTag(attestationTag, legacyAttestation, options)
	if err != nil {
		return nil, fmt.Errorf("reading attestations: %w", err)
	}
	bundles, err := v.fetchBundles(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("reading bundles: %w", err)
	}
	return append(append(signatures, attestations...), bundles...), nil
}

// fetchTag reads the layers of one of cosign's tags, which need not be there.
func fetchTag(tag name.Tag, read func(oci.Signature) (paper, error), options []ociremote.Option) ([]paper, error) {
	stored, err := ociremote.Signatures(tag, options...)
	if err != nil {
		return nil, err
	}
	layers, err := stored.Get()
	if err != nil {
		return nil, err
	}
	if len(layers) > maxPapers {
		return nil, fmt.Errorf("%s has %d layers; at most %d are read", tag, len(layers), maxPapers)
	}
	var papers []paper
	for _, layer := range layers {
		if size, err := layer.Size(); err != nil || size > maxPaperBytes {
			continue
		}
		p, err := read(layer)
		if junk := (malformed{}); errors.As(err, &junk) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tag, err)
		}
		papers = append(papers, p)
	}
	return papers, nil
}

// fetchBundles reads the bundles that refer to the image.
func (v *Verifier) fetchBundles(ctx context.Context, image name.Digest) ([]paper, error) {
	referrers, err := v.referrers(ctx, image)
	if err != nil {
		return nil, err
	}
	if len(referrers) > maxPapers {
		return nil, fmt.Errorf("%d artifacts refer to the image; at most %d are read", len(referrers), maxPapers)
	}
	var papers []paper
	for _, referrer := range referrers {
		stored, err := v.bundleBytes(ctx, image.Context().Digest(referrer.String()))
		if err != nil {
			return nil, err
		}
		if p, err := sigstoreBundle(stored); err == nil {
			papers = append(papers, p)
		}
	}
	return papers, nil
}

// referrers lists what refers to the image, by the referrers API and by the
// fallback tag both: a registry that learnt the API later may hold older papers
// under the tag alone.
func (v *Verifier) referrers(ctx context.Context, image name.Digest) ([]v1.Hash, error) {
	options := v.registry.Options(ctx)
	byAPI, err := remote.Referrers(image, options...)
	if err != nil {
		return nil, err
	}
	indexes := []v1.ImageIndex{byAPI}
	byTag, err := remote.Index(image.Tag(strings.Replace(image.DigestStr(), ":", "-", 1)), options...)
	switch {
	case err == nil:
		indexes = append(indexes, byTag)
	case !missing(err):
		return nil, err
	}
	var found []v1.Hash
	seen := map[v1.Hash]bool{}
	for _, index := range indexes {
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, err
		}
		for _, descriptor := range manifest.Manifests {
			if !seen[descriptor.Digest] && descriptor.MediaType.IsImage() {
				seen[descriptor.Digest] = true
				found = append(found, descriptor.Digest)
			}
		}
	}
	return found, nil
}

// bundleBytes returns the bundle that a referrer holds, or nothing if it holds
// something else or is gone.
func (v *Verifier) bundleBytes(ctx context.Context, referrer name.Digest) ([]byte, error) {
	artifact, err := remote.Image(referrer, v.registry.Options(ctx)...)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	layers, err := artifact.Layers()
	if err != nil || len(layers) != 1 {
		return nil, err
	}
	media, err := layers[0].MediaType()
	if err != nil || !strings.HasPrefix(string(media), bundleMediaType) {
		return nil, err
	}
	content, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(io.LimitReader(content, maxPaperBytes))
}

func hashBytes(h v1.Hash) ([]byte, error) { return hex.DecodeString(h.Hex) }
