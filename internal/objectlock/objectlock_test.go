package objectlock_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	setup "github.com/waybill-dev/waybill/deploy/objectlock"
	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/objectlock/s3test"
)

const name = "waybill-evidence"

// provision makes the bucket as the local stack does, and goes on as account.
func provision(t *testing.T, account string) s3test.Server {
	t.Helper()
	server := s3test.Start(t)
	s3test.As(t, s3test.Owner)
	require.NoError(t, objectlock.Provision(t.Context(), server.Config(name), setup.LocalRetention, setup.LocalPolicy(name, s3test.Notary, s3test.Auditor)))
	s3test.As(t, account)
	return server
}

func writer(t *testing.T, c objectlock.Config) *objectlock.Writer {
	t.Helper()
	w, err := objectlock.NewWriter(t.Context(), c, "COMPLIANCE")
	require.NoError(t, err)
	return w
}

// client is a plain S3 client, as anybody has.
func client(t *testing.T, server s3test.Server) *s3.Client {
	t.Helper()
	c, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
	require.NoError(t, err)
	return s3.NewFromConfig(c, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &server.URL, true })
}

func errorCode(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func list(t *testing.T, r *objectlock.Reader, prefix string) []evidence.Object {
	t.Helper()
	var all []evidence.Object
	for o, err := range r.List(t.Context(), prefix) {
		require.NoError(t, err)
		all = append(all, o)
	}
	return all
}

// headers keeps the headers of every PutObject that leaves the client.
type headers struct{ seen []http.Header }

func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut {
		h.seen = append(h.seen, r.Header.Clone())
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestRecordIsWrittenOnceLockedAndReadBack(t *testing.T) {
	server := provision(t, s3test.Notary)
	c := server.Config(name)
	wire := &headers{}
	c.HTTPClient = &http.Client{Transport: wire}
	w := writer(t, c)
	require.NoError(t, w.Check(t.Context()))
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	version, err := w.Put(t.Context(), "v1/a/b/c/1.json", []byte("record"), until)
	require.NoError(t, err)
	require.NotEmpty(t, version)

	// Some servers do not insist on these headers, so what is sent is looked at.
	require.Len(t, wire.seen, 1)
	require.Equal(t, "*", wire.seen[0].Get("If-None-Match"))
	sum := sha256.Sum256([]byte("record"))
	require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), wire.seen[0].Get("X-Amz-Checksum-Sha256"))
	require.Equal(t, "COMPLIANCE", wire.seen[0].Get("X-Amz-Object-Lock-Mode"))

	body, err := w.Get(t.Context(), "v1/a/b/c/1.json", version)
	require.NoError(t, err)
	require.Equal(t, "record", string(body))
	lock, err := w.Retention(t.Context(), "v1/a/b/c/1.json", version)
	require.NoError(t, err)
	require.Equal(t, &evidence.Lock{Mode: "COMPLIANCE", RetainUntil: until}, lock)

	_, err = w.Put(t.Context(), "v1/a/b/c/1.json", []byte("record"), until)
	require.ErrorIs(t, err, evidence.ErrTaken)
	require.Len(t, list(t, w.Reader, "v1/a/b/c/"), 1)
}

// TestNobodyAltersARecord: the owner of the bucket is denied what the lock
// forbids, an ordinary account what the policy forbids.
func TestNobodyAltersARecord(t *testing.T) {
	server := provision(t, s3test.Notary)
	w := writer(t, server.Config(name))
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	key := new("v1/a/b/c/1.json")
	version, err := w.Put(t.Context(), *key, []byte("record"), until)
	require.NoError(t, err)
	bucket := new(name)
	shorter := &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: new(until.Add(-30 * time.Minute))}
	weaker := &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until}

	for _, account := range []string{s3test.Owner, s3test.Notary, s3test.Auditor} {
		s3test.As(t, account)
		anybody := client(t, server)
		attempts := map[string]func(context.Context) error{
			"delete the version": func(ctx context.Context) error {
				_, err := anybody.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: &version, BypassGovernanceRetention: new(true)})
				return err
			},
			"shorten retention": func(ctx context.Context) error {
				_, err := anybody.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: bucket, Key: key, VersionId: &version, Retention: shorter})
				return err
			},
			"weaken the mode": func(ctx context.Context) error {
				_, err := anybody.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: bucket, Key: key, VersionId: &version, Retention: weaker, BypassGovernanceRetention: new(true)})
				return err
			},
		}
		if account != s3test.Owner {
			attempts["hide it with a delete marker"] = func(ctx context.Context) error {
				_, err := anybody.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
				return err
			}
		}
		if account == s3test.Auditor {
			attempts["write"] = func(ctx context.Context) error {
				_, err := anybody.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: new("v1/x"), Body: bytes.NewReader(nil)})
				return err
			}
		}
		for what, try := range attempts {
			require.Equal(t, "AccessDenied", errorCode(try(t.Context())), "%s tries to %s", account, what)
		}
	}
	body, err := w.Get(t.Context(), *key, version)
	require.NoError(t, err)
	require.Equal(t, "record", string(body))
	lock, err := w.Retention(t.Context(), *key, version)
	require.NoError(t, err)
	require.Equal(t, until, lock.RetainUntil)
}

