package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// TestStartedWithTheTemporalCLI ships a release that nothing but hand-written
// JSON and the temporal CLI started, and sends it on the way what somebody with
// access to the namespace might send.
func TestStartedWithTheTemporalCLI(t *testing.T) {
	v := image(t, "v1")
	release := "by-hand-" + time.Now().UTC().Format("150405")
	input := fmt.Sprintf(`{"service": "payments-api", "environment": "prod", "image": %q, "commit": %q, "ticket": "CHG-2005", "requestedBy": "developer"}`, v.Image, v.Commit)
	r := temporal(t, "workflow", "start", "--type=Release", "--task-queue="+signals.ReleaseQueue, "--workflow-id="+release, "--input="+input)
	require.Zero(t, r.code, r.stderr)
	awaitPhase(t, release, signals.Approving)

	// Threat 7: a bare signal, and an update, from the namespace.
	r = temporal(t, "workflow", "signal", "--workflow-id="+release, "--name=approval", `--input={"approved": true, "by": "release-lead"}`)
	require.Zero(t, r.code, r.stderr)
	r = temporal(t, "workflow", "update", "execute", "--workflow-id="+release, "--name=approval",
		`--input={"envelope": {"payloadType": "application/vnd.waybill.approval.v1+json", "payload": "e30=", "signatures": []}}`)
	require.NotZero(t, r.code)
	require.Contains(t, r.stdout+r.stderr, "no signature")
	s := await(t, release, "two refusals", func(s signals.Status) bool { return s.Refused == 2 })
	require.Equal(t, signals.Approving, s.Phase)
	require.Equal(t, "developer (not proven)", s.Requester)

	approve(t, release)
	ended := outcome(t, release)
	require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
	refusals := 0
	for _, key := range records(t, "prod", release) {
		if strings.Contains(key, "-refusal-") {
			refusals++
		}
	}
	require.Equal(t, 2, refusals, "each is a record")
}

func TestRequesterCannotApprove(t *testing.T) {
	v := image(t, "v2")
	r := waybill(t, "release-lead", "start", "--service=payments-api", "--environment=prod", "--image="+v.Image, "--commit="+v.Commit,
		"--ticket=CHG-2006", "--output=json")
	require.Zero(t, r.code, r.stderr)
	var started struct {
		Release string `json:"release"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &started))
	awaitPhase(t, started.Release, signals.Approving)
	r = waybill(t, "release-lead", "approve", started.Release, "--reason=I know it is good", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	require.Contains(t, r.stderr, "asked for this release")
	r = waybill(t, "developer", "approve", started.Release, "--reason=So do I", "--yes")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	r = waybill(t, "on-call", "abort", started.Release, "--reason=Drill is over")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, signals.Aborted, outcome(t, started.Release).Kind)
}

// TestNobodyTakesARecordAway tries to delete and to unlock a record's version
// with the notary's own credentials, the strongest that any part of Waybill has.
func TestNobodyTakesARecordAway(t *testing.T) {
	release := start(t, "prod", "v5")
	outcome(t, release)
	key := records(t, "prod", release)[0]
	for _, account := range []string{"notary", "auditor"} {
		bucket := bucketAs(t, account)
		head, err := bucketAs(t, "auditor").HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &stack.Bucket, Key: &key})
		require.NoError(t, err)
		_, err = bucket.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &stack.Bucket, Key: &key, VersionId: head.VersionId})
		require.ErrorContains(t, err, "AccessDenied", "%s deletes a version", account)
		_, err = bucket.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: &stack.Bucket, Key: &key, VersionId: head.VersionId,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))},
		})
		require.Error(t, err, "%s shortens retention", account)
	}
	r := evidence(t, "verify")
	require.Zero(t, r.code, r.stdout+r.stderr)
}

// TestAnOutsiderVerifiesARecord uses cosign's own CLI, as docs/auditor.md says.
func TestAnOutsiderVerifiesARecord(t *testing.T) {
	release := start(t, "prod", "v6")
	ended := outcome(t, release)
	file := filepath.Join(t.TempDir(), "record.json")
	for _, key := range records(t, "prod", release) {
		if !strings.Contains(key, "-verification-") {
			continue
		}
		object, err := bucketAs(t, "auditor").GetObject(t.Context(), &s3.GetObjectInput{Bucket: &stack.Bucket, Key: &key})
		require.NoError(t, err)
		buffer, err := os.Create(file)
		require.NoError(t, err)
		_, err = buffer.ReadFrom(object.Body)
		require.NoError(t, err)
		require.NoError(t, buffer.Close())
	}
	hex := strings.TrimPrefix(ended.Artifact.Digest, "sha256:")
	verify := func(key string) result {
		return run(t, "", nil, tool("cosign"), "verify-blob-attestation", "--key="+key, "--insecure-ignore-tlog=true",
			"--type=https://waybill.dev/attestation/verification/v1", "--digest="+hex, "--digestAlg=sha256", "--signature="+file)
	}
	good := verify(stack.EvidenceKeys[0])
	require.Zero(t, good.code, good.stderr)
	bad := verify(filepath.Join(stack.dir, "keys", "stranger.pub"))
	require.NotZero(t, bad.code)
}
