package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

func newSigner(t *testing.T, id string) (*auth.Signer, *ecdsa.PrivateKey, signals.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s, err := auth.NewSigner(id, key)
	require.NoError(t, err)
	pub, err := s.PublicKey()
	require.NoError(t, err)
	return s, key, pub
}

func TestSignedStatementsOpenWithThePinnedKeyAlone(t *testing.T) {
	signer, _, pub := newSigner(t, "gateway-1")
	_, _, other := newSigner(t, "gateway-1")
	now := time.Now()

	rapid.Check(t, func(rt *rapid.T) {
		want := signals.ApprovalStatement{
			Binding:  signals.Binding{Release: rapid.String().Draw(rt, "release"), Nonce: auth.Nonce()},
			Decision: signals.Approve,
			Reason:   rapid.StringN(0, 50, -1).Draw(rt, "reason"),
		}
		env, err := signer.Sign(signals.ApprovalPayload, want)
		require.NoError(rt, err)

		var got signals.ApprovalStatement
		require.NoError(rt, env.OpenInto(signals.ApprovalPayload, []signals.PublicKey{pub}, now, &got))
		assert.Equal(rt, want.Nonce, got.Nonce)
		assert.Equal(rt, want.Reason, got.Reason)

		_, err = env.Open(signals.CommandPayload, []signals.PublicKey{pub}, now)
		require.Error(rt, err, "an approval is no command")
		_, err = env.Open(signals.ApprovalPayload, []signals.PublicKey{other}, now)
		require.Error(rt, err, "another key under the same id")
	})
}

// TestSignaturesVerifyWithTheDSSELibrary has the reference library judge what
// was signed, so that signer and verifier can't be wrong in the same way.
func TestSignaturesVerifyWithTheDSSELibrary(t *testing.T) {
	signer, key, _ := newSigner(t, "gateway-1")
	env, err := signer.Sign(signals.CommandPayload, signals.CommandStatement{Command: signals.Abort})
	require.NoError(t, err)

	verifier, err := dsse.NewEnvelopeVerifier(publicOnly{&key.PublicKey})
	require.NoError(t, err)
	accepted, err := verifier.Verify(t.Context(), &dsse.Envelope{
		PayloadType: env.PayloadType, Payload: env.Payload,
		Signatures: []dsse.Signature{{KeyID: env.Signatures[0].KeyID, Sig: env.Signatures[0].Sig}},
	})
	require.NoError(t, err)
	require.Len(t, accepted, 1)
	assert.Equal(t, "gateway-1", accepted[0].KeyID)
}

// While keys are rotated, who pinned either key finds its signature, and who
// pinned both finds the one that is good at the time.
func TestEveryKeySigns(t *testing.T) {
	_, oldKey, oldPub := newSigner(t, "gateway-1")
	_, newKey, newPub := newSigner(t, "gateway-2")
	_, _, stranger := newSigner(t, "gateway-1")
	both, err := auth.NewSigners([]auth.SigningKey{{ID: "gateway-1", Key: oldKey}, {ID: "gateway-2", Key: newKey}})
	require.NoError(t, err)
	pubs, err := both.PublicKeys()
	require.NoError(t, err)
	require.Equal(t, []signals.PublicKey{oldPub, newPub}, pubs)
	env, err := both.Sign(signals.CommandPayload, signals.CommandStatement{Command: signals.Abort})
	require.NoError(t, err)
	require.Len(t, env.Signatures, 2)

	now := time.Now()
	over, ahead := oldPub, newPub
	over.NotAfter, ahead.NotBefore = now.Add(-time.Hour), now.Add(time.Hour)
	for name, c := range map[string]struct {
		pinned []signals.PublicKey
		says   string
	}{
		"the old one":                       {[]signals.PublicKey{oldPub}, ""},
		"the new one":                       {[]signals.PublicKey{newPub}, ""},
		"the old one ran out, and the new":  {[]signals.PublicKey{over, newPub}, ""},
		"the old one, and the new to come":  {[]signals.PublicKey{ahead, oldPub}, ""},
		"a stranger's of the id, and a new": {[]signals.PublicKey{stranger, newPub}, ""},
		"the old one ran out":               {[]signals.PublicKey{over}, "is valid from"},
		"neither is good at the time":       {[]signals.PublicKey{over, ahead}, "is valid from"},
		"a stranger's of the id":            {[]signals.PublicKey{stranger}, "does not verify"},
		"none":                              {nil, "want one of (none)"},
	} {
		_, err := env.Open(signals.CommandPayload, c.pinned, now)
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.says, name)
	}

	_, err = auth.NewSigners(nil)
	require.ErrorContains(t, err, "at least one key")
	_, err = auth.NewSigners([]auth.SigningKey{{ID: "a", Key: oldKey}, {ID: "a", Key: newKey}})
	require.ErrorContains(t, err, `"a" is listed twice`)
}

