package seed

import (
	"context"
	"crypto/sha1" //nolint:gosec // Git's commit ids are of this form
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
)

// The demo service, as its images and its catalog entry name it.
const (
	Service = "payments-api"
	source  = "https://git.example/payments/payments-api"
	builder = "https://ci.example/builders/payments/v1"
	// Role accounts of the demo, by the addresses that the issuer knows.
	author   = "developer@payments.example"
	reviewer = "release-lead@payments.example"
)

// Version is one image of the demo service.
type Version struct {
	Tag string `json:"tag"`
	// About says in a few words what it is like.
	About string `json:"about"`
	// Image is repository@digest.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit"`

	env  map[string]string
	form sigtest.Form
	// signer is the name of the key that signs it; "" for nobody.
	signer string
}

// versions of the demo service. The two forms of signature take turns, so that
// a demo meets both.
func versions() []Version {
	return []Version{
		{Tag: "v1", About: "good", form: sigtest.Legacy, signer: CIKey},
		{Tag: "v2", About: "good", form: sigtest.Bundle, signer: CIKey},
		{Tag: "v3", About: "fails three requests in ten", form: sigtest.Legacy, signer: CIKey, env: map[string]string{"ERROR_RATIO": "0.3"}},
		{Tag: "v4", About: "slow", form: sigtest.Bundle, signer: CIKey, env: map[string]string{"LATENCY": "2500ms"}},
		{Tag: "v5", About: "good, but not signed", form: sigtest.Bundle},
		{Tag: "v6", About: "good, but signed by a stranger", form: sigtest.Bundle, signer: StrangerKey},
	}
}

// Images says where to put the images and what to make them from.
type Images struct {
	Registry string // host:port
	Keys     string // folder of the keys
	Cosign   sigtest.Cosign
	Binary   string // file of the service's static binary
	// Done is told of each image, possibly from several goroutines.
	Done func(Version)
}

// Push builds and pushes the images and has them signed; those that are there
// already are left alone. It returns them in order.
func (i Images) Push(ctx context.Context) ([]Version, error) {
	binary, err := os.ReadFile(i.Binary)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	all := versions()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for n := range all {
		group.Go(func() error {
			v, err := i.push(ctx, binary, all[n])
			if err != nil {
				return fmt.Errorf("image %s: %w", all[n].Tag, err)
			}
			mu.Lock()
			defer mu.Unlock()
			all[n] = v
			if i.Done != nil {
				i.Done(v)
			}
			return nil
		})
	}
	return all, group.Wait()
}

func (i Images) push(ctx context.Context, binary []byte, v Version) (Version, error) {
	env := map[string]string{"VERSION": v.Tag}
	maps.Copy(env, v.env)
	keys := sigtest.Keys{
		Provenance: keyAt(i.Keys, BuilderKey), Tests: keyAt(i.Keys, TestsKey),
		Source: keyAt(i.Keys, SourceKey), Scan: keyAt(i.Keys, ScannerKey),
	}
	if v.signer != "" {
		keys.Signature = keyAt(i.Keys, v.signer)
	}
	v.Commit = commitOf(v.Tag)
	var err error
	v.Digest, err = sigtest.Seed(ctx, sigtest.SeedInput{
		Cosign: i.Cosign, Registry: i.Registry, Repo: Service, Tag: v.Tag, Binary: binary, Env: env,
		Commit: v.Commit, Source: source, Builder: builder, Author: author, Reviewer: reviewer, Keys: keys, Form: v.form,
	})
	v.Image = i.Registry + "/" + Service + "@" + v.Digest
	return v, err
}

// commitOf makes up the commit that a version was built from.
func commitOf(tag string) string {
	sum := sha1.Sum([]byte(Service + " " + tag)) //nolint:gosec // an id, not a protection
	return hex.EncodeToString(sum[:])
}

// Find returns the version with the tag.
func Find(all []Version, tag string) (Version, error) {
	for _, v := range all {
		if v.Tag == tag {
			return v, nil
		}
	}
	return Version{}, errors.New("no version " + tag + " of " + Service + " was seeded")
}
