package e2e

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/signals"
)

// TestKilledInEveryPhase ends the worker with SIGKILL in the middle of each
// phase, one release each, of releases that are promoted and of one that is
// rolled back. The stack starts it again, and the release must end as if nothing
// had been. Two lanes are tried at the same time, so that each release also
// lives through the kills that were meant for the other.
func TestKilledInEveryPhase(t *testing.T) {
	phases := map[string][]signals.Phase{}
	for i, phase := range signals.Phases() {
		environment := []string{"staging", "prod"}[i%2]
		if phase == signals.Approving { // tier 1 asks nobody
			environment = "prod"
		}
		phases[environment] = append(phases[environment], phase)
	}
	phases["staging"] = append(phases["staging"], signals.RollingBack)
	t.Run("lanes", func(t *testing.T) {
		for environment, list := range phases {
			t.Run(environment, func(t *testing.T) {
				t.Parallel()
				for i, phase := range list {
					t.Run(string(phase), func(t *testing.T) { killedIn(t, environment, phase, []string{"v1", "v2"}[i%2]) })
				}
			})
		}
	})
	r := evidence(t, "verify")
	require.Zero(t, r.code, r.stdout+r.stderr)
}

// killedIn ships a version and kills the worker when the release has entered the
// phase.
func killedIn(t *testing.T, environment string, phase signals.Phase, tag string) {
	t.Helper()
	want := signals.Promoted
	if phase == signals.RollingBack {
		tag, want = "v3", signals.RolledBack
	}
	release := start(t, environment, tag)
	asked := environment == "prod"
	if asked && slices.Index(signals.Phases(), phase) > slices.Index(signals.Phases(), signals.Approving) {
		approve(t, release)
		asked = false
	}
	enter(t, release, phase)
	killWorker(t)
	if asked {
		approve(t, release)
	}
	ended := outcome(t, release)
	require.Equal(t, want, ended.Kind, ended.Reasons)
	if want == signals.Promoted {
		require.True(t, strings.HasSuffix(stableImage(t, environment), image(t, tag).Digest))
	}
	_, canary := weights(t, environment)
	require.Zero(t, canary)
}

// enter returns as soon as history shows that the release is in the phase. It
// reads the server's history and so needs no worker, and no luck with polling.
func enter(t *testing.T, release string, phase signals.Phase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	events := dial(t).GetWorkflowHistory(ctx, release, "", true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		fields := e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
		var at string
		if p, ok := fields[signals.AttrPhase.GetName()]; ok && converter.GetDefaultDataConverter().FromPayload(p, &at) == nil && at == string(phase) {
			return
		}
	}
	t.Fatalf("release %s ended without having been in phase %s", release, phase)
}

// TestTerminatedReleaseFreesItsLane ends a release the hard way, in the middle
// of its canary: the lane must go on, its papers must be closed, and the next
// release must put the environment in order first.
func TestTerminatedReleaseFreesItsLane(t *testing.T) {
	release := start(t, "staging", "v2")
	enter(t, release, signals.Ramp)
	require.NoError(t, dial(t).TerminateWorkflow(t.Context(), release, "", "drill"))
	next := start(t, "staging", "v1")
	ended := outcome(t, next)
	require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
	_, canary := weights(t, "staging")
	require.Zero(t, canary)
	keys := records(t, "staging", release)
	require.Contains(t, keys[len(keys)-1], "-manifest-", "the lane had its papers closed")
	r := evidence(t, "verify")
	require.Zero(t, r.code, r.stdout+r.stderr)
}

// TestResetReleaseDoesNotShipOnOldApprovals is threat 8: approvals must not
// carry over into a run that a reset made.
func TestResetReleaseDoesNotShipOnOldApprovals(t *testing.T) {
	before := stableImage(t, "prod")
	release := start(t, "prod", "v1")
	approve(t, release)
	enter(t, release, signals.Ramp)
	r := temporal(t, "workflow", "reset", "--workflow-id="+release, "--type=LastWorkflowTask", "--reason=drill")
	require.Zero(t, r.code, r.stderr)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var ended signals.Outcome
	err := dial(t).GetWorkflow(ctx, release, "").GetWithOptions(ctx, &ended, client.WorkflowRunGetOptions{})
	if err == nil {
		require.NotEqual(t, signals.Promoted, ended.Kind)
	}
	require.NoError(t, ctx.Err())
	require.Equal(t, before, stableImage(t, "prod"))
	_, canary := weights(t, "prod")
	require.Zero(t, canary)
}

// TestEvidenceOutage stops the bucket in the middle of a ramp: forward waits,
// abort puts the environment back all the same, and the records follow.
func TestEvidenceOutage(t *testing.T) {
	release := start(t, "staging", "v2")
	enter(t, release, signals.Ramp)
	store := pidOf(t, "objectstore")
	require.NoError(t, syscall.Kill(store, syscall.SIGSTOP))
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			require.NoError(t, syscall.Kill(store, syscall.SIGCONT))
		}
	}
	t.Cleanup(resume)
	r := waybill(t, "on-call", "abort", release, "--reason=The bucket is down")
	require.Zero(t, r.code, r.stderr)
	require.Eventually(t, func() bool {
		_, canary := weights(t, "staging")
		return canary == 0 && kubectl(t, "get", "deployments", "--namespace=payments-staging", "--output=name") == "deployment.apps/payments-api"
	}, time.Minute, 200*time.Millisecond, "the rollback waits for the bucket")
	require.Nil(t, status(t, release).Outcome, "and the release waits to close its papers")
	resume()
	require.Equal(t, signals.Aborted, outcome(t, release).Kind)
	v := evidence(t, "verify")
	require.Zero(t, v.code, v.stdout+v.stderr)
}
