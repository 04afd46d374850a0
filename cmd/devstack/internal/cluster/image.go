package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pauseImage is the image that holds a pod's namespaces; containerd has it
// from an archive and never pulls it.
const pauseImage = "waybill.dev/pause:1"

//go:embed pause/main.go
var pauseSource []byte

// pauseArchive builds the pause image into dir, once per version of its
// source, and returns the archive's path.
func pauseArchive(ctx context.Context, dir string) (string, error) {
	sum := sha256.Sum256(pauseSource)
	archive := filepath.Join(dir, "pause-"+hex.EncodeToString(sum[:4])+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	work, err := os.MkdirTemp(dir, "pause")
	if err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	program, err := buildPause(ctx, work)
	if err != nil {
		return "", err
	}
	image, err := imageOf("pause", program)
	if err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	tag, err := name.NewTag(pauseImage)
	if err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	if err := tarball.WriteToFile(filepath.Join(work, "image.tar"), tag, image); err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	if err := os.Rename(filepath.Join(work, "image.tar"), archive); err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	return archive, nil
}

// buildPause compiles the embedded program, wherever this one was built.
func buildPause(ctx context.Context, dir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "pause")
	if err := os.WriteFile(source, pauseSource, 0o600); err != nil {
		return nil, fmt.Errorf("build the pause program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", program, source)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the pause program: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(program)
}

// imageOf makes an image for this machine that holds one static program and
// starts it.
func imageOf(file string, program []byte) (v1.Image, error) {
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	if err := archive.WriteHeader(&tar.Header{Name: file, Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := archive.Write(program); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	added, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, added)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/" + file}
	config.Config.User = "65535:65535"
	return mutate.ConfigFile(image, config)
}
