// Command bucket makes the evidence bucket of docker-compose.yaml with Object
// Lock, its default retention and its policy. It is safe to run again. The
// credentials of the bucket's owner are found as every AWS client finds them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/waybill-dev/waybill/deploy/objectlock"
)

func main() {
	endpoint := flag.String("endpoint", "", "URL of the S3 server")
	bucket := flag.String("bucket", "", "the bucket")
	notary := flag.String("notary", "", "the access key of the account that adds records")
	auditor := flag.String("auditor", "", "the access key of the account that reads them")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := setUp(ctx, *endpoint, *bucket, objectlock.LocalPolicy(*bucket, *notary, *auditor)); err != nil {
		fmt.Fprintln(os.Stderr, "bucket:", err)
		os.Exit(1) //nolint:gocritic // nothing hangs on the cancelled context
	}
}

func setUp(ctx context.Context, endpoint, bucket string, policy []byte) error {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return err
	}
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(endpoint), true })
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket), ObjectLockEnabledForBucket: aws.Bool(true)})
	if owned := (*types.BucketAlreadyOwnedByYou)(nil); err != nil && !errors.As(err, &owned) {
		return fmt.Errorf("make %s: %w", bucket, err)
	}
	var lock types.ObjectLockConfiguration
	if err := json.Unmarshal(objectlock.Retention, &lock); err != nil {
		return fmt.Errorf("default retention: %w", err)
	}
	_, err = client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: aws.String(bucket), ObjectLockConfiguration: &lock})
	if err != nil {
		return fmt.Errorf("set the default retention of %s: %w", bucket, err)
	}
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: aws.String(string(policy))})
	if err != nil {
		return fmt.Errorf("set the policy of %s: %w", bucket, err)
	}
	return nil
}
