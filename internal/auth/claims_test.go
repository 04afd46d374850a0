package auth_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/auth/authtest"
)

// workflowToken is a token as GitHub Actions issues it to a workflow run.
func workflowToken(t *testing.T, issuer *authtest.Issuer, override map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"aud": authtest.Audience, "sub": "repo:payments/payments-api:ref:refs/heads/main",
		"groups": nil, "preferred_username": nil,
		"repository": "payments/payments-api", "repository_id": "74", "repository_owner": "payments", "repository_owner_id": "65",
		"ref": "refs/heads/main", "ref_type": "branch", "event_name": "push", "run_id": "8193", "actor": "developer",
		"job_workflow_ref": "payments/payments-api/.github/workflows/release.yml@refs/heads/main",
	}
	maps.Copy(claims, override)
	return issuer.Token(t, "", nil, claims)
}

func workflowIssuer(issuer *authtest.Issuer) auth.Issuer {
	return auth.Issuer{
		URL: issuer.URL, Audience: authtest.Audience, Groups: []string{"ci"},
		Claims: auth.Claims{Subject: "repository_id", Name: "repository", Require: map[string][]string{
			"repository_owner": {"payments"}, "ref": {"refs/heads/main", "refs/tags/v*"},
		}},
	}
}

func TestTokensOfWorkflowRunsAreMapped(t *testing.T) {
	issuer := authtest.Start(t)
	v, err := auth.NewVerifier([]auth.Issuer{workflowIssuer(issuer)}, time.Now)
	require.NoError(t, err)
	for _, override := range []map[string]any{
		nil, {"ref": "refs/tags/v1.2.3"}, {"repository_id": 74}, {"ref": []string{"refs/heads/other", "refs/heads/main"}},
	} {
		id, err := v.Verify(t.Context(), workflowToken(t, issuer, override))
		require.NoError(t, err)
		assert.Equal(t, issuer.URL+"#74", id.Subject.Key())
		assert.Equal(t, "payments/payments-api", id.Subject.Name)
		assert.Equal(t, []string{"ci"}, id.Subject.Groups)
	}
}

func TestTokensWithoutWhatIsRequiredAreRefused(t *testing.T) {
	issuer := authtest.Start(t)
	v, err := auth.NewVerifier([]auth.Issuer{workflowIssuer(issuer)}, time.Now)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		override map[string]any
		says     string
	}{
		"another owner":         {map[string]any{"repository_owner": "somebody"}, `claim "repository_owner" is ["somebody"], want one of ["payments"]`},
		"no owner":              {map[string]any{"repository_owner": nil}, `claim "repository_owner" is []`},
		"owner null":            {map[string]any{"repository_owner": (*string)(nil)}, `claim "repository_owner" is []`},
		"owner an object":       {map[string]any{"repository_owner": map[string]any{"is": "payments"}}, `claim "repository_owner" is []`},
		"owner in other case":   {map[string]any{"repository_owner": "Payments"}, "repository_owner"},
		"branch":                {map[string]any{"ref": "refs/heads/try"}, `claim "ref" is ["refs/heads/try"]`},
		"branch that begins so": {map[string]any{"ref": "refs/heads/main2"}, `claim "ref"`},
		"tag with a slash":      {map[string]any{"ref": "refs/tags/v1/../x"}, `claim "ref"`},
		"no subject":            {map[string]any{"repository_id": nil}, `claim "repository_id" is not there`},
		"subject a list":        {map[string]any{"repository_id": []string{"74"}}, `claim "repository_id" is not a single value`},
		"name an object":        {map[string]any{"repository": map[string]any{}}, `claim "repository" is not a single value`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), workflowToken(t, issuer, c.override))
			require.ErrorIs(t, err, auth.ErrToken)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Two entries of one issuer give different groups to different repositories.
func TestOneIssuerCanBeListedTwice(t *testing.T) {
	issuer := authtest.Start(t)
	entry := func(repository, group string) auth.Issuer {
		return auth.Issuer{
			URL: issuer.URL, Audience: authtest.Audience, Groups: []string{group},
			Claims: auth.Claims{Require: map[string][]string{"repository": {repository}}},
		}
	}
	v, err := auth.NewVerifier([]auth.Issuer{entry("payments/payments-api", "payments-ci"), entry("ledger/*", "ledger-ci")}, time.Now)
	require.NoError(t, err)
	for repository, group := range map[string]string{"payments/payments-api": "payments-ci", "ledger/books": "ledger-ci"} {
		id, err := v.Verify(t.Context(), workflowToken(t, issuer, map[string]any{"repository": repository, "groups": []string{"own"}}))
		require.NoError(t, err)
		require.Equal(t, []string{"own", group}, id.Subject.Groups)
	}
	_, err = v.Verify(t.Context(), workflowToken(t, issuer, map[string]any{"repository": "else/where"}))
	require.ErrorIs(t, err, auth.ErrToken)
	issuer.Stop()
	fresh, err := auth.NewVerifier([]auth.Issuer{entry("a", "a"), entry("b", "b")}, time.Now)
	require.NoError(t, err)
	_, err = fresh.Verify(t.Context(), workflowToken(t, issuer, nil))
	require.ErrorIs(t, err, auth.ErrIssuer)
	require.NotErrorIs(t, err, auth.ErrToken)
}

func TestRequirementsThatRequireNothingAreRefused(t *testing.T) {
	for _, wanted := range []map[string][]string{{"ref": nil}, {"": {"x"}}, {"ref": {""}}, {"ref": {"[a"}}} {
		_, err := auth.NewVerifier([]auth.Issuer{{URL: "https://i.example", Audience: "a", Claims: auth.Claims{Require: wanted}}}, time.Now)
		require.ErrorContains(t, err, "required claim")
	}
}
