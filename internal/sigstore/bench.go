package sigstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/signals"
)

// bench is where the papers of one image are judged by pinned keys.
type bench struct {
	keys   keyring
	digest v1.Hash
	commit string // what the image was built from, "" if not known
	papers []paper
	now    time.Time
}

// accepted is a paper that a pinned key signed. Commits are those that it is
// about.
type accepted struct {
	fact    signals.SignedFact
	body    []byte
	commits []string
}

// accept returns the papers of a kind that a key pinned for that kind signed
// and that are about the image. If there are none it says why, per paper.
func (b bench) accept(ctx context.Context, k kind) (good []accepted, refusals []string) {
	for _, p := range b.papers {
		if p.kind != k {
			continue
		}
		signer, why := b.signer(ctx, k, p)
		if why != "" {
			refusals = append(refusals, fmt.Sprintf("%s: %s", k, why))
			continue
		}
		good = append(good, accepted{body: p.body, commits: p.commits, fact: signals.SignedFact{KeyID: signer, Form: p.form, Predicate: p.predicate, Digest: p.digest}})
	}
	if len(good) > 0 {
		return good, nil
	}
	if len(refusals) == 0 {
		refusals = []string{fmt.Sprintf("%s: expected one by %s, found none%s", k, b.keys.expected(k), b.others())}
	}
	slices.Sort(refusals)
	return nil, slices.Compact(refusals)
}

// has tells whether there is a paper of the kind at all, by whomever.
func (b bench) has(k kind) bool {
	return slices.ContainsFunc(b.papers, func(p paper) bool { return p.kind == k })
}

// signer names the pinned key that signed the paper, or says why none counts.
func (b bench) signer(ctx context.Context, k kind, p paper) (id, why string) {
	image := &b.digest
	if !p.about(b.digest) {
		if !p.ofCommit(b.commit) {
			return "", fmt.Sprintf("expected one about %s, found one about %s", b.digest, orNone(strings.Join(append(p.subjects, p.commits...), ", ")))
		}
		image = nil
	}
	for _, key := range b.keys[k] {
		if p.verify(ctx, key.verifier, image) != nil {
			continue
		}
		if key.valid(b.now) {
			return key.ID, ""
		}
		why = fmt.Sprintf("signed by %s, whose key counts from %s to %s only", key.ID, bound(key.NotBefore), bound(key.NotAfter))
	}
	if why != "" {
		return "", why
	}
	for _, other := range kinds() {
		for _, key := range b.keys[other] {
			if other != k && p.verify(ctx, key.verifier, image) == nil {
				return "", fmt.Sprintf("expected one by %s, found one by %s, whose key counts for %s only", b.keys.expected(k), key.ID, other)
			}
		}
	}
	hint := ""
	if p.hint != "" {
		hint = fmt.Sprintf(" (it calls itself %q)", p.hint)
	}
	return "", fmt.Sprintf("expected one by %s, found one that no pinned key verifies%s", b.keys.expected(k), hint)
}

// others lists the predicate types that were found, for whoever wonders why the
// papers that they see are not enough.
func (b bench) others() string {
	var found []string
	for _, p := range b.papers {
		if p.predicate != "" {
			found = append(found, p.predicate)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	return " among attestations of type " + strings.Join(slices.Compact(found), ", ")
}

func bound(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.UTC().Format(time.RFC3339)
}
