// Package s3test runs a real S3 server with versions and Object Lock for tests.
package s3test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/testtools"
)

// Accounts of the server: the owner of all buckets, and two ordinary users that
// have only what a bucket's policy gives them.
const (
	Owner   = "owner"
	Notary  = "notary"
	Auditor = "auditor"
)

// Secret is every account's secret key.
const Secret = "not-a-secret"

// Server is a versitygw that stops with its test.
type Server struct{ URL string }

// Start runs a server over empty folders, on a free loopback port.
func Start(tb testing.TB) Server {
	tb.Helper()
	binary, err := testtools.Tool(context.Background(), "versitygw")
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	for _, name := range []string{"data", "versions", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	address, err := testtools.FreeAddress(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	var logs bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, binary, "--port", address, "--health", "/health", "--quiet",
		"--iam-dir", filepath.Join(dir, "iam"), "posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data"))
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+Owner, "ROOT_SECRET_KEY="+Secret)
	server.Stdout, server.Stderr = &logs, &logs
	if err := server.Start(); err != nil {
		cancel()
		tb.Fatalf("start versitygw: %v", err)
	}
	tb.Cleanup(func() {
		cancel()
		_ = server.Wait()
	})
	s := Server{"http://" + address}
	if !ready(s.URL + "/health") {
		cancel()
		_ = server.Wait()
		tb.Fatalf("versitygw did not become ready:\n%s", logs.String())
	}
	for _, account := range []string{Notary, Auditor} {
		create := exec.CommandContext(ctx, binary, "admin", "--access", Owner, "--secret", Secret, "--endpoint-url", s.URL,
			"create-user", "--access", account, "--secret", Secret, "--role", "user")
		if out, err := create.CombinedOutput(); err != nil {
			tb.Fatalf("create account %s: %v\n%s", account, err, out)
		}
	}
	return s
}

// As makes account the one whose credentials this test uses from now on.
func As(t *testing.T, account string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", account)
	t.Setenv("AWS_SECRET_ACCESS_KEY", Secret)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// Config points to one bucket of the server.
func (s Server) Config(bucket string) objectlock.Config {
	return objectlock.Config{Bucket: bucket, Endpoint: s.URL, Region: "us-east-1", PathStyle: true}
}

func ready(url string) bool {
	for range 300 {
		response, err := http.Get(url) //nolint:noctx,gosec // the address is the test's own
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return true
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}
