package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/catalog"
	registries "github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/sigstore"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/policies"
	"github.com/waybill-dev/waybill/signals"
)

const (
	sourceURL = "https://git.example/payments/payments-api"
	builderID = "https://ci.example/builders/payments/v1"
	// run is the run id that the SDK's test environment gives activities.
	run = "default-test-run-id"
)

var commit = strings.Repeat("4f", 20)

// intake is the release role on real parts: a registry, the demo's catalog, the
// policies of this repository, and images that the real cosign signed.
type intake struct {
	*testing.T
	server  *httptest.Server
	host    string
	dir     string
	cosign  sigtest.Cosign
	keys    sigtest.Keys
	release *activities.Release
	env     *testsuite.TestActivityEnvironment
}

func newIntake(t *testing.T) *intake {
	t.Helper()
	quiet := registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))
	i := &intake{T: t, dir: t.TempDir(), server: httptest.NewServer(registry.New(quiet, registry.WithReferrersSupport(true)))}
	t.Cleanup(i.server.Close)
	i.host = strings.TrimPrefix(i.server.URL, "http://")
	var err error
	i.cosign, err = sigtest.Installed(t.Context())
	require.NoError(t, err)
	i.keys = sigtest.Keys{Signature: i.key("payments-ci"), Provenance: i.key("builder"), Tests: i.key("tests"), Source: i.key("source"), Scan: i.key("scanner")}

	services, err := catalog.Load(i.catalog())
	require.NoError(t, err)
	policy, err := policies.Load(t.Context(), "../policies")
	require.NoError(t, err)
	client := registries.New(nil)
	i.release = &activities.Release{
		Catalog: services, Registry: client, Verifier: sigstore.New(client, time.Now), Policy: policy,
		Trust: signals.Trust{Gateway: []signals.PublicKey{{ID: "gateway-1"}}, Evidence: []signals.PublicKey{{ID: "evidence-1"}}},
	}
	i.register()
	return i
}

// register makes a new environment in which the activities run.
func (i *intake) register() {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(slog.New(slog.DiscardHandler))
	i.env = suite.NewTestActivityEnvironment()
	i.env.RegisterActivity(i.release)
}

func (i *intake) key(name string) *sigtest.Key {
	key, err := i.cosign.GenerateKey(i.Context(), filepath.Join(i.dir, "keys"), name)
	require.NoError(i, err)
	return &key
}

// catalog renders the demo's template.
func (i *intake) catalog() string {
	source, err := os.ReadFile("../deploy/demo/catalog/payments-api.yaml.tmpl")
	require.NoError(i, err)
	parsed, err := template.New("demo").Delims("[[", "]]").Parse(string(source))
	require.NoError(i, err)
	file, err := os.Create(filepath.Join(i.dir, "payments-api.yaml"))
	require.NoError(i, err)
	require.NoError(i, parsed.Execute(file, struct{ Registry, Cluster, KeysDir, Source, Builder string }{i.host, "local", "keys", sourceURL, builderID}))
	require.NoError(i, file.Close())
	return i.dir
}

// seed pushes a signed image under a tag and returns its digest.
func (i *intake) seed(tag string, keys sigtest.Keys) string {
	digest, err := sigtest.Seed(i.Context(), sigtest.SeedInput{
		Cosign: i.cosign, Registry: i.host, Repo: "payments-api", Tag: tag, Binary: []byte("binary"), Form: sigtest.Bundle,
		Commit: commit, Source: sourceURL, Builder: builderID, Author: "developer@payments.example", Keys: keys,
	})
	require.NoError(i, err)
	return digest
}

func (i *intake) request(environment, reference string) signals.ResolveInput {
	return signals.ResolveInput{Release: "payments-api-prod-1", Run: run, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Request: signals.Request{
		Service: "payments-api", Environment: environment, Image: i.host + "/payments-api" + reference, Commit: commit, Ticket: "CHG-1042",
		Envelope: &signals.Envelope{Payload: "e30="},
	}}
}

// call runs an activity in the environment, so that its input and result go
// through JSON as they do in a real worker.
func call[T any](i *intake, activity, in any) (T, error) {
	var out T
	value, err := i.env.ExecuteActivity(activity, in)
	if err == nil && value.HasValue() {
		require.NoError(i, value.Get(&out))
	}
	return out, err
}

