// Package repo finds the repository that the local stack is built from, and the
// tools that it pins.
package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the first line of the repository's go.mod.
const module = "module github.com/waybill-dev/waybill\n"

// Root is the repository around the working directory, or else around this
// program.
func Root() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), module) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("the local stack is built from Waybill's repository: run this inside a clone of it")
}

// Tools is the folder of the built tools.
func Tools(root string) string { return filepath.Join(root, ".tools", "bin") }

// Install builds the named tools where they are missing, which takes minutes.
func Install(ctx context.Context, root string, names ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "deploy", "tools", "install.sh"), names...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the tools %s: %w: %s", strings.Join(names, ", "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Build compiles the packages (paths such as ./cmd/waybill) into the folder
// out. The same sources give the same bytes.
func Build(ctx context.Context, root, out string, packages ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out + string(filepath.Separator)}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", strings.Join(packages, " "), err, strings.TrimSpace(string(text)))
	}
	return nil
}
