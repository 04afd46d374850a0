package objectlock

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Provision creates the bucket with Object Lock if it is not there, then sets
// its default retention and its policy, both JSON as in deploy/objectlock; nil
// leaves one as it is. It is for the local stack and for tests: elsewhere the
// platform's own tools create buckets. The credentials must be the owner's.
func Provision(ctx context.Context, c Config, retention, policy []byte) error {
	client, err := dial(ctx, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*callTimeout)
	defer cancel()
	locked := true
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &c.Bucket, ObjectLockEnabledForBucket: &locked})
	if err != nil && code(err) != "BucketAlreadyOwnedByYou" {
		return fmt.Errorf("create bucket %s: %w", c.Bucket, err)
	}
	if retention != nil {
		var lock types.ObjectLockConfiguration
		if err := json.Unmarshal(retention, &lock); err != nil {
			return fmt.Errorf("default retention of bucket %s: %w", c.Bucket, err)
		}
		if _, err := client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: &c.Bucket, ObjectLockConfiguration: &lock}); err != nil {
			return fmt.Errorf("set the default retention of bucket %s: %w", c.Bucket, err)
		}
	}
	if policy != nil {
		text := string(policy)
		if _, err := client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &c.Bucket, Policy: &text}); err != nil {
			return fmt.Errorf("set the policy of bucket %s: %w", c.Bucket, err)
		}
	}
	return (&Reader{client, c.Bucket}).Check(ctx)
}