func (i *intake) plan(environment, reference string) signals.Plan {
	plan, err := call[signals.Plan](i, i.release.ResolvePlan, i.request(environment, reference))
	require.NoError(i, err)
	return plan
}

// requireType asserts that err is an application error of the type that is not
// retried and says what is wanted.
func requireType(t *testing.T, err error, kind, says string) {
	t.Helper()
	var refused *temporal.ApplicationError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, kind, refused.Type())
	require.True(t, refused.NonRetryable())
	require.Contains(t, refused.Error(), says)
}

func TestReleaseIsResolvedVerifiedAndAllowed(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", i.keys)
	plan := i.plan("prod", "@"+digest)

	require.Equal(t, signals.PlanSchema, plan.Schema)
	require.Equal(t, "payments-api-prod-1", plan.Release)
	require.Equal(t, 2, plan.Tier)
	require.Equal(t, signals.Artifact{Repository: i.host + "/payments-api", Digest: digest}, plan.Artifact)
	require.Nil(t, plan.Request.Envelope, "the plan digest must not depend on who carried the request")
	require.Equal(t, "gateway-1", plan.Trust.Gateway[0].ID)
	require.Equal(t, "evidence-1", plan.Trust.Evidence[0].ID)
	require.Equal(t, "payments-ci", plan.Trust.Signature[0].ID)
	require.Equal(t, builderID, plan.Trust.Builder)
	require.True(t, signals.ValidDigest(plan.Catalog))
	require.True(t, signals.ValidDigest(plan.Policy))
	require.Len(t, plan.Steps, 4)
	first, err := plan.Digest()
	require.NoError(t, err)
	again, err := i.plan("prod", "@"+digest).Digest()
	require.NoError(t, err)
	require.Equal(t, first, again, "resolving again gives the same plan")

	verification, err := call[signals.Verification](i, i.release.VerifyArtifact, signals.VerifyInput{
		Artifact: plan.Artifact, Commit: plan.Request.Commit, Source: plan.Source, Trust: plan.Trust,
	})
	require.NoError(t, err)
	require.Empty(t, verification.Refusals)

	in := signals.PolicyInput{Plan: plan, PlanDigest: first, Verification: verification}
	output, err := call[signals.PolicyOutput](i, i.release.DecidePolicy, in)
	require.NoError(t, err)
	require.True(t, output.Result.Allow, "%v", output.Result.Reasons)
	require.Equal(t, 2, output.Result.Approvals.People())
	require.Equal(t, plan.Policy, output.Policy)
	want, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(output.Input))

	_, err = call[any](i, i.release.Recheck, signals.RecheckInput{Plan: plan, PlanDigest: first})
	require.NoError(t, err)
}

func TestTagsArePinnedOnceWhereTheTierTakesThem(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", sigtest.Keys{})
	plan := i.plan("staging", ":v2")
	require.Equal(t, signals.Artifact{Repository: i.host + "/payments-api", Tag: "v2", Digest: digest}, plan.Artifact)

	_, err := call[signals.Plan](i, i.release.ResolvePlan, i.request("prod", ":v2"))
	requireType(t, err, signals.ErrBadRequest, "tier 2, which takes an image by digest only")
	requireType(t, err, signals.ErrBadRequest, "write \""+i.host+"/payments-api@"+digest+"\"")
	require.Equal(t, "v2", i.plan("prod", ":v2@"+digest).Artifact.Tag)
}

func TestRequestsThatCannotBeResolved(t *testing.T) {
	i := newIntake(t)
	i.seed("v2", sigtest.Keys{})
	absent := "@sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		change func(*signals.Request)
		says   string
	}{
		"service":     {func(r *signals.Request) { r.Service = "payment-api" }, `unknown service "payment-api"; did you mean "payments-api"?`},
		"environment": {func(r *signals.Request) { r.Environment = "production" }, `no environment "production"; known: prod, staging`},
		"repository":  {func(r *signals.Request) { r.Image = "registry.example/payments-api" + absent }, "payments-api is released from " + i.host + "/payments-api only, not from registry.example/payments-api"},
		"other image": {func(r *signals.Request) { r.Image = i.host + "/ledger:v2" }, "only, not from " + i.host + "/ledger"},
		"digest":      {func(r *signals.Request) { r.Image = i.host + "/payments-api" + absent }, "push the image first"},
		"tag":         {func(r *signals.Request) { r.Image = i.host + "/payments-api:v9" }, "the repository has v2"},
		"reference":   {func(r *signals.Request) { r.Image = i.host + "/payments-api@sha256:12" }, "malformed reference"},
		"no tag":      {func(r *signals.Request) { r.Image = i.host + "/payments-api" }, "malformed reference"},
	} {
		t.Run(name, func(t *testing.T) {
			in := i.request("prod", absent)
			c.change(&in.Request)
			_, err := call[signals.Plan](i, i.release.ResolvePlan, in)
			requireType(t, err, signals.ErrBadRequest, c.says)
		})
	}
}

