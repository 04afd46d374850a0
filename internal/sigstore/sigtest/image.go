package sigtest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Entrypoint is where an image's binary lies.
const Entrypoint = "/app"

// Image describes an image of one static binary. The same description gives the
// same digest, whenever and wherever it is built.
type Image struct {
	Binary []byte
	// Arch is the Go name of the processor that the binary is for; the system is
	// linux.
	Arch string
	// Env and Labels are part of the image's configuration.
	Env    map[string]string
	Labels map[string]string
}

// Build makes the image, whose one layer is the binary at /app, run as a user
// without rights.
func (i Image) Build() (v1.Image, error) {
	content, err := i.layer()
	if err != nil {
		return nil, fmt.Errorf("image layer: %w", err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("image layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("image layer: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", i.Arch
	config.Config.Entrypoint = []string{Entrypoint}
	config.Config.User = "65532:65532"
	config.Config.Labels = i.Labels
	for _, key := range slices.Sorted(maps.Keys(i.Env)) {
		config.Config.Env = append(config.Config.Env, key+"="+i.Env[key])
	}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	return img, nil
}

// layer is a tar archive that holds the binary, with no time in it.
func (i Image) layer() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	header := &tar.Header{Name: Entrypoint[1:], Mode: 0o555, Size: int64(len(i.Binary)), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(i.Binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Push stores the image by its digest alone and returns its reference.
func Push(ctx context.Context, repository string, img v1.Image) (name.Digest, error) {
	digest, err := img.Digest()
	if err != nil {
		return name.Digest{}, fmt.Errorf("image digest: %w", err)
	}
	ref, err := name.NewDigest(repository+"@"+digest.String(), name.Insecure)
	if err != nil {
		return name.Digest{}, fmt.Errorf("image reference: %w", err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", ref, err)
	}
	return ref, nil
}

// Tag lets the tag of the repository name the image, which must be there.
func Tag(ctx context.Context, image name.Digest, tag string) error {
	at, err := remote.Get(image, remote.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reading %s: %w", image, err)
	}
	if err := remote.Tag(image.Tag(tag), at, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("tagging %s as %s: %w", image, tag, err)
	}
	return nil
}
