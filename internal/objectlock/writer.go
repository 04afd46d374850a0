package objectlock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/waybill-dev/waybill/internal/evidence"
)

// Writer adds records to a bucket. Only the notary has one.
type Writer struct {
	*Reader
	mode types.ObjectLockMode
}

// NewWriter makes a writer that locks with mode, COMPLIANCE or GOVERNANCE; no
// call is made yet.
func NewWriter(ctx context.Context, c Config, mode string) (*Writer, error) {
	switch types.ObjectLockMode(mode) {
	case types.ObjectLockModeCompliance, types.ObjectLockModeGovernance:
	default:
		return nil, fmt.Errorf("lock mode %q: want COMPLIANCE or GOVERNANCE", mode)
	}
	reader, err := NewReader(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Writer{reader, types.ObjectLockMode(mode)}, nil
}

// Mode is the retention mode that Put asks for.
func (w *Writer) Mode() string { return string(w.mode) }

// Put stores a body under a key that must be free, locked until a time, and
// returns its version. It is evidence.ErrTaken if the key is not free.
func (w *Writer) Put(ctx context.Context, key string, body []byte, retainUntil time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sum := sha256.Sum256(body)
	out, err := w.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(body),
		ContentType:               aws.String("application/json"),
		IfNoneMatch:               aws.String("*"),
		ChecksumAlgorithm:         types.ChecksumAlgorithmSha256,
		ChecksumSHA256:            aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		ObjectLockMode:            w.mode,
		ObjectLockRetainUntilDate: &retainUntil,
	})
	if code(err) == "PreconditionFailed" {
		return "", fmt.Errorf("write %s to bucket %s: %w", key, w.bucket, evidence.ErrTaken)
	}
	if err != nil {
		return "", fmt.Errorf("write %s to bucket %s: %w", key, w.bucket, err)
	}
	if aws.ToString(out.VersionId) == "" {
		return "", fmt.Errorf("write %s to bucket %s: the server gave no version id; does the bucket keep versions?", key, w.bucket)
	}
	return *out.VersionId, nil
}
