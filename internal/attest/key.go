package attest

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
)

// passwordVariable is where cosign takes the password of a key file from.
const passwordVariable = "COSIGN_PASSWORD"

// OpenKey opens a private key by reference: a file as cosign generate-key-pair
// writes it, env://NAME for a variable that holds such a file's text, or a KMS
// URI such as awskms:///alias/tests, as far as the program has that provider.
func OpenKey(ctx context.Context, ref string) (signature.SignerVerifier, error) {
	var text []byte
	variable, isVariable := strings.CutPrefix(ref, "env://")
	switch {
	case isVariable:
		value, set := os.LookupEnv(variable)
		if !set {
			return nil, fmt.Errorf("key %s: the variable is not set", ref)
		}
		text = []byte(value)
	case strings.Contains(ref, "://"):
		return openKMS(ctx, ref)
	default:
		content, err := os.ReadFile(ref)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		text = content
	}
	key, err := cosign.LoadPrivateKey(text, []byte(os.Getenv(passwordVariable)), nil)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w; want a key by cosign generate-key-pair and its password in %s", ref, err, passwordVariable)
	}
	return key, nil
}

func openKMS(ctx context.Context, ref string) (signature.SignerVerifier, error) {
	key, err := kms.Get(ctx, ref, crypto.SHA256)
	if unknown := (*kms.ProviderNotFoundError)(nil); errors.As(err, &unknown) {
		return nil, fmt.Errorf("key %s: no such KMS; known: %s", ref, strings.Join(kms.SupportedProviders(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return key, nil
}
