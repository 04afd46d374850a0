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
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// result is what a command said and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program to its end; a status other than 0 is no failure here.
func run(tb testing.TB, stdin string, env []string, name string, args ...string) result {
	tb.Helper()
	// Clean-ups run programs too, when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = stack.root
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		require.NoError(tb, err, name)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must is run for a command that has to succeed; it returns its output.
func must(tb testing.TB, env []string, name string, args ...string) string {
	tb.Helper()
	r := run(tb, "", env, name, args...)
	require.Zero(tb, r.code, "%s %s\n%s%s", name, strings.Join(args, " "), r.stdout, r.stderr)
	return strings.TrimSpace(r.stdout)
}

var tokens sync.Map

// token logs an account in, once for all tests.
func token(tb testing.TB, account string) string {
	tb.Helper()
	if known, ok := tokens.Load(account); ok {
		return known.(string)
	}
	fresh := must(tb, nil, filepath.Join(stack.bin, "devstack"), "token", account, "--state="+stack.dir)
	tokens.Store(account, fresh)
	return fresh
}

// waybill runs the client as an account; "" is nobody.
func waybill(tb testing.TB, account string, args ...string) result {
	tb.Helper()
	return waybillWith(tb, account, "", args...)
}

// waybillWith runs the client with standard input.
func waybillWith(tb testing.TB, account, stdin string, args ...string) result {
	tb.Helper()
	env := []string{"WAYBILL_GATEWAY=" + stack.Gateway, "WAYBILL_HOME=" + tb.TempDir(), "WAYBILL_TOKEN="}
	if account != "" {
		env[2] += token(tb, account)
	}
	return run(tb, stdin, env, filepath.Join(stack.bin, "waybill"), args...)
}

// evidence runs an evidence command on the stack's bucket as the auditor: with
// an account that may read, public keys, and no token.
func evidence(tb testing.TB, args ...string) result {
	tb.Helper()
	return run(tb, "", auditorEnv(tb), filepath.Join(stack.bin, "waybill"), append([]string{"evidence"}, args...)...)
}

// tool is one of the repository's pinned tools.
func tool(name string) string { return filepath.Join(stack.root, ".tools", "bin", name) }

// temporal runs the temporal CLI.
func temporal(tb testing.TB, args ...string) result {
	tb.Helper()
	return run(tb, "", []string{"TEMPORAL_ADDRESS=" + stack.Temporal}, tool("temporal"), args...)
}

// kubectl runs kubectl and returns its output.
func kubectl(tb testing.TB, args ...string) string {
	tb.Helper()
	return must(tb, []string{"KUBECONFIG=" + stack.Kubeconfig}, tool("kubernetes"), append([]string{"kubectl"}, args...)...)
}

// weights are stable's and canary's shares as the route has them; a side that
// the route does not name has 0.
func weights(tb testing.TB, environment string) (stable, canary int) {
	tb.Helper()
	text := kubectl(tb, "get", "httproute", "payments-api", "--namespace=payments-"+environment,
		`--output=jsonpath={range .spec.rules[*].backendRefs[*]}{.name}={.weight}{"\n"}{end}`)
	for line := range strings.FieldsSeq(text) {
		name, weight, _ := strings.Cut(line, "=")
		n, err := strconv.Atoi(weight)
		require.NoError(tb, err, text)
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
func stableImage(tb testing.TB, environment string) string {
	tb.Helper()
	return kubectl(tb, "get", "deployment", "payments-api", "--namespace=payments-"+environment,
		`--output=jsonpath={.spec.template.spec.containers[?(@.name=="app")].image}`)
}

var apiClient = &http.Client{Timeout: time.Minute}

// api calls the HTTP API as an account and returns status and body.
func api(tb testing.TB, account, method, path, body string) (int, []byte) {
	tb.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(tb.Context()), method, stack.Gateway+path, strings.NewReader(body))
	require.NoError(tb, err)
	request.Header.Set("Content-Type", "application/json")
	if account != "" {
		request.Header.Set("Authorization", "Bearer "+token(tb, account))
	}
	response, err := apiClient.Do(request)
	require.NoError(tb, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(tb, err)
	return response.StatusCode, answer
}

// auditorEnv is the bucket, its reading account and the public keys, as the
// client and AWS tools take them.
func auditorEnv(tb testing.TB) []string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "keys", "auditor.env"))
	require.NoError(tb, err)
	return strings.Fields(string(text))
}

