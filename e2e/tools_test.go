package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// result is what a command said and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program to its end; a status other than 0 is no failure here.
func run(t *testing.T, stdin string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = stack.root
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		require.NoError(t, err, name)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must is run for a command that has to succeed; it returns its output.
func must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	r := run(t, "", env, name, args...)
	require.Zero(t, r.code, "%s %s\n%s%s", name, strings.Join(args, " "), r.stdout, r.stderr)
	return strings.TrimSpace(r.stdout)
}

var tokens sync.Map

// token logs an account in, once for all tests.
func token(t *testing.T, account string) string {
	t.Helper()
	if known, ok := tokens.Load(account); ok {
		return known.(string)
	}
	fresh := must(t, nil, filepath.Join(stack.bin, "devstack"), "token", account, "--state="+stack.dir)
	tokens.Store(account, fresh)
	return fresh
}

// waybill runs the client as an account; "" is nobody.
func waybill(t *testing.T, account string, args ...string) result {
	t.Helper()
	return waybillWith(t, account, "", args...)
}

// waybillWith runs the client with standard input.
func waybillWith(t *testing.T, account, stdin string, args ...string) result {
	t.Helper()
	env := []string{"WAYBILL_GATEWAY=" + stack.Gateway, "WAYBILL_HOME=" + t.TempDir(), "WAYBILL_TOKEN="}
	if account != "" {
		env[2] += token(t, account)
	}
	return run(t, stdin, env, filepath.Join(stack.bin, "waybill"), args...)
}

// evidence runs an evidence command on the stack's bucket as the auditor: with
// an account that may read, public keys, and no token.
func evidence(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, "", auditorEnv(t), filepath.Join(stack.bin, "waybill"), append([]string{"evidence"}, args...)...)
}

// tool is one of the repository's pinned tools.
func tool(name string) string { return filepath.Join(stack.root, ".tools", "bin", name) }

// temporal runs the temporal CLI.
func temporal(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, "", []string{"TEMPORAL_ADDRESS=" + stack.Temporal}, tool("temporal"), args...)
}

// kubectl runs kubectl and returns its output.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, []string{"KUBECONFIG=" + stack.Kubeconfig}, tool("kubernetes"), append([]string{"kubectl"}, args...)...)
}

// weights are stable's and canary's shares as the route has them; a side that
// the route does not name has 0.
func weights(t *testing.T, environment string) (stable, canary int) {
	t.Helper()
	text := kubectl(t, "get", "httproute", "payments-api", "--namespace=payments-"+environment,
		`--output=jsonpath={range .spec.rules[*].backendRefs[*]}{.name}={.weight}{"\n"}{end}`)
	for line := range strings.FieldsSeq(text) {
		name, weight, _ := strings.Cut(line, "=")
		n, err := strconv.Atoi(weight)
		require.NoError(t, err, text)
		switch name {
		case "payments-api":
			stable = n
		case "payments-api-canary":
			canary = n
		}
	}
	return stable, canary
}

// stableImage is what the environment's stable track is to run.
func stableImage(t *testing.T, environment string) string {
	t.Helper()
	return kubectl(t, "get", "deployment", "payments-api", "--namespace=payments-"+environment,
		`--output=jsonpath={.spec.template.spec.containers[?(@.name=="app")].image}`)
}

// api calls the HTTP API as an account and returns status and body.
func api(t *testing.T, account, method, path, body string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, stack.Gateway+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if account != "" {
		request.Header.Set("Authorization", "Bearer "+token(t, account))
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, answer
}

// auditorEnv is the bucket, its reading account and the public keys, as the
// client and AWS tools take them.
func auditorEnv(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "keys", "auditor.env"))
	require.NoError(t, err)
	return strings.Fields(string(text))
}

// bucketAs is an S3 client as one of the accounts "auditor" and "notary".
func bucketAs(t *testing.T, account string) *s3.Client {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "keys", account+".env"))
	require.NoError(t, err)
	values := map[string]string{}
	for line := range strings.FieldsSeq(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		values[name] = value
	}
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(stack.ObjectStore), Region: values["AWS_REGION"], UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], ""),
	})
}

// records are the keys of a release's records in the bucket, in order.
func records(t *testing.T, environment, release string) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(bucketAs(t, "auditor"), &s3.ListObjectsV2Input{
		Bucket: aws.String(stack.Bucket), Prefix: aws.String("v1/" + environment + "/payments-api/" + release + "/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	return keys
}

// start starts a release of a version as CI and returns its id.
func start(t *testing.T, environment, tag string) string {
	t.Helper()
	v := image(t, tag)
	r := waybill(t, "ci", "start", "--service=payments-api", "--environment="+environment, "--image="+v.Image, "--commit="+v.Commit,
		"--ticket=CHG-2001", "--reason=End-to-end test of "+tag, "--output=json")
	require.Zero(t, r.code, r.stderr)
	var started struct {
		Release string `json:"release"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &started), r.stdout)
	return started.Release
}

// status is where a release stands. A gateway that can't say, because no worker
// answers just now, is asked again.
func status(t *testing.T, release string) signals.Status {
	t.Helper()
	const unreachable = 7
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		r := waybill(t, "ci", "status", release, "--output=json")
		if r.code == unreachable {
			require.True(t, time.Now().Before(deadline), "no worker answers for release %s: %s", release, r.stderr)
			continue
		}
		require.Zero(t, r.code, r.stderr)
		var out signals.Status
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &out), r.stdout)
		return out
	}
}

// await polls a release until it is as wanted; a release that ends before that
// fails the test.
func await(t *testing.T, release, what string, wanted func(signals.Status) bool) signals.Status {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := status(t, release)
		if wanted(s) {
			return s
		}
		require.Nil(t, s.Outcome, "release %s ended while waiting for %s", release, what)
		require.True(t, time.Now().Before(deadline), "release %s is still in phase %s (%s), waiting for %s", release, s.Phase, s.Doing, what)
	}
}

// awaitPhase waits until the release is in the phase, or past it.
func awaitPhase(t *testing.T, release string, phase signals.Phase) signals.Status {
	t.Helper()
	at := func(p signals.Phase) int {
		for i, known := range signals.Phases() {
			if known == p {
				return i
			}
		}
		return -1
	}
	return await(t, release, "phase "+string(phase), func(s signals.Status) bool { return at(s.Phase) >= at(phase) })
}

// approve gives both approvals that a tier-2 release needs.
func approve(t *testing.T, release string) {
	t.Helper()
	await(t, release, "being asked for approvals", func(s signals.Status) bool {
		return s.Phase == signals.Approving && len(s.Approval.Missing.Groups) > 0
	})
	for _, account := range []string{"release-lead", "risk-officer"} {
		r := waybill(t, account, "approve", release, "--reason=End-to-end test", "--yes")
		require.Zero(t, r.code, "%s: %s", account, r.stderr)
	}
}

// outcome waits for the end of a release.
func outcome(t *testing.T, release string) signals.Outcome {
	t.Helper()
	s := await(t, release, "its outcome", func(s signals.Status) bool { return s.Outcome != nil })
	return *s.Outcome
}
