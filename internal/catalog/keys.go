package catalog

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/signals"
)

// keys reads the signers' public keys and returns them with the files' content.
func (d *document) keys(dir string, s service) (signals.Trust, [][]byte) {
	trust := signals.Trust{Builder: s.Builder}
	var files [][]byte
	into := map[string]*[]signals.PublicKey{
		"signature": &trust.Signature, "provenance": &trust.Provenance, "tests": &trust.Tests,
		"source": &trust.Source, "vulnerabilities": &trust.Vulnerabilities,
	}
	for _, set := range s.Signers.sets() {
		seen := map[string]bool{}
		for i, signer := range set.signers {
			path := fmt.Sprintf("signers.%s[%d]", set.name, i)
			if signer.ID == "" || seen[signer.ID] {
				d.fault(path+".id", "%q: want a name that no other key of this list has", signer.ID)
			}
			seen[signer.ID] = true
			if !signer.NotAfter.IsZero() && !signer.NotAfter.After(signer.NotBefore) {
				d.fault(path+".notAfter", "want a time after notBefore")
			}
			key, err := readKey(dir, signer.PublicKey)
			if err != nil {
				d.fault(path+".publicKey", "%w", err)
				continue
			}
			files = append(files, key)
			*into[set.name] = append(*into[set.name], signals.PublicKey{ID: signer.ID, PEM: string(key), NotBefore: signer.NotBefore, NotAfter: signer.NotAfter})
		}
	}
	return trust, files
}

// readKey reads a key file and proves that it holds a public key of a kind that
// signatures are checked with.
func readKey(dir, file string) ([]byte, error) {
	if file == "" {
		return nil, errors.New("want the path of a PEM file with the public key")
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return content, ParsePublicKey(content)
}

// ParsePublicKey tells why the PEM text is not exactly one public key that
// Waybill checks signatures with: ECDSA P-256, Ed25519, or RSA of 2048 bits up.
func ParsePublicKey(text []byte) error {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return errors.New("want a PEM block PUBLIC KEY (PKIX), such as cosign writes to <name>.pub")
	}
	if extra, _ := pem.Decode(rest); extra != nil {
		return errors.New("want one PEM block, found more")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("the PEM block holds no public key: %w", err)
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return nil
		}
	}
	return errors.New("want a key of ECDSA P-256, Ed25519, or RSA with at least 2048 bits")
}
