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

	"github.com/waybill-dev/waybill/internal/kube/kubetest"
)

// TestBucket runs the scripts of the Compose file's S3 gateway against the real
// one, with the secrets that secrets.sh makes: the notary's account must be able
// to write a locked record, and nobody, the root account included, to undo it.
func TestBucket(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	ports, err := kubetest.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	versitygw, err := kubetest.Tool(t.Context(), "versitygw")
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	endpoint := "http://" + address
	env := append(os.Environ(),
		"PATH="+filepath.Dir(versitygw)+":"+os.Getenv("PATH"),
		"WAYBILL_SECRETS="+secrets,
		"S3_ROOT_FILE="+filepath.Join(secrets, "s3-root"),
		"S3_CREDENTIALS_FILE="+filepath.Join(secrets, "s3-credentials"),
		"DATA_DIR="+filepath.Join(dir, "data"), "LISTEN="+address,
		"ADMIN_ENDPOINT_URL="+endpoint, "BUCKET=evidence")
	script := func(path string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", path)
		cmd.Env = env
		return cmd
	}
	run := func(cmd *exec.Cmd) {
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
	}
	secretsScript := exec.CommandContext(t.Context(), "compose/secrets.sh")
	secretsScript.Env = env
	run(secretsScript)
	start(t, script("compose/versitygw.sh"))
	require.Eventually(t, func() bool { return healthy(t, endpoint+"/healthz") }, time.Minute, 50*time.Millisecond, "the S3 gateway did not become healthy")
	run(script("compose/bucket.sh"))
	run(script("compose/bucket.sh"))

	notary := s3Client(t, endpoint, filepath.Join(secrets, "s3-credentials"))
	until := time.Now().Add(time.Hour)
	put, err := notary.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("evidence"), Key: aws.String("v1/prod/payments-api/r1/1-plan.json"), Body: bytes.NewReader([]byte("{}")),
		ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(until),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, IfNoneMatch: aws.String("*"),
	})
	require.NoError(t, err)
	require.NotEmpty(t, aws.ToString(put.VersionId))

	root := s3Client(t, endpoint, rootCredentials(t, secrets))
	for name, client := range map[string]*s3.Client{"notary": notary, "root": root} {
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{
			Bucket: aws.String("evidence"), Key: aws.String("v1/prod/payments-api/r1/1-plan.json"), VersionId: put.VersionId,
		})
		requireDenied(t, err, name+" deletes a locked version")
		_, err = client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("evidence"), Key: aws.String("v1/prod/payments-api/r1/1-plan.json"), VersionId: put.VersionId,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until.Add(-30 * time.Minute))},
		})
		requireDenied(t, err, name+" shortens a retention")
	}
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

// rootCredentials writes the root account of the S3 gateway as a credentials file.
func rootCredentials(t *testing.T, secrets string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(secrets, "s3-root"))
	require.NoError(t, err)
	raw = bytes.Replace(raw, []byte("ROOT_ACCESS_KEY_ID="), []byte("aws_access_key_id = "), 1)
	raw = bytes.Replace(raw, []byte("ROOT_SECRET_ACCESS_KEY="), []byte("aws_secret_access_key = "), 1)
	path := filepath.Join(secrets, "root-credentials")
	require.NoError(t, os.WriteFile(path, append([]byte("[default]\n"), raw...), 0o600))
	return path
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
