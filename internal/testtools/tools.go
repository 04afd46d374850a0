// Package testtools gives tests what they need of the machine: the repository
// around them, its pinned tools, free ports, and children that don't outlive them.
package testtools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// installTimeout bounds the build of a tool, which takes minutes the first time.
const installTimeout = 30 * time.Minute

// Root is the nearest folder upwards from the working directory that holds a
// go.mod: the repository's root, from any of its packages.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("find the repository: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no go.mod in %s or above it; run inside a clone", start)
		}
	}
}

// Tool is the path of one of the tools that deploy/tools pins, in the version
// that is pinned now; it is built first where it is missing.
func Tool(ctx context.Context, name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	script := filepath.Join(root, "deploy", "tools", "install.sh")
	if out, err := exec.CommandContext(ctx, script, name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return filepath.Join(root, ".tools", "bin", name), nil
}
