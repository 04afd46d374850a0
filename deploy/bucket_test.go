package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// TestBucket sets the S3 gateway of the Compose file up as the Compose file does,
// against the real one. The notary must be able to add a locked record, and
// nobody, the bucket's owner included, to undo it.
func TestBucket(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	ports, err := testtools.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	versitygw, err := testtools.Tool(t.Context(), "versitygw")
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	endpoint := "http://" + address
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		cmd.Env = append(os.Environ(),
			"PATH="+filepath.Dir(versitygw)+":"+os.Getenv("PATH"), "WAYBILL_SECRETS="+secrets, "SECRETS_DIR="+secrets,
			"DATA_DIR="+filepath.Join(t.TempDir(), "data"), "LISTEN="+address, "ADMIN_ENDPOINT_URL="+endpoint,
			"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(secrets, "s3-root"))
		return cmd
	}
	run := func(cmd *exec.Cmd) {
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%v: %s", cmd.Args, out)
	}
	run(command("compose/secrets.sh"))
	start(t, command("/bin/sh", "compose/versitygw.sh"))
	require.Eventually(t, func() bool { return healthy(t, endpoint+"/healthz") }, time.Minute, 50*time.Millisecond,
		"the S3 gateway did not become healthy")
	for range 2 { // it must be safe to run again
		run(command("/bin/sh", "compose/accounts.sh"))
		run(command("go", "run", "./compose/bucket", "--endpoint="+endpoint, "--bucket=evidence", "--notary=notary", "--auditor=auditor"))
	}

	notary := s3Client(t, endpoint, filepath.Join(secrets, "s3-notary"))
	auditor := s3Client(t, endpoint, filepath.Join(secrets, "s3-auditor"))
	owner := s3Client(t, endpoint, filepath.Join(secrets, "s3-root"))
	key := aws.String("v1/prod/payments-api/r1/1-plan.json")
	until := time.Now().Add(time.Hour)
	record := &s3.PutObjectInput{
		Bucket: aws.String("evidence"), Key: key, Body: bytes.NewReader([]byte("{}")),
		ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(until),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, IfNoneMatch: aws.String("*"),
	}
	_, err = auditor.PutObject(t.Context(), record)
	requireDenied(t, err, "the auditor adds a record")
	put, err := notary.PutObject(t.Context(), record)
	require.NoError(t, err)
	read, err := auditor.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("evidence"), Key: key, VersionId: put.VersionId})
	require.NoError(t, err)
	require.NoError(t, read.Body.Close())

	for name, client := range map[string]*s3.Client{"notary": notary, "auditor": auditor, "owner": owner} {
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("evidence"), Key: key, VersionId: put.VersionId})
		requireDenied(t, err, name+" deletes a locked version")
		_, err = client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("evidence"), Key: key, VersionId: put.VersionId,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until.Add(-30 * time.Minute))},
		})
		requireDenied(t, err, name+" shortens a retention")
	}
	_, err = notary.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("evidence"), Key: key})
	requireDenied(t, err, "the notary hides a record behind a delete marker")
}

// requireDenied checks that the server refused and that nothing else went wrong.
func requireDenied(t *testing.T, err error, what string) {
	t.Helper()
	var api smithy.APIError
	require.ErrorAsf(t, err, &api, "%s", what)
	require.Equalf(t, "AccessDenied", api.ErrorCode(), "%s: %v", what, err)
}

// s3Client returns a client with the credentials of an AWS credentials file.
func s3Client(t *testing.T, endpoint, credentials string) *s3.Client {
	t.Helper()
	c, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{credentials}), config.WithSharedConfigProfile("default"))
	require.NoError(t, err)
	return s3.NewFromConfig(c, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(endpoint)
		o.UsePathStyle = true
	})
}

// healthy tells whether url answers 200.
func healthy(t *testing.T, url string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