type publicOnly struct{ *ecdsa.PublicKey }

func (k publicOnly) Verify(_ context.Context, data, sig []byte) error {
	sum := sha256.Sum256(data)
	if !ecdsa.VerifyASN1(k.PublicKey, sum[:], sig) {
		return os.ErrInvalid
	}
	return nil
}
func (publicOnly) KeyID() (string, error)     { return "gateway-1", nil }
func (k publicOnly) Public() crypto.PublicKey { return k.PublicKey }

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return der
	}
	pkix := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		return der
	}

	signer, err := auth.LoadSigner("gateway-1", write("good.pem", "PRIVATE KEY", pkcs8(p256)))
	require.NoError(t, err)
	env, err := signer.Sign(signals.CommandPayload, struct{}{})
	require.NoError(t, err)
	pub, err := auth.LoadPublicKey("gateway-1", write("good.pub", "PUBLIC KEY", pkix(&p256.PublicKey)))
	require.NoError(t, err)
	_, err = env.Open(signals.CommandPayload, []signals.PublicKey{pub}, time.Now())
	require.NoError(t, err, "key pair read from files")

	for name, path := range map[string]string{
		"missing":       filepath.Join(dir, "nowhere.pem"),
		"another curve": write("p384.pem", "PRIVATE KEY", pkcs8(p384)),
		"RSA":           write("rsa.pem", "PRIVATE KEY", pkcs8(rsaKey)),
		"a public key":  write("pub.pem", "PUBLIC KEY", pkix(&p256.PublicKey)),
		"broken":        write("broken.pem", "PRIVATE KEY", []byte("x")),
	} {
		_, err := auth.LoadSigner("gateway-1", path)
		require.ErrorContains(t, err, filepath.Base(path), name)
	}
	from, until := time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	old, err := auth.LoadPublicKeyWithin("gateway-1", filepath.Join(dir, "good.pub"), from, until)
	require.NoError(t, err)
	require.Equal(t, pub.PEM, old.PEM)
	_, err = env.Open(signals.CommandPayload, []signals.PublicKey{old}, time.Now())
	require.ErrorContains(t, err, "is valid from")
	_, err = auth.LoadPublicKeyWithin("gateway-1", filepath.Join(dir, "good.pub"), until, from)
	require.ErrorContains(t, err, "which is never")

	for name, path := range map[string]string{
		"missing":       filepath.Join(dir, "nowhere.pub"),
		"another curve": write("p384.pub", "PUBLIC KEY", pkix(&p384.PublicKey)),
		"a private key": write("priv.pub", "PRIVATE KEY", pkcs8(p256)),
		"broken":        write("broken.pub", "PUBLIC KEY", []byte("x")),
	} {
		_, err := auth.LoadPublicKey("gateway-1", path)
		require.ErrorContains(t, err, filepath.Base(path), name)
	}
	_, err = auth.NewSigner("", p256)
	require.ErrorContains(t, err, "key id")
}

func TestNoncesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := auth.Nonce()
		require.Len(t, n, 32)
		require.False(t, seen[n])
		seen[n] = true
	}
}
