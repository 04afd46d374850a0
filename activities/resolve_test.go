package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/signals"
)

// amended is the demo's catalog with an entry changed.
type amended struct {
	activities.Catalog
	change func(*catalog.Entry)
}

func (a amended) Entry(service, environment string) (catalog.Entry, error) {
	entry, err := a.Catalog.Entry(service, environment)
	a.change(&entry)
	return entry, err
}

// changedBy are policies that were changed by somebody.
type changedBy struct {
	activities.Policy
	authors []signals.Contributor
}

func (c changedBy) Authors() []signals.Contributor { return c.authors }

func TestPlanSaysWhoMayAndWhoIsTold(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", sigtest.Keys{})
	plain := i.plan("prod", "@"+digest)
	require.Empty(t, plain.ConfigAuthors, "nobody wrote them down")
	require.Nil(t, plain.BreakGlass)

	roles := &signals.Roles{Operate: []string{"payments-oncall"}}
	notify := &signals.Notify{Channel: "#payments"}
	i.release.Catalog = amended{i.release.Catalog, func(e *catalog.Entry) {
		e.Roles, e.Notify = roles, notify
		e.ConfigAuthors = []signals.Contributor{{Email: "release-lead@payments.example"}, {Email: "developer@payments.example"}}
	}}
	i.release.Policy = changedBy{i.release.Policy, []signals.Contributor{{Email: "risk-officer@payments.example"}, {Email: "developer@payments.example"}}}
	i.register()
	plan := i.plan("prod", "@"+digest)
	require.Equal(t, roles, plan.Roles)
	require.Equal(t, notify, plan.Notify)
	require.Equal(t, []signals.Contributor{
		{Email: "developer@payments.example"}, {Email: "release-lead@payments.example"}, {Email: "risk-officer@payments.example"},
	}, plan.ConfigAuthors)
}

// Threat 20: an emergency is what the catalog makes of it, and only that.
func TestBreakGlassIsResolvedFromTheCatalog(t *testing.T) {
	i := newIntake(t)
	digest := i.seed("v2", i.keys)
	in := i.request("prod", "@"+digest)
	in.Request.BreakGlass = "payments are failing"
	demo := i.release.Catalog
	use := func(terms *catalog.BreakGlass) {
		i.release.Catalog = amended{demo, func(e *catalog.Entry) { e.BreakGlass = terms }}
		i.register()
	}
	use(nil)
	_, err := call[signals.Plan](i, i.release.ResolvePlan, in)
	requireType(t, err, signals.ErrBadRequest, "breakGlass: the catalog has no emergency path for payments-api in prod")

	second := signals.Duration(time.Second)
	window := signals.Window{Duration: 2 * second, Interval: second}
	terms := catalog.BreakGlass{
		Approval: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-oncall", Count: 1}, {Group: "risk", Count: 1}}},
		Limits:   catalog.BreakGlassLimits{Approval: 60 * second}, Baseline: window, Bake: window,
		Steps:        []signals.Step{{Phase: signals.Canary, Weight: 10, Window: window}, {Phase: signals.Ramp, Weight: 100, Window: window}},
		ReviewWithin: 3600 * second,
	}
	use(&terms)
	plan, err := call[signals.Plan](i, i.release.ResolvePlan, in)
	require.NoError(t, err)
	require.Equal(t, &signals.BreakGlassTerms{Reason: "payments are failing", ReviewWithin: terms.ReviewWithin}, plan.BreakGlass)
	require.Equal(t, terms.Approval, plan.Approval)
	require.Equal(t, terms.Steps, plan.Steps)
	require.Equal(t, window, plan.Baseline)
	require.Equal(t, window, plan.Bake)
	require.Equal(t, terms.Limits.Approval, plan.Limits.Approval)
	ordinary := i.plan("prod", "@"+digest)
	require.Nil(t, ordinary.BreakGlass)
	require.Len(t, ordinary.Steps, 4, "an ordinary request has the ordinary course")
	require.Equal(t, ordinary.Limits.Queue, plan.Limits.Queue)
	require.Equal(t, ordinary.Trust, plan.Trust, "an emergency trusts no other keys")

	verification, err := call[signals.Verification](i, i.release.VerifyArtifact, signals.VerifyInput{
		Artifact: plan.Artifact, Commit: plan.Request.Commit, Source: plan.Source, Trust: plan.Trust,
	})
	require.NoError(t, err)
	decide := func(plan signals.Plan, proven bool) []signals.PolicyReason {
		output, err := call[signals.PolicyOutput](i, i.release.DecidePolicy, signals.PolicyInput{
			Plan: plan, Requester: signals.RequesterView{Proven: proven}, Verification: verification,
		})
		require.NoError(t, err)
		return output.Result.Reasons
	}
	require.Empty(t, decide(plan, true))
	require.Equal(t, "break-glass-requester", decide(plan, false)[0].Rule)
	i.release.Catalog = demo
	i.register()
	own, err := call[signals.Plan](i, i.release.ResolvePlan, in)
	require.NoError(t, err)
	require.Empty(t, decide(own, true), "the demo's own emergency path is one that the policies allow")
	// A catalog from elsewhere that asks one person only.
	plan.Approval.Groups = plan.Approval.Groups[:1]
	var rules []string
	for _, reason := range decide(plan, true) {
		rules = append(rules, reason.Rule)
	}
	require.Contains(t, rules, "break-glass-people")
	require.Contains(t, rules, "break-glass-groups")
}

// Without a source attestation nobody can be kept from approving their own
// change: at tier 2 the release is refused.
func TestTier2WantsTheSourceAttested(t *testing.T) {
	i := newIntake(t)
	keys := i.keys
	keys.Source = nil
	digest := i.seed("v2", keys)
	for environment, want := range map[string][]string{"prod": {"source"}, "staging": nil} {
		plan := i.plan(environment, "@"+digest)
		verification, err := call[signals.Verification](i, i.release.VerifyArtifact, signals.VerifyInput{
			Artifact: plan.Artifact, Commit: plan.Request.Commit, Source: plan.Source, Trust: plan.Trust,
		})
		require.NoError(t, err)
		require.Empty(t, verification.Refusals)
		output, err := call[signals.PolicyOutput](i, i.release.DecidePolicy, signals.PolicyInput{Plan: plan, Verification: verification})
		require.NoError(t, err)
		var rules []string
		for _, reason := range output.Result.Reasons {
			rules = append(rules, reason.Rule)
		}
		require.Equal(t, want, rules, environment)
	}
}
