package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// executable is what an image runs, from its unpacked files.
type executable struct {
	root, path string
	args, env  []string
}

// unpack pulls an image and unpacks it below dir, once per digest. Images whose
// program needs more than its own files will not run this way; static ones do.
func unpack(ctx context.Context, image, dir string) (executable, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	reference, err := name.ParseReference(image)
	if err != nil {
		return executable{}, fmt.Errorf("image %s: %w", image, err)
	}
	pulled, err := remote.Image(reference, remote.WithContext(ctx))
	if err != nil {
		return executable{}, fmt.Errorf("pull %s: %w", image, err)
	}
	digest, err := pulled.Digest()
	if err != nil {
		return executable{}, fmt.Errorf("pull %s: %w", image, err)
	}
	config, err := pulled.ConfigFile()
	if err != nil {
		return executable{}, fmt.Errorf("pull %s: %w", image, err)
	}
	argv := slices.Concat(config.Config.Entrypoint, config.Config.Cmd)
	if len(argv) == 0 {
		return executable{}, fmt.Errorf("image %s says not what it runs", image)
	}
	root := filepath.Join(dir, digest.Hex)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := extract(pulled, root); err != nil {
			return executable{}, fmt.Errorf("unpack %s: %w", image, err)
		}
	}
	return executable{root: root, path: filepath.Join(root, argv[0]), args: argv[1:], env: config.Config.Env}, nil
}

// extract writes an image's regular files below root, which is there only when
// all of them are.
func extract(image v1.Image, root string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o750); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(root), "unpack")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	inside, err := os.OpenRoot(work)
	if err != nil {
		return err
	}
	defer func() { _ = inside.Close() }()
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(inside, strings.TrimPrefix(filepath.Clean("/"+header.Name), "/"), header.FileInfo().Mode().Perm(), archive); err != nil {
			return err
		}
	}
	if err := os.Chmod(work, 0o755); err != nil { //nolint:gosec // the program must be reachable for whoever runs it
		return err
	}
	err = os.Rename(work, root)
	if errors.Is(err, fs.ErrExist) {
		return nil // another pod of the image was faster
	}
	return err
}

func writeFile(inside *os.Root, file string, mode fs.FileMode, content io.Reader) error {
	if err := inside.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := inside.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, content); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
