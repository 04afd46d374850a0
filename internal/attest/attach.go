package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// attachTimeout bounds signing and storing one attestation.
const attachTimeout = 2 * time.Minute

// statementType is in-toto's Statement v1.
const statementType = "https://in-toto.io/Statement/v1"

// Subject is what an in-toto statement is about.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Statement is an in-toto statement before it is signed.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     any       `json:"predicate"`
}

// Image is where an attestation goes: repository@sha256:…
type Image struct {
	ref    name.Digest
	digest v1.Hash
	legacy bool
}

// ParseImage reads a reference with a digest; a tag alone is an error, since it
// may name another image by the time it is read again. plainHTTP lets a registry
// other than a local one be spoken to without TLS. legacy stores attestations
// under cosign's tag beside the image instead of as a Sigstore bundle.
func ParseImage(reference string, plainHTTP, legacy bool) (Image, error) {
	parse := []name.Option{name.StrictValidation}
	if plainHTTP {
		parse = append(parse, name.Insecure)
	}
	ref, err := name.NewDigest(reference, parse...)
	if err != nil {
		return Image{}, fmt.Errorf("image %q: want it by digest, such as registry.example/app@sha256:<hex>: %w", reference, err)
	}
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		return Image{}, fmt.Errorf("image %q: %w", reference, err)
	}
	return Image{ref: ref, digest: digest, legacy: legacy}, nil
}

// Attest makes a statement of the predicate about the image, signs it with the
// key and stores it with the image, as `cosign attest` does. The image must be
// in the registry; credentials are those of the Docker configuration.
func (i Image) Attest(ctx context.Context, key signature.SignerVerifier, predicateType string, predicate any) error {
	return i.Attach(ctx, key, Statement{
		Type: statementType, PredicateType: predicateType, Predicate: predicate,
		Subject: []Subject{{Name: i.ref.Context().Name(), Digest: map[string]string{i.digest.Algorithm: i.digest.Hex}}},
	})
}

// Attach signs the statement as it is and stores it with the image.
func (i Image) Attach(ctx context.Context, key signature.SignerVerifier, s Statement) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if _, err := remote.Head(i.ref, registryOptions(ctx)...); err != nil {
		return fmt.Errorf("image %s: %w; push it first", i.ref, err)
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("statement of %s: %w", s.PredicateType, err)
	}
	envelope, err := dsse.WrapSigner(key, types.IntotoPayloadType).SignMessage(bytes.NewReader(payload), options.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("signing %s: %w", s.PredicateType, err)
	}
	store := i.storeBundle
	if i.legacy {
		store = i.storeLegacy
	}
	if err := store(ctx, key, s.PredicateType, payload, envelope); err != nil {
		return fmt.Errorf("storing %s with %s: %w", s.PredicateType, i.ref, err)
	}
	return nil
}

func (i Image) storeBundle(ctx context.Context, key signature.SignerVerifier, predicateType string, payload, envelope []byte) error {
	public, err := key.PublicKey(options.WithContext(ctx))
	if err != nil {
		return err
	}
	bundle, err := cosignbundle.MakeNewBundle(public, nil, payload, envelope, nil, nil)
	if err != nil {
		return err
	}
	return ociremote.WriteAttestationNewBundleFormat(i.ref, bundle, predicateType, ociremote.WithRemoteOptions(registryOptions(ctx)...))
}

func (i Image) storeLegacy(ctx context.Context, _ signature.SignerVerifier, predicateType string, _, envelope []byte) error {
	attestation, err := static.NewAttestation(envelope, static.WithLayerMediaType(types.DssePayloadType),
		static.WithAnnotations(map[string]string{"predicateType": predicateType}))
	if err != nil {
		return err
	}
	at := ociremote.WithRemoteOptions(registryOptions(ctx)...)
	entity, err := mutate.AttachAttestationToEntity(ociremote.SignedUnknown(i.ref, at), attestation)
	if err != nil {
		return err
	}
	return ociremote.WriteAttestations(i.ref.Repository, entity, at)
}

func registryOptions(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("waybill")}
}
