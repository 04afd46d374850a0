// Package objectstore describes the local stack's S3 server and makes its
// evidence bucket: Object Lock with a default retention, one account that may
// add records and one that may only read.
package objectstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/deploy/objectlock"
)

// Bucket holds the evidence.
const (
	Bucket = "waybill-evidence"
	Region = "us-east-1"
)

// Credentials are an account of the S3 server.
type Credentials struct {
	Access string `json:"access"`
	Secret string `json:"secret"`
}

// Env is the account in the variables that AWS SDKs and tools read.
func (c Credentials) Env(endpoint string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + c.Access, "AWS_SECRET_ACCESS_KEY=" + c.Secret,
		"AWS_REGION=" + Region, "AWS_ENDPOINT_URL_S3=" + endpoint,
	}
}

// Accounts are the server's: Root sets it up and is used for nothing else.
type Accounts struct {
	Root    Credentials `json:"root"`
	Notary  Credentials `json:"notary"`
	Auditor Credentials `json:"auditor"`
}

// Server says where versitygw runs, on loopback, and keeps its data.
type Server struct {
	Tools    string
	Dir      string
	Port     int
	Accounts Accounts
}

// URL is the endpoint.
func (s Server) URL() string { return "http://127.0.0.1:" + strconv.Itoa(s.Port) }

// Part describes the server's process.
func (s Server) Part() (proc.Part, error) {
	for _, name := range []string{"objects", "versions", "accounts"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, name), 0o700); err != nil {
			return proc.Part{}, fmt.Errorf("object store: %w", err)
		}
	}
	return proc.Part{
		Name: "objectstore", Path: s.program(),
		Args: []string{
			"--port=127.0.0.1:" + strconv.Itoa(s.Port), "--health=/healthz", "--iam-dir=" + filepath.Join(s.Dir, "accounts"), "--quiet",
			"posix", "--versioning-dir=" + filepath.Join(s.Dir, "versions"), filepath.Join(s.Dir, "objects"),
		},
		Env:   []string{"ROOT_ACCESS_KEY_ID=" + s.Accounts.Root.Access, "ROOT_SECRET_ACCESS_KEY=" + s.Accounts.Root.Secret},
		Ready: proc.HTTPReady(s.URL() + "/healthz"),
	}, nil
}

func (s Server) program() string { return filepath.Join(s.Tools, "versitygw") }

// SetUp makes accounts and bucket where they are missing, and sets the bucket's
// policy. The server must run.
func (s Server) SetUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, account := range []Credentials{s.Accounts.Notary, s.Accounts.Auditor} {
		if err := s.ensureAccount(ctx, account); err != nil {
			return err
		}
	}
	client := s.Client(s.Accounts.Root)
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(Bucket), ObjectLockEnabledForBucket: aws.Bool(true)})
	if owned := (*types.BucketAlreadyOwnedByYou)(nil); err != nil && !errors.As(err, &owned) {
		return fmt.Errorf("make the evidence bucket: %w", err)
	}
	var lock types.ObjectLockConfiguration
	if err := json.Unmarshal(objectlock.LocalRetention, &lock); err != nil {
		return fmt.Errorf("the evidence bucket's default retention: %w", err)
	}
	_, err = client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: aws.String(Bucket), ObjectLockConfiguration: &lock})
	if err != nil {
		return fmt.Errorf("set the evidence bucket's default retention: %w", err)
	}
	policy := objectlock.LocalPolicy(Bucket, s.Accounts.Notary.Access, s.Accounts.Auditor.Access)
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(Bucket), Policy: aws.String(string(policy))})
	if err != nil {
		return fmt.Errorf("set the evidence bucket's policy: %w", err)
	}
	return nil
}

// ensureAccount makes an account by the server's own tool.
func (s Server) ensureAccount(ctx context.Context, account Credentials) error {
	admin := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, s.program(), append([]string{"admin"}, args...)...)
		cmd.Env = append(os.Environ(), "ADMIN_ACCESS_KEY_ID="+s.Accounts.Root.Access, "ADMIN_SECRET_ACCESS_KEY="+s.Accounts.Root.Secret,
			"ADMIN_ENDPOINT_URL="+s.URL(), "ADMIN_REGION="+Region)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s an account of the object store: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
		return string(out), nil
	}
	users, err := admin("list-users")
	if err != nil || strings.Contains(users, account.Access) {
		return err
	}
	_, err = admin("create-user", "--access="+account.Access, "--secret="+account.Secret, "--role=user")
	return err
}

// Client calls the server as one of its accounts.
func (s Server) Client(as Credentials) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL()), Region: Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(as.Access, as.Secret, ""),
	})
}
