// Package seed fills a fresh local stack: keys, the demo service's images with
// their papers, its catalog entry and its two environments.
package seed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
)

// Waybill's own keys, by the id that they are pinned under.
// The gateway signs with two keys, as it does while they are rotated.
const (
	GatewayKey     = "gateway-1"
	GatewayNextKey = "gateway-2"
	EvidenceKey    = "evidence-1"
)

// Keys of the demo service's supply chain, by name. Nobody trusts the stranger.
const (
	CIKey       = "payments-ci"
	BuilderKey  = "builder"
	TestsKey    = "tests"
	SourceKey   = "source"
	ScannerKey  = "scanner"
	StrangerKey = "stranger"
)

// Keys makes in dir the keys that are not there yet: those of Waybill itself as
// NAME.pem (ECDSA P-256, PKCS #8) and NAME.pub, those of the supply chain as
// cosign makes them.
func Keys(ctx context.Context, dir string, cosign sigtest.Cosign) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, name := range []string{GatewayKey, GatewayNextKey, EvidenceKey} {
		if err := ensureKey(dir, name); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{CIKey, BuilderKey, TestsKey, SourceKey, ScannerKey, StrangerKey} {
		group.Go(func() error {
			_, err := cosign.GenerateKey(ctx, dir, name)
			return err
		})
	}
	return group.Wait()
}

// ensureKey makes a key pair. The private half is written last, so that it is
// there only together with the public one.
func ensureKey(dir, name string) error {
	private := filepath.Join(dir, name+".pem")
	if _, err := os.Stat(private); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key %s: %w", name, err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("encode key %s: %w", name, err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	if err := os.WriteFile(filepath.Join(dir, name+".pub"), text, 0o644); err != nil {
		return fmt.Errorf("keep key %s: %w", name, err)
	}
	if err := os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("keep key %s: %w", name, err)
	}
	return nil
}

// keyAt is a cosign key pair that Keys has made.
func keyAt(dir, name string) *sigtest.Key {
	return &sigtest.Key{Private: filepath.Join(dir, name+".key"), Public: filepath.Join(dir, name+".pub")}
}
