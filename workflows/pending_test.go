package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// decideOn decides on the command that is pending.
func (r *run) decideOn(command string, who signals.Subject, d signals.Decision) *reply {
	return r.decide(who, d, func(s *signals.ApprovalStatement) { s.Command, s.Nonce = command, who.ID+"-on-"+command })
}

func TestSkipAtTierTwoTakesTwoPeople(t *testing.T) {
	w := newWorld(t)
	w.source = &signals.SourceReview{Authors: []signals.Contributor{{Email: "author@payments.example"}}}
	author := person("author", "risk")
	author.Email = "author@payments.example"
	r := w.start(t).approved()
	var asked, own, outsider, excluded, unknown, twice, approved, late *reply
	r.at(inCanary, func() {
		asked = r.command(risk, signals.Skip)
		twice = r.command(risk, signals.Skip)
	})
	r.at(inCanary+time.Second, func() {
		st := r.status()
		require.Equal(t, signals.Canary, st.Phase, "it has no effect yet")
		require.Equal(t, []signals.PendingCommand{{
			ID: asked.receipt.Pending, Command: signals.Skip, By: "risk-officer", Reason: "because", At: st.Pending[0].At,
		}}, st.Pending)
		require.Equal(t, "waybill approve "+releaseIn+" --command "+asked.receipt.Pending+" --reason '…'", st.Next[0].Command)
		own = r.decideOn(asked.receipt.Pending, risk, signals.Approve)
		outsider = r.decideOn(asked.receipt.Pending, onCall, signals.Approve)
		excluded = r.decideOn(asked.receipt.Pending, author, signals.Approve)
		unknown = r.decideOn("another", lead, signals.Approve)
		approved = r.decideOn(asked.receipt.Pending, lead, signals.Approve)
	})
	r.at(inCanary+5*time.Second, func() {
		require.Equal(t, signals.Ramp, r.status().Phase)
		late = r.decide(person("second-lead", "payments-leads"), signals.Approve, func(s *signals.ApprovalStatement) { s.Command = asked.receipt.Pending })
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NoError(t, approved.err)
	require.NotNil(t, applicationError(twice.err, signals.ErrNotNow), "%v", twice.err)
	require.NotNil(t, applicationError(own.err, signals.ErrNotAllowed), "%v", own.err)
	require.NotNil(t, applicationError(outsider.err, signals.ErrNotAllowed), "%v", outsider.err)
	require.NotNil(t, applicationError(excluded.err, signals.ErrNotAllowed), "%v", excluded.err)
	require.NotNil(t, applicationError(unknown.err, signals.ErrNotNow), "%v", unknown.err)
	require.NotNil(t, applicationError(late.err, signals.ErrNotNow), "%v", late.err)
	command := predicate[signals.CommandPredicate](w, signals.RecordCommand)
	require.Equal(t, "approved", command.State)
	require.Equal(t, lead.Key(), command.ApprovedBy)
	require.Equal(t, 2, w.count(signals.RecordCommand), "as asked for and as approved")
	require.Equal(t, 3, w.count(signals.RecordApproval))
	require.Equal(t, "skipped by risk-officer: because; approved by release-lead", analysis(w, signals.Canary).Result.Reason)
}

func TestSkipThatIsDeniedOrTooLateHasNoEffect(t *testing.T) {
	for name, decide := range map[string]func(r *run, id string){
		"denied":   func(r *run, id string) { require.NoError(r.t, r.decideOn(id, lead, signals.Deny).err) },
		"too late": func(*run, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newWorld(t), &seen{}
			w.verdict = s.verdict
			r := w.start(t).approved()
			r.at(inCanary, func() {
				asked := r.command(onCall, signals.Skip)
				r.RegisterDelayedCallback(func() { decide(r, asked.receipt.Pending) }, time.Second)
			})
			r.at(3*time.Minute+30*time.Second, func() {
				require.Equal(t, signals.Ramp, r.status().Phase)
				require.Empty(t, r.status().Pending)
			})
			require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
			require.Equal(t, signals.Pass, analysis(w, signals.Canary).Result.Verdict)
		})
	}
}
