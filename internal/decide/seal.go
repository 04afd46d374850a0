package decide

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// sealer turns values into text that only gateways with the same secret can make
// and read. What a text is for is bound into it, so that one can't stand in for
// another.
type sealer struct{ keys []cipher.AEAD }

// newSealer derives a key from each secret. The first seals; all of them open,
// so that sessions live through a rotation.
func newSealer(secrets [][]byte) (*sealer, error) {
	s := &sealer{}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "waybill decision page v1", 32)
		if err != nil {
			return nil, fmt.Errorf("key of the decision page: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("key of the decision page: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("key of the decision page: %w", err)
		}
		s.keys = append(s.keys, aead)
	}
	if len(s.keys) == 0 {
		return nil, errors.New("the decision page needs a secret to seal its sessions with")
	}
	return s, nil
}

func (s *sealer) seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal a %s: %w", purpose, err)
	}
	sealed := s.keys[0].Seal(nil, nil, plain, []byte(purpose)) //nolint:gosec // this cipher draws the nonce itself
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

var errSeal = errors.New("it was not made by this gateway, or for something else")

func (s *sealer) open(purpose, text string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errSeal
	}
	for _, key := range s.keys {
		if plain, err := key.Open(nil, nil, raw, []byte(purpose)); err == nil {
			return json.Unmarshal(plain, into)
		}
	}
	return errSeal
}

func random() string { return rand.Text() }
