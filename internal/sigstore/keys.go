package sigstore

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/waybill-dev/waybill/signals"
)

// kind is a kind of paper, named as refusals name it.
type kind string

const (
	signatureKind  kind = "signature"
	provenanceKind kind = "provenance"
	testsKind      kind = "tests"
	sourceKind     kind = "source"
	scanKind       kind = "vulnerabilities"
)

// kinds lists all kinds in the order in which they are judged.
func kinds() []kind {
	return []kind{signatureKind, provenanceKind, testsKind, sourceKind, scanKind}
}

// key is one pinned public key, ready to verify with.
type key struct {
	signals.PublicKey
	verifier signature.Verifier
}

// valid tells whether the key may be believed at a time. Nothing but the signer
// says when a signature was made, so the time of looking is what counts.
func (k key) valid(at time.Time) bool {
	return !at.Before(k.NotBefore) && (k.NotAfter.IsZero() || at.Before(k.NotAfter))
}

// keyring holds the keys that count, per kind of paper.
type keyring map[kind][]key

// pinned loads the keys of a plan's trust.
func pinned(trust signals.Trust) (keyring, error) {
	ring := keyring{}
	for kind, set := range map[kind][]signals.PublicKey{
		signatureKind: trust.Signature, provenanceKind: trust.Provenance, testsKind: trust.Tests,
		sourceKind: trust.Source, scanKind: trust.Vulnerabilities,
	} {
		for _, public := range set {
			parsed, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(public.PEM))
			if err != nil {
				return nil, fmt.Errorf("pinned %s key %s: %w", kind, public.ID, err)
			}
			verifier, err := signature.LoadVerifier(parsed, crypto.SHA256)
			if err != nil {
				return nil, fmt.Errorf("pinned %s key %s: %w", kind, public.ID, err)
			}
			ring[kind] = append(ring[kind], key{PublicKey: public, verifier: verifier})
		}
	}
	return ring, nil
}

// expected names the keys of a kind for a refusal.
func (r keyring) expected(k kind) string {
	ids := make([]string, len(r[k]))
	for i, key := range r[k] {
		ids[i] = key.ID
	}
	slices.Sort(ids)
	switch len(ids) {
	case 0:
		return "a key, but none is pinned"
	case 1:
		return ids[0]
	default:
		return "one of " + strings.Join(ids, ", ")
	}
}
