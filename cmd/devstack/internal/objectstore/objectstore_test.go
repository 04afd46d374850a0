package objectstore

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/repo"
)

func TestMain(m *testing.M) {
	proc.Reexec()
	os.Exit(m.Run())
}

func start(t *testing.T) Server {
	t.Helper()
	root, err := repo.Root()
	require.NoError(t, err)
	require.NoError(t, repo.Install(t.Context(), root, "versitygw"))
	port, err := proc.FreePort()
	require.NoError(t, err)
	dir := t.TempDir()
	s := Server{Tools: repo.Tools(root), Dir: dir + "/s3", Port: port, Accounts: Accounts{
		Root: Credentials{"root", "root-secret"}, Notary: Credentials{"notary", "notary-secret"}, Auditor: Credentials{"auditor", "auditor-secret"},
	}}
	sup, err := proc.New(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sup.Stop(t.Context())) })
	part, err := s.Part()
	require.NoError(t, err)
	_, err = sup.Start(t.Context(), part)
	require.NoError(t, err)
	require.NoError(t, s.SetUp(t.Context()))
	require.NoError(t, s.SetUp(t.Context()), "setting up again changes nothing")
	return s
}

func TestRecordsCanBeAddedAndReadAndNothingElse(t *testing.T) {
	s := start(t)
	ctx, bucket, key := t.Context(), aws.String(Bucket), aws.String("v1/prod/payments-api/r/000001-request-00.json")
	notary, auditor := s.Client(s.Accounts.Notary), s.Client(s.Accounts.Auditor)

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	put, err := notary.PutObject(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: key, Body: strings.NewReader("record"), IfNoneMatch: aws.String("*"),
		ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &until,
	})
	require.NoError(t, err)
	plain, err := notary.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("v1/plain"), Body: strings.NewReader("no retention named")})
	require.NoError(t, err)

	for name, client := range map[string]*s3.Client{"notary": notary, "auditor": auditor} {
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, VersionId: put.VersionId})
		require.NoError(t, err, name)
		body, err := io.ReadAll(got.Body)
		require.NoError(t, err, name)
		require.Equal(t, "record", string(body), name)
		kept, err := client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: bucket, Key: key, VersionId: put.VersionId})
		require.NoError(t, err, name)
		require.Equal(t, types.ObjectLockRetentionModeCompliance, kept.Retention.Mode, name)
		require.True(t, until.Equal(*kept.Retention.RetainUntilDate), name)
		versions, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
		require.NoError(t, err, name)
		require.Len(t, versions.Versions, 2, name)

		sooner := time.Now().Add(time.Minute)
		_, err = client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: bucket, Key: key, VersionId: put.VersionId,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &sooner}})
		require.ErrorContains(t, err, "AccessDenied", name)
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: put.VersionId})
		require.ErrorContains(t, err, "AccessDenied", name)
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
		require.ErrorContains(t, err, "AccessDenied", name)
		_, err = client.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: bucket})
		require.ErrorContains(t, err, "AccessDenied", name)
	}
	_, err = notary.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("elsewhere"), Body: strings.NewReader("x")})
	require.ErrorContains(t, err, "AccessDenied")
	_, err = auditor.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("v1/forged"), Body: strings.NewReader("x")})
	require.ErrorContains(t, err, "AccessDenied")

	// Not even the server's owner can undo a record of compliance mode, nor one
	// that only the bucket's default protects.
	_, err = s.Client(s.Accounts.Root).DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("v1/plain"), VersionId: plain.VersionId})
	require.Error(t, err)
	_, err = s.Client(s.Accounts.Root).DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: put.VersionId})
	require.Error(t, err)
}
