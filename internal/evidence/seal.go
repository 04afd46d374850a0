package evidence

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/signals"
)

// Faults of a signature, to be told apart by errors.Is.
var (
	// ErrEnvelope: the bytes are not an envelope as Waybill writes it.
	ErrEnvelope = errors.New("not a record's envelope")
	// ErrSigner: no signature is by a known key.
	ErrSigner = errors.New("unknown signer")
	// ErrSignature: a signature is by a known key's name and does not verify.
	ErrSignature = errors.New("signature does not verify")
)

// Seal signs a payload and returns the exact bytes to store.
func Seal(ctx context.Context, signer Signer, payload []byte) ([]byte, error) {
	sig, err := signer.Sign(ctx, dsse.PAE(PayloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", signer.KeyID(), err)
	}
	return json.Marshal(signals.Envelope{
		PayloadType: PayloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []signals.EnvelopeSignature{{KeyID: signer.KeyID(), Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// Unseal reads stored bytes without judging the signature. The bytes must be
// exactly as Seal writes them, so that nothing unsigned can hide in them.
func Unseal(body []byte) (signals.Envelope, []byte, error) {
	var e signals.Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return e, nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if e.PayloadType != PayloadType {
		return e, nil, fmt.Errorf("%w: payload type %q, want %s", ErrEnvelope, e.PayloadType, PayloadType)
	}
	if len(e.Signatures) != 1 {
		return e, nil, fmt.Errorf("%w: %d signatures, want one", ErrEnvelope, len(e.Signatures))
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(e.Payload)
	if err != nil {
		return e, nil, fmt.Errorf("%w: payload: %w", ErrEnvelope, err)
	}
	again, err := json.Marshal(e)
	if err != nil || !bytes.Equal(again, body) {
		return e, nil, fmt.Errorf("%w: it holds fields or spacing that a record never has", ErrEnvelope)
	}
	return e, payload, nil
}