// With the registry down nothing is decided: all of it may be tried again.
func TestRegistryDownIsRetried(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", sigtest.Keys{})
	plan := i.plan("staging", "@"+digest)
	planDigest, err := plan.Digest()
	require.NoError(t, err)
	i.server.Close()
	_, resolve := call[signals.Plan](i, i.release.ResolvePlan, i.request("staging", "@"+digest))
	_, verify := call[signals.Verification](i, i.release.VerifyArtifact, signals.VerifyInput{Artifact: plan.Artifact, Trust: plan.Trust})
	_, recheck := call[any](i, i.release.Recheck, signals.RecheckInput{Plan: plan, PlanDigest: planDigest})
	for _, err := range []error{resolve, verify, recheck} {
		var technical *temporal.ApplicationError
		require.ErrorAs(t, err, &technical)
		require.False(t, technical.NonRetryable(), "%v", err)
	}
}

func TestRecheckRefusesWhatHasChanged(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", i.keys)
	plan := i.plan("prod", "@"+digest)
	approved, err := plan.Digest()
	require.NoError(t, err)
	recheck := func(plan signals.Plan, digest string) error {
		_, err := call[any](i, i.release.Recheck, signals.RecheckInput{Plan: plan, PlanDigest: digest})
		return err
	}

	// Threat 8: after a reset, approvals of the old run count for nothing.
	other := plan
	other.Run = "another-run"
	requireType(t, recheck(other, approved), signals.ErrReset, "the workflow was reset")

	// Threat 6: the plan is the one that was approved.
	swapped := plan
	swapped.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
	requireType(t, recheck(swapped, approved), signals.ErrRefused, "the plan was changed after it was approved")

	// An artifact whose papers don't hold any more.
	unsigned := i.plan("prod", "@"+i.seed("v5", sigtest.Keys{}))
	unsignedDigest, err := unsigned.Digest()
	require.NoError(t, err)
	requireType(t, recheck(unsigned, unsignedDigest), signals.ErrRefused, "no longer verifies: signature: expected one by payments-ci, found none")

	// Threat 15: the policies are those that the plan was made under.
	bundle := filepath.Join(t.TempDir(), "policies")
	require.NoError(t, os.CopyFS(bundle, os.DirFS("../policies")))
	data, err := os.ReadFile(filepath.Join(bundle, "data.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(bundle, "data.json"), append(data, '\n'), 0o600))
	i.release.Policy, err = policies.Load(t.Context(), bundle)
	require.NoError(t, err)
	i.register()
	requireType(t, recheck(plan, approved), signals.ErrRefused, "the policies changed since the plan was made")
	_, err = call[signals.PolicyOutput](i, i.release.DecidePolicy, signals.PolicyInput{Plan: plan})
	requireType(t, err, signals.ErrRefused, "the policies changed since the plan was made")
}

// failingPolicy is an engine that can't judge.
type failingPolicy struct{ activities.Policy }

func (failingPolicy) Decide(context.Context, signals.PolicyInput) (signals.PolicyOutput, error) {
	return signals.PolicyOutput{}, errors.New("undefined")
}

func TestPolicyThatCannotJudgeIsNoYes(t *testing.T) {
	i := newIntake(t)
	plan := i.plan("staging", "@"+i.seed("v2", sigtest.Keys{}))
	i.release.Policy = failingPolicy{i.release.Policy}
	i.register()
	_, err := call[signals.PolicyOutput](i, i.release.DecidePolicy, signals.PolicyInput{Plan: plan})
	require.ErrorContains(t, err, "undefined")
}
