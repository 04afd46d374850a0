package sigtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Form is the way in which cosign stores signatures and attestations.
type Form string

// The forms: Legacy writes the tags sha256-<hex>.sig and .att beside the image,
// Bundle writes Sigstore bundles that refer to the image (OCI referrers).
const (
	Legacy Form = "legacy"
	Bundle Form = "bundle"
)

// callTimeout bounds one run of cosign; all it talks to is a local registry.
const callTimeout = time.Minute

// Cosign runs the cosign CLI at Path.
type Cosign struct {
	Path string
}

// Key is a cosign key pair in files: Private is encrypted with the empty
// password, Public is a PKIX PEM.
type Key struct {
	Private string
	Public  string
}

// GenerateKey makes the key pair dir/name.key and dir/name.pub, or returns the
// one that is there already.
func (c Cosign) GenerateKey(ctx context.Context, dir, name string) (Key, error) {
	prefix := filepath.Join(dir, name)
	key := Key{Private: prefix + ".key", Public: prefix + ".pub"}
	_, private := os.Stat(key.Private)
	_, public := os.Stat(key.Public)
	if private == nil && public == nil {
		return key, nil
	}
	if !errors.Is(errors.Join(private, public), fs.ErrNotExist) {
		return key, fmt.Errorf("key pair %s: %w", prefix, errors.Join(private, public))
	}
	if private == nil || public == nil {
		return key, fmt.Errorf("key pair %s: one of .key and .pub is missing; remove the other and start again", prefix)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return key, fmt.Errorf("folder for key pair %s: %w", prefix, err)
	}
	return key, c.run(ctx, "generate-key-pair", "--output-key-prefix", prefix)
}

// Sign signs the image, which is repository@digest, with the key.
func (c Cosign) Sign(ctx context.Context, image string, key Key, form Form) error {
	return c.run(ctx, append(common("sign", key, form), image)...)
}

// Attest attaches the predicate, which is marshalled to JSON, to the image,
// signed by the key. predicateType is its URI or a name that cosign knows.
func (c Cosign) Attest(ctx context.Context, image string, key Key, form Form, predicateType string, predicate any) error {
	body, err := json.Marshal(predicate)
	if err != nil {
		return fmt.Errorf("predicate %s: %w", predicateType, err)
	}
	file, err := os.CreateTemp("", "predicate-*.json")
	if err != nil {
		return fmt.Errorf("predicate %s: %w", predicateType, err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // a leftover in the temporary folder harms nothing
	_, err = file.Write(body)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("predicate %s: %w", predicateType, err)
	}
	return c.run(ctx, append(common("attest", key, form), "--type", predicateType, "--predicate", file.Name(), image)...)
}

// common are the arguments that signing and attesting share. No transparency
// log: a local stack has none and its keys are pinned.
func common(verb string, key Key, form Form) []string {
	return []string{
		verb, "--yes", "--key", key.Private, "--tlog-upload=false", "--allow-http-registry",
		fmt.Sprintf("--new-bundle-format=%t", form == Bundle),
	}
}

func (c Cosign) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Path, args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cosign %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return nil
}
