package activities_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/directory"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
	"github.com/waybill-dev/waybill/policies"
	"github.com/waybill-dev/waybill/signals"
)

// approved is a release on real parts that waits for approvals, with a directory
// of the people who gave some.
type approved struct {
	*intake
	people *oidcissuer.Issuer
	input  signals.RecheckInput
}

func newApproved(t *testing.T, environment, reference string, approvers ...string) *approved {
	t.Helper()
	a := &approved{intake: newIntake(t)}
	digest := a.seed("v2", a.keys)
	a.employ()
	plan := a.plan(environment, strings.ReplaceAll(reference, "DIGEST", digest))
	plan.Limits.Recheck = 0 // as where the catalog leaves it out
	a.input = signals.RecheckInput{Plan: plan, PlanDigest: a.digest(plan)}
	for _, id := range approvers {
		person, err := a.release.Directory.BySubject(t.Context(), signals.Subject{Issuer: a.people.URL, ID: id})
		require.NoError(t, err)
		a.input.Approvers = append(a.input.Approvers, person.Subject)
	}
	return a
}

// employ puts the local issuer's directory behind the activities.
func (a *approved) employ() {
	var err error
	a.people, err = oidcissuer.Start("")
	require.NoError(a, err)
	a.Cleanup(func() { _ = a.people.Close() })
	token := filepath.Join(a.dir, "token")
	require.NoError(a, os.WriteFile(token, []byte(a.people.Secrets().Directory), 0o600))
	a.release.Directory, err = directory.New(directory.Config{
		URL: a.people.URL + oidcissuer.SCIMPath, Token: token, Issuer: a.people.URL, Fresh: time.Nanosecond, Unknown: time.Nanosecond,
	})
	require.NoError(a, err)
	a.register()
}

func (a *approved) digest(plan signals.Plan) string {
	digest, err := plan.Digest()
	require.NoError(a, err)
	return digest
}

func (a *approved) watch(in signals.RecheckInput) ([]signals.StandingChange, error) {
	return call[[]signals.StandingChange](a.intake, a.release.WatchStanding, in)
}

// changes asserts that exactly one thing is found to have changed.
func (a *approved) changes(in signals.RecheckInput, what, approver, says string) {
	a.Helper()
	found, err := a.watch(in)
	require.NoError(a, err)
	require.Len(a, found, 1)
	require.Equal(a, what, found[0].What)
	require.Equal(a, approver, found[0].Approver)
	require.Contains(a, found[0].Reason, says)
}

// stands asserts that nothing has changed, that the next look is due after next,
// and that Recheck lets the next step be taken.
func (a *approved) stands(in signals.RecheckInput, next time.Duration) {
	a.Helper()
	_, err := a.watch(in)
	var stands *temporal.ApplicationError
	require.ErrorAs(a, err, &stands)
	require.Equal(a, signals.ErrStands, stands.Type(), "%v", err)
	require.False(a, stands.NonRetryable())
	require.Equal(a, next, stands.NextRetryDelay())
	require.Equal(a, temporal.ApplicationErrorCategoryBenign, stands.Category())
	_, err = call[any](a.intake, a.release.Recheck, in)
	require.NoError(a, err)
}

// refuses asserts that Recheck lets no step be taken.
func (a *approved) refuses(in signals.RecheckInput, says string) {
	a.Helper()
	_, err := call[any](a.intake, a.release.Recheck, in)
	requireType(a.T, err, signals.ErrRefused, says)
}

func TestWhatStandsIsLookedAtAgainLater(t *testing.T) {
	a := newApproved(t, "prod", "@DIGEST", "release-lead", "risk-officer")
	a.stands(a.input, time.Minute)

	a.input.Plan.Limits.Recheck = signals.Duration(7 * time.Second)
	a.input.PlanDigest = a.digest(a.input.Plan)
	a.stands(a.input, 7*time.Second)

	// Where there is no directory nothing is held against people.
	a.release.Directory = nil
	a.register()
	a.input.Approvers = append(a.input.Approvers, signals.Subject{Issuer: "https://other.example", ID: "nobody"})
	a.stands(a.input, 7*time.Second)
}

