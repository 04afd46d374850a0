package sigtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Installed returns the cosign that the repository around the working directory
// pins, and builds it first if that has not been done yet, which takes minutes.
func Installed(ctx context.Context) (Cosign, error) {
	root, err := os.Getwd()
	if err != nil {
		return Cosign{}, fmt.Errorf("finding cosign: %w", err)
	}
	for !exists(filepath.Join(root, "go.mod")) {
		if root == filepath.Dir(root) {
			return Cosign{}, errors.New("finding cosign: no go.mod here or above; run inside the repository")
		}
		root = filepath.Dir(root)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(root, "deploy", "tools", "install.sh"), "cosign").CombinedOutput()
	if err != nil {
		return Cosign{}, fmt.Errorf("installing cosign: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return Cosign{Path: filepath.Join(root, ".tools", "bin", "cosign")}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
