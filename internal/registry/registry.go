// Package registry resolves image references against OCI registries.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/waybill-dev/waybill/signals"
)

const (
	// resolveTimeout bounds one resolution, the library's own retries included.
	resolveTimeout = 20 * time.Second
	// tagsShown is how many of a repository's tags an error lists.
	tagsShown = 12
)

// Client talks to registries over one pool of connections. Credentials come
// from the Docker configuration of the process's user.
type Client struct {
	plainHTTP []string
	transport http.RoundTripper
}

// New returns a client. plainHTTP lists the hosts ("host:port") that speak HTTP
// without TLS; loopback addresses need no mention.
func New(plainHTTP []string) *Client {
	pool := remote.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be a *http.Transport
	pool.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	pool.ResponseHeaderTimeout = 10 * time.Second
	return &Client{plainHTTP: plainHTTP, transport: pool}
}

// Options are the library's options for one call under ctx. Nothing of a call
// outlives it but connections: the library's reusable puller would also keep a
// failed first contact for ever.
func (c *Client) Options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(c.transport),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent("waybill"),
	}
}

// NameOptions are the library's options for parsing a reference to an image.
func (c *Client) NameOptions(image string) []name.Option {
	options := []name.Option{name.StrictValidation}
	if host, _, _ := strings.Cut(image, "/"); slices.Contains(c.plainHTTP, host) {
		options = append(options, name.Insecure)
	}
	return options
}

// Resolve finds the digest that image names now and returns the artifact pinned
// to it; its Tag is set if the reference has one. An image named by digest must
// be in the registry under that digest. Errors whose BadRequest method says
// true can be mended by the requester alone; all others may pass with time.
func (c *Client) Resolve(ctx context.Context, image string) (signals.Artifact, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ref, tag, err := c.parse(image)
	if err != nil {
		return signals.Artifact{}, err
	}
	found, err := remote.Get(ref, c.Options(ctx)...)
	if missing(err) {
		return signals.Artifact{}, c.notFound(ctx, image, ref)
	}
	if err != nil {
		return signals.Artifact{}, &Error{Kind: Unreachable, Image: image, Detail: fmt.Sprintf("the registry %s did not answer as it should; check that it runs and lets this process read", ref.Context().RegistryStr()), Err: err}
	}
	if !found.MediaType.IsImage() && !found.MediaType.IsIndex() {
		return signals.Artifact{}, &Error{Kind: NotAnImage, Image: image, Detail: fmt.Sprintf("want a container image or an index of images, found %s", found.MediaType)}
	}
	return signals.Artifact{Repository: ref.Context().Name(), Tag: tag, Digest: found.Digest.String()}, nil
}

// parse reads "repository:tag", "repository@digest" or "repository:tag@digest".
// A reference that has a digest is resolved by it alone.
func (c *Client) parse(image string) (ref name.Reference, tag string, err error) {
	malformed := func(err error) error {
		return &Error{Kind: Malformed, Image: image, Detail: "want host/repository@sha256:<64 hex digits>, or host/repository:tag where the tier allows a tag", Err: err}
	}
	ref, err = name.ParseReference(image, c.NameOptions(image)...)
	if err != nil {
		return nil, "", malformed(err)
	}
	if digest, ok := ref.(name.Digest); ok {
		if !signals.ValidDigest(digest.DigestStr()) {
			return nil, "", malformed(fmt.Errorf("digest %s is not SHA-256", digest.DigestStr()))
		}
		if tagged, err := name.NewTag(strings.TrimSuffix(image, "@"+digest.DigestStr()), c.NameOptions(image)...); err == nil {
			tag = tagged.TagStr()
		}
		return ref, tag, nil
	}
	return ref, ref.Identifier(), nil
}

// notFound tells a digest or tag that isn't there from a repository that isn't,
// and lists the tags that are.
func (c *Client) notFound(ctx context.Context, image string, ref name.Reference) error {
	if _, ok := ref.(name.Digest); ok {
		return &Error{Kind: NoSuchDigest, Image: image, Detail: "the registry has no image with this digest in this repository; push the image first, or copy the digest that the push printed"}
	}
	detail := "there is no such tag"
	tags, err := remote.List(ref.Context(), c.Options(ctx)...)
	switch {
	case missing(err):
		detail = "the registry has no repository " + ref.Context().RepositoryStr()
	case err == nil && len(tags) > tagsShown:
		detail += fmt.Sprintf("; the repository has %d tags, among them %s", len(tags), strings.Join(tags[:tagsShown], ", "))
	case err == nil && len(tags) > 0:
		detail += "; the repository has " + strings.Join(tags, ", ")
	}
	return &Error{Kind: NoSuchTag, Image: image, Detail: detail}
}

// missing tells whether err is the registry's "not found".
func missing(err error) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}
