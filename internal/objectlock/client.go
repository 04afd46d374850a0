package objectlock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Config says where the bucket is. Credentials come from the standard AWS
// sources: environment, shared files, or the machine's role.
type Config struct {
	Bucket   string
	Endpoint string // "" is AWS
	Region   string
	// PathStyle puts the bucket into the path, as most servers other than AWS
	// want it.
	PathStyle bool
	// HTTPClient replaces the SDK's, nil keeps it.
	HTTPClient *http.Client
}

// callTimeout bounds one call with all its retries: a record's whole round of
// calls must fit into the activity's twenty seconds.
const callTimeout = 6 * time.Second

// attempts is how often one call is tried before it is the caller's turn.
const attempts = 3

// dial makes the client of one bucket; no call is made yet.
func dial(ctx context.Context, c Config) (*s3.Client, error) {
	if c.Bucket == "" {
		return nil, errors.New("no bucket named")
	}
	options := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = attempts, time.Second
			})
		}),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration for bucket %s: %w", c.Bucket, err)
	}
	if loaded.Region == "" {
		return nil, fmt.Errorf("no region for bucket %s: set it, or AWS_REGION", c.Bucket)
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
		if c.HTTPClient != nil {
			o.HTTPClient = c.HTTPClient
		}
	}), nil
}

// code is the S3 error code of err, "" if it has none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Check makes sure that the bucket keeps versions and has Object Lock; an error
// says which of them is missing.
func (r *Reader) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	versioning, err := r.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &r.bucket})
	if err != nil {
		return fmt.Errorf("ask for the versioning of bucket %s: %w", r.bucket, err)
	}
	if versioning.Status != types.BucketVersioningStatusEnabled {
		return fmt.Errorf("bucket %s keeps no versions (status %q); create it with Object Lock", r.bucket, versioning.Status)
	}
	lock, err := r.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &r.bucket})
	if code(err) == "ObjectLockConfigurationNotFoundError" || err == nil &&
		(lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled) {
		return fmt.Errorf("bucket %s has no Object Lock; it can only be had when a bucket is created", r.bucket)
	}
	if err != nil {
		return fmt.Errorf("ask for the Object Lock of bucket %s: %w", r.bucket, err)
	}
	return nil
}