// Threats 6 and 8: whatever changes while the release waits is told, and by name.
func TestChangesToTheReleaseAreTold(t *testing.T) {
	a := newApproved(t, "prod", "@DIGEST")

	reset := a.input
	reset.Plan.Run = "another-run"
	a.changes(reset, "plan", "", "the workflow was reset")

	swapped := a.input
	swapped.Plan.Request.Ticket = "CHG-1"
	a.changes(swapped, "plan", "", "the plan was changed after it was approved: approved "+a.input.PlanDigest)
	a.refuses(swapped, "the plan was changed after it was approved")

	unsigned := a.input
	unsigned.Plan = a.plan("prod", "@"+a.seed("v5", sigtest.Keys{}))
	unsigned.PlanDigest = a.digest(unsigned.Plan)
	a.changes(unsigned, "artifact", "", "no longer verifies: signature: expected one by payments-ci, found none")

	bundle := filepath.Join(t.TempDir(), "policies")
	require.NoError(t, os.CopyFS(bundle, os.DirFS("../policies")))
	data, err := os.ReadFile(filepath.Join(bundle, "data.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(bundle, "data.json"), append(data, '\n'), 0o600))
	a.release.Policy, err = policies.Load(t.Context(), bundle)
	require.NoError(t, err)
	a.register()
	a.changes(a.input, "policy", "", "the policies changed since the plan was made")
}

// Threat 5: a tag that was read by approvers and moved since. Who named a digest
// too has asked for that, wherever the tag goes.
func TestAMovedTagIsTold(t *testing.T) {
	a := newApproved(t, "staging", ":v2")
	pinned := a.input
	pinned.Plan = a.plan("staging", ":v2@"+a.input.Plan.Artifact.Digest)
	pinned.PlanDigest = a.digest(pinned.Plan)
	a.stands(a.input, time.Minute)

	moved, err := sigtest.Seed(t.Context(), sigtest.SeedInput{
		Cosign: a.cosign, Registry: a.host, Repo: "payments-api", Tag: "v2", Binary: []byte("another binary"), Form: sigtest.Bundle,
		Commit: commit, Source: sourceURL, Builder: builderID, Keys: a.keys,
	})
	require.NoError(t, err)
	require.NotEqual(t, moved, a.input.Plan.Artifact.Digest)
	a.changes(a.input, "artifact", "", "tag v2 was moved: it named "+a.input.Plan.Artifact.Digest+", now it names "+moved)
	a.stands(pinned, time.Minute)
	// The release itself keeps to the digest: between steps a tag doesn't matter.
	_, err = call[any](a.intake, a.release.Recheck, a.input)
	require.NoError(t, err)
}

func TestApproversWhoLoseTheirStandingAreTold(t *testing.T) {
	a := newApproved(t, "prod", "@DIGEST", "release-lead", "risk-officer")
	lead, officer := a.input.Approvers[0], a.input.Approvers[1]
	inactive, active := false, true
	amend := func(id string, to oidcissuer.Standing) { require.NoError(t, a.people.Amend(t.Context(), id, to)) }

	amend("risk-officer", oidcissuer.Standing{Active: &inactive})
	a.changes(a.input, "approver", officer.Key(), "approver risk-officer was deactivated")
	a.refuses(a.input, "risk-officer was deactivated")

	// Both at once; and other groups don't matter.
	amend("release-lead", oidcissuer.Standing{Groups: []string{"payments-dev"}})
	found, err := a.watch(a.input)
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, lead.Key(), found[0].Approver)
	require.Contains(t, found[0].Reason, "approver release-lead is no longer in group payments-leads")
	amend("release-lead", oidcissuer.Standing{Groups: []string{"payments-leads", "another"}})
	amend("risk-officer", oidcissuer.Standing{Active: &active})
	a.stands(a.input, time.Minute)

	// A group counts if the plan or the policy asks for it, and if the approver was
	// in it.
	on := a.input
	on.Approvers = []signals.Subject{{Issuer: a.people.URL, ID: "on-call", Groups: []string{"payments-oncall"}}}
	amend("on-call", oidcissuer.Standing{Groups: []string{}})
	a.stands(on, time.Minute)
	on.Needed = signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-oncall", Count: 1}}}
	a.changes(on, "approver", on.Approvers[0].Key(), "no longer in group payments-oncall")

	// Who is not in the directory at all.
	gone := a.input
	gone.Approvers = []signals.Subject{{Issuer: a.people.URL, ID: "left-long-ago", Groups: []string{"risk"}}}
	a.changes(gone, "approver", gone.Approvers[0].Key(), "is no longer in the directory")
	a.refuses(gone, "is no longer in the directory")
}

// What can't be looked at has not changed: it is asked again, and no step is
// taken meanwhile. What is certain is told all the same.
func TestFaultsAreNoChanges(t *testing.T) {
	a := newApproved(t, "staging", ":v2", "release-lead")
	deactivated := false
	require.NoError(t, a.people.Amend(t.Context(), "release-lead", oidcissuer.Standing{Active: &deactivated}))
	technical := func(in signals.RecheckInput, says string) {
		t.Helper()
		_, watched := a.watch(in)
		_, rechecked := call[any](a.intake, a.release.Recheck, in)
		for _, err := range []error{watched, rechecked} {
			var fault *temporal.ApplicationError
			require.ErrorAs(t, err, &fault)
			require.False(t, fault.NonRetryable())
			require.NotEqual(t, signals.ErrStands, fault.Type())
			require.Contains(t, fault.Error(), says)
		}
	}
	a.server.Close() // the registry
	a.changes(a.input, "approver", a.input.Approvers[0].Key(), "was deactivated")
	a.refuses(a.input, "was deactivated")

	nobody := a.input
	nobody.Approvers = nil
	technical(nobody, a.host)

	require.NoError(t, a.people.Close())
	technical(a.input, "look up approver release-lead in the directory")
}

// brokenDirectory can't say anything.
type brokenDirectory struct{}

func (brokenDirectory) BySubject(context.Context, signals.Subject) (signals.Person, error) {
	return signals.Person{}, errors.New("out of order")
}

func TestADirectoryThatIsDownVoidsNoApproval(t *testing.T) {
	a := newApproved(t, "prod", "@DIGEST", "release-lead")
	a.release.Directory = brokenDirectory{}
	a.register()
	found, err := a.watch(a.input)
	require.ErrorContains(t, err, "out of order")
	require.Empty(t, found)
}
