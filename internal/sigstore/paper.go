package sigstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/waybill-dev/waybill/signals"
)

// The forms in which cosign stores papers, as SignedFact.Form names them.
const (
	legacyForm = "legacy"
	bundleForm = "bundle"
)

// Predicate types that are looked at, besides cosign's own for signatures.
const (
	provenanceType = "https://slsa.dev/provenance/v1"
	testResultType = "https://in-toto.io/attestation/test-result/v0.1"
	vulnsType      = "https://in-toto.io/attestation/vulns/v0.2"
)

// simpleSigning is the critical.type of a legacy signature's payload.
const simpleSigning = "cosign container image signature"

// paper is one signed statement as found in the registry. Nothing in it is to be
// believed until verify has said yes for a pinned key.
type paper struct {
	kind      kind // "" if of no kind that is looked at
	form      string
	predicate string // the in-toto predicate type, "" for a legacy signature
	digest    string // of the stored bytes
	hint      string // what the signer calls its key
	body      []byte // the in-toto predicate
	subjects  []string
	commits   []string // subjects that are Git commits
	// verify says whether the key signed this paper and, unless image is nil, it
	// is about the image.
	verify func(ctx context.Context, key signature.Verifier, image *v1.Hash) error
}

// statement is the part of an in-toto statement (v0.1 or v1) that is read.
type statement struct {
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// describe fills in what the in-toto statement says of itself. The kind comes
// from the signed payload alone: annotations beside it can be anybody's.
func (p *paper) describe(payload []byte) error {
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return fmt.Errorf("payload is no in-toto statement: %w", err)
	}
	p.predicate, p.body = s.PredicateType, s.Predicate
	for _, subject := range s.Subject {
		if hex, ok := subject.Digest["sha256"]; ok {
			p.subjects = append(p.subjects, "sha256:"+hex)
		}
		if commit := gitCommit(subject.Digest); commit != "" {
			p.commits = append(p.commits, commit)
		}
	}
	switch s.PredicateType {
	case types.CosignSignPredicateType:
		p.kind = signatureKind
	case provenanceType:
		p.kind = provenanceKind
	case testResultType:
		p.kind = testsKind
	case signals.SourceReviewType:
		p.kind = sourceKind
	case vulnsType:
		p.kind = scanKind
	}
	return nil
}

// about tells whether the paper claims to be about the image.
func (p paper) about(image v1.Hash) bool { return slices.Contains(p.subjects, image.String()) }

// ofCommit tells whether the paper is a test result about the commit itself, as
// in-toto has it: it then counts for what provenance says was built from there.
func (p paper) ofCommit(commit string) bool {
	return p.kind == testsKind && commit != "" && slices.Contains(p.commits, commit)
}

// offline are cosign's options for one pinned key.
func offline(key signature.Verifier) *cosign.CheckOpts {
	return &cosign.CheckOpts{SigVerifier: key, IgnoreTlog: true, Offline: true}
}

// legacySignature reads a layer of the .sig tag.
func legacySignature(sig oci.Signature) (paper, error) {
	payload, err := sig.Payload()
	if err != nil {
		return paper{}, err
	}
	var claim struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &claim); err != nil {
		return paper{}, malformed{fmt.Errorf("payload is no simple signing document: %w", err)}
	}
	if claim.Critical.Type != simpleSigning {
		return paper{}, malformed{fmt.Errorf("payload is of type %q, not %q", claim.Critical.Type, simpleSigning)}
	}
	return paper{
		kind: signatureKind, form: legacyForm, digest: signals.Digest(payload), subjects: []string{claim.Critical.Image.Digest},
		verify: func(ctx context.Context, key signature.Verifier, image *v1.Hash) error {
			options := offline(key)
			options.ClaimVerifier = cosign.SimpleClaimVerifier
			_, err := cosign.VerifyImageSignature(ctx, sig, orZero(image), options)
			return err
		},
	}, nil
}

// legacyAttestation reads a layer of the .att tag.
func legacyAttestation(att oci.Signature) (paper, error) {
	stored, err := att.Payload()
	if err != nil {
		return paper{}, err
	}
	var envelope dsse.Envelope
	if err := json.Unmarshal(stored, &envelope); err != nil {
		return paper{}, malformed{fmt.Errorf("no DSSE envelope: %w", err)}
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		return paper{}, malformed{fmt.Errorf("payload of the DSSE envelope: %w", err)}
	}
	p := paper{form: legacyForm, digest: signals.Digest(stored)}
	if len(envelope.Signatures) > 0 {
		p.hint = envelope.Signatures[0].KeyID
	}
	p.verify = func(ctx context.Context, key signature.Verifier, image *v1.Hash) error {
		options := offline(key)
		if image != nil {
			options.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
		}
		_, err := cosign.VerifyBlobAttestation(ctx, att, orZero(image), options)
		return err
	}
	if err := p.describe(payload); err != nil {
		return paper{}, malformed{err}
	}
	return p, nil
}

// sigstoreBundle reads a stored Sigstore bundle.
func sigstoreBundle(stored []byte) (paper, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(stored); err != nil {
		return paper{}, malformed{fmt.Errorf("no Sigstore bundle: %w", err)}
	}
	envelope := b.GetDsseEnvelope()
	if envelope == nil {
		return paper{}, malformed{errors.New("the Sigstore bundle holds no DSSE envelope")}
	}
	p := paper{form: bundleForm, digest: signals.Digest(stored), hint: b.GetVerificationMaterial().GetPublicKey().GetHint()}
	p.verify = func(_ context.Context, key signature.Verifier, image *v1.Hash) error {
		return verifyBundle(&b, key, image)
	}
	if err := p.describe(envelope.GetPayload()); err != nil {
		return paper{}, malformed{err}
	}
	return p, nil
}

// verifyBundle checks a bundle by one key. Whatever key the bundle hints at,
// the pinned one is used.
func verifyBundle(b *bundle.Bundle, key signature.Verifier, image *v1.Hash) error {
	about := verify.WithoutArtifactUnsafe()
	if image != nil {
		digest, err := hashBytes(*image)
		if err != nil {
			return err
		}
		about = verify.WithArtifactDigest(image.Algorithm, digest)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, noTime, noTime), nil
	})
	verifier, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}
	_, err = verifier.Verify(b, verify.NewPolicy(about, verify.WithKey()))
	return err
}

// orZero is the image, or no image where it doesn't matter.
func orZero(image *v1.Hash) v1.Hash {
	if image == nil {
		return v1.Hash{}
	}
	return *image
}

// malformed marks what is stored but can't be read as what it should be: no
// reason to ask the registry again.
type malformed struct{ error }

// Unwrap returns what is wrong.
func (m malformed) Unwrap() error { return m.error }
