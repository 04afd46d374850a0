package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/waybill-dev/waybill/signals"
)

// details are what the Temporal UI shows of a release.
func (r *run) details() string {
	shown, err := r.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(r.t, err)
	var metadata sdkpb.WorkflowMetadata
	require.NoError(r.t, shown.Get(&metadata))
	return metadata.GetCurrentDetails()
}

func commands(next []signals.NextAction) []string {
	out := make([]string, len(next))
	for i, n := range next {
		out[i] = n.Command
	}
	return out
}

func TestTheScreenShowsWhoDecidedWhoMayNotAndWhatCanBeDone(t *testing.T) {
	const id, why = releaseIn, " --reason '…'"
	w := newWorld(t)
	w.source = &signals.SourceReview{Authors: []signals.Contributor{{Login: "author|1"}}}
	w.edit = func(p *signals.Plan) { p.Roles = &signals.Roles{Operate: []string{"payments-oncall"}} }
	r := w.start(t)
	r.at(time.Minute, func() {
		r.decide(lead, signals.Approve)
		r.decide(lead, signals.Withdraw, nonce("w"))
		r.decide(lead, signals.Approve, nonce("again"))
	})
	r.at(2*time.Minute, func() {
		shown := r.details()
		require.Contains(t, shown, "| release-lead | approve (void: withdrawn: read the plan, looks right) | – |")
		require.Contains(t, shown, "| release-lead | approve | payments-leads | read the plan, looks right |")
		require.Contains(t, shown, `May not approve: developer (requester), author\|1 (author)`)
		require.Equal(t, []string{"waybill approve " + id + why, "waybill pause " + id + why, "waybill abort " + id + why}, commands(r.status().Next))
		require.Equal(t, "anyone of payments-oncall", r.status().Next[1].Who)
		r.decide(risk, signals.Approve)
	})
	canary := 3*time.Minute + 30*time.Second
	r.at(canary, func() { r.command(onCall, signals.Skip) })
	r.at(canary+time.Second, func() {
		require.Contains(t, r.details(), "on-call wants to skip the window: because. It waits for somebody else's approval.")
		require.Equal(t, []string{
			"waybill approve " + id + " --command skip-1" + why, "waybill pause " + id + why, "waybill rollback " + id + why, "waybill abort " + id + why,
		}, commands(r.status().Next))
		r.decideOn("skip-1", lead, signals.Deny)
		r.command(onCall, signals.Pause)
	})
	r.at(canary+2*time.Second, func() {
		require.Contains(t, r.details(), "**Paused** by on-call: because")
		require.Equal(t, []string{
			"waybill resume " + id + why, "waybill extend " + id + " --by 30m" + why, "waybill rollback " + id + why, "waybill abort " + id + why,
		}, commands(r.status().Next))
		r.command(onCall, signals.RollBackNow)
	})
	require.Equal(t, signals.RolledBack, r.execute(requestIn).Kind)
}