// TestEveryVersionAndMarkerIsListed: what the bucket's owner can still do shows.
func TestEveryVersionAndMarkerIsListed(t *testing.T) {
	server := provision(t, s3test.Owner)
	w := writer(t, server.Config(name))
	owner := client(t, server)
	until := time.Now().Add(time.Hour)
	first, err := w.Put(t.Context(), "v1/p/s/r/1.json", []byte("record"), until)
	require.NoError(t, err)
	_, err = w.Put(t.Context(), "v1/p/s/r-2/1.json", []byte("other"), until)
	require.NoError(t, err)
	_, err = owner.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(name), Key: new("v1/p/s/r/1.json")})
	require.NoError(t, err, "a delete without a version succeeds, with a marker")
	_, err = owner.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(name), Key: new("v1/p/s/r/1.json"), Body: bytes.NewReader([]byte("forged"))})
	require.NoError(t, err, "a write without a condition succeeds, with a version")

	var seen []string
	for _, o := range list(t, w.Reader, "v1/p/s/r/") {
		switch {
		case o.DeleteMarker:
			seen = append(seen, "marker")
		case o.Version == first:
			seen = append(seen, "first")
		default:
			seen = append(seen, "second")
		}
	}
	require.Equal(t, []string{"second", "first", "marker"}, seen, "newest first, and markers after")
	folders, err := w.Folders(t.Context(), "v1/p/s/")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"r", "r-2"}, folders)
}

func TestManyPages(t *testing.T) {
	server := provision(t, s3test.Owner)
	w := writer(t, server.Config(name))
	until := time.Now().Add(time.Hour)
	for i := range 1005 {
		_, err := w.Put(t.Context(), "v1/p/s/r/"+string(rune('a'+i%26))+time.Duration(i).String(), []byte{1}, until)
		require.NoError(t, err)
	}
	require.Equal(t, 1005, len(list(t, w.Reader, "v1/"))) //nolint:testifylint // Len would print them all
}

func TestUnfitBucketsAreNamed(t *testing.T) {
	server := provision(t, s3test.Owner)
	plain := client(t, server)
	_, err := plain.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("plain")})
	require.NoError(t, err)
	require.ErrorContains(t, writer(t, server.Config("plain")).Check(t.Context()), "keeps no versions")
	_, err = plain.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: new("plain"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	require.NoError(t, err)
	require.ErrorContains(t, writer(t, server.Config("plain")).Check(t.Context()), "no Object Lock")
	_, err = writer(t, server.Config("plain")).Put(t.Context(), "v1/x", []byte("x"), time.Now().Add(time.Hour))
	require.Error(t, err, "nothing is written unlocked")
	require.Error(t, writer(t, server.Config("absent")).Check(t.Context()))
	_, err = objectlock.NewWriter(t.Context(), server.Config(name), "compliance")
	require.ErrorContains(t, err, "want COMPLIANCE or GOVERNANCE")
}

func TestUnreachableServerIsAnErrorInTime(t *testing.T) {
	s3test.As(t, s3test.Owner)
	w := writer(t, objectlock.Config{Bucket: name, Endpoint: "http://127.0.0.1:1", Region: "us-east-1", PathStyle: true})
	_, err := w.Put(t.Context(), "v1/x", []byte("x"), time.Now())
	require.ErrorContains(t, err, "write v1/x to bucket "+name)
}