// bucketAs is an S3 client as one of the accounts "auditor" and "notary".
func bucketAs(tb testing.TB, account string) *s3.Client {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "keys", account+".env"))
	require.NoError(tb, err)
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
func records(tb testing.TB, environment, release string) []string {
	tb.Helper()
	var keys []string
	for _, object := range objects(tb, environment, release) {
		keys = append(keys, aws.ToString(object.Key))
	}
	return keys
}

// objects are a release's records as the bucket lists them, in order.
func objects(tb testing.TB, environment, release string) []types.Object {
	tb.Helper()
	var found []types.Object
	pages := s3.NewListObjectsV2Paginator(bucketAs(tb, "auditor"), &s3.ListObjectsV2Input{
		Bucket: aws.String(stack.Bucket), Prefix: aws.String("v1/" + environment + "/payments-api/" + release + "/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(tb.Context())
		require.NoError(tb, err)
		found = append(found, page.Contents...)
	}
	return found
}

// start starts a release of a version as CI and returns its id.
func start(tb testing.TB, environment, tag string) string {
	tb.Helper()
	v := image(tb, tag)
	r := waybill(tb, "ci", "start", "--service=payments-api", "--environment="+environment, "--image="+v.Image, "--commit="+v.Commit,
		"--ticket=CHG-2001", "--reason=End-to-end test of "+tag, "--output=json")
	require.Zero(tb, r.code, r.stderr)
	var started struct {
		Release string `json:"release"`
	}
	require.NoError(tb, json.Unmarshal([]byte(r.stdout), &started), r.stdout)
	return started.Release
}

// status is where a release stands, by the HTTP API: tests poll it, and a process
// per look would cost the machine that the release runs on. A gateway that can't
// say, because no worker answers just now, is asked again.
func status(tb testing.TB, release string) signals.Status {
	tb.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		code, body := api(tb, "ci", http.MethodGet, "/v1/releases/"+release, "")
		if code == http.StatusServiceUnavailable {
			require.True(tb, time.Now().Before(deadline), "no worker answers for release %s: %s", release, body)
			continue
		}
		require.Equal(tb, http.StatusOK, code, "%s", body)
		var out signals.Status
		require.NoError(tb, json.Unmarshal(body, &out), "%s", body)
		return out
	}
}

// await polls a release until it is as wanted; a release that ends before that
// fails the test.
func await(tb testing.TB, release, what string, wanted func(signals.Status) bool) signals.Status {
	tb.Helper()
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := status(tb, release)
		if wanted(s) {
			return s
		}
		require.Nil(tb, s.Outcome, "release %s ended while waiting for %s", release, what)
		require.True(tb, time.Now().Before(deadline), "release %s is still in phase %s (%s), waiting for %s", release, s.Phase, s.Doing, what)
	}
}

// awaitPhase waits until the release is in the phase, or past it.
func awaitPhase(tb testing.TB, release string, phase signals.Phase) signals.Status {
	tb.Helper()
	at := func(p signals.Phase) int {
		for i, known := range signals.Phases() {
			if known == p {
				return i
			}
		}
		return -1
	}
	return await(tb, release, "phase "+string(phase), func(s signals.Status) bool { return at(s.Phase) >= at(phase) })
}

// approve gives both approvals that a tier-2 release needs.
func approve(tb testing.TB, release string) {
	tb.Helper()
	await(tb, release, "being asked for approvals", func(s signals.Status) bool {
		return s.Phase == signals.Approving && len(s.Approval.Missing.Groups) > 0
	})
	for _, account := range []string{"release-lead", "risk-officer"} {
		decide(tb, account, release)
	}
}

// decide approves a release as an account that has just logged in with its second
// factor, as the catalog demands of the risk group.
func decide(tb testing.TB, account, release string) {
	tb.Helper()
	fresh := must(tb, nil, filepath.Join(stack.bin, "devstack"), "token", account, "--mfa", "--state="+stack.dir)
	env := []string{"WAYBILL_GATEWAY=" + stack.Gateway, "WAYBILL_HOME=" + tb.TempDir(), "WAYBILL_TOKEN=" + fresh}
	r := run(tb, "", env, filepath.Join(stack.bin, "waybill"), "approve", release, "--reason=End-to-end test", "--yes")
	require.Zero(tb, r.code, "%s: %s", account, r.stderr)
}

// outcome waits for the end of a release.
func outcome(tb testing.TB, release string) signals.Outcome {
	tb.Helper()
	s := await(tb, release, "its outcome", func(s signals.Status) bool { return s.Outcome != nil })
	return *s.Outcome
}
