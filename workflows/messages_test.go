package workflows

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

func TestDenied(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.RegisterDelayedCallback(func() {
		got := r.decide(person("risk-officer", "risk"), signals.Deny)
		r.RegisterDelayedCallback(func() { require.NoError(t, got.err) }, 0)
	}, time.Minute)
	out := r.execute(requestIn)
	require.Equal(t, signals.Denied, out.Kind)
	require.Equal(t, "https://id.example#risk-officer", out.By)
	require.Equal(t, 1, w.count(signals.RecordApproval))
	require.Zero(t, w.count(signals.RecordDeployment))
}

// Each attack is mounted on a release that waits for its approval, and must be
// refused with the right type, recorded, and change nothing. Numbers are those
// of the threat list in docs/threat-model.md.
func TestApprovalsThatDoNotCount(t *testing.T) {
	lead := person("release-lead", "payments-leads")
	cases := map[string]struct {
		attack func(r *run) *reply
		kind   string
		says   string
	}{
		"2 replayed: nonce used before": {func(r *run) *reply {
			s := r.statement(lead, signals.Approve)
			e := r.w.seal(signals.ApprovalPayload, s)
			r.send(signals.ApprovalMessage, e)
			return r.send(signals.ApprovalMessage, e)
		}, signals.ErrReplayed, "nonce"},
		"2 replayed: expired": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.ExpiresAt = s.IssuedAt.Add(-time.Second) })
		}, signals.ErrUntrusted, "expired"},
		"3 the requester": {func(r *run) *reply {
			return r.decide(person("developer", "payments-leads"), signals.Approve)
		}, signals.ErrNotAllowed, "asked for this release"},
		"3 the same person twice": {func(r *run) *reply {
			both := person("release-lead", "payments-leads", "risk")
			r.decide(both, signals.Approve)
			return r.decide(both, signals.Approve, func(s *signals.ApprovalStatement) { s.Nonce = "another" })
		}, signals.ErrNotAllowed, "already"},
		"3 somebody of no group": {func(r *run) *reply {
			return r.decide(person("auditor", "audit"), signals.Approve)
		}, signals.ErrNotAllowed, "none of the groups"},
		"6 another plan": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.PlanDigest = oldDigest })
		}, signals.ErrUntrusted, "plan"},
		"7 no signature": {func(r *run) *reply {
			e := r.w.seal(signals.ApprovalPayload, r.statement(lead, signals.Approve))
			e.Signatures = nil
			return r.send(signals.ApprovalMessage, e)
		}, signals.ErrUntrusted, "no signature"},
		"7 signed by a stranger": {func(r *run) *reply {
			e := newWorld(t).seal(signals.ApprovalPayload, r.statement(lead, signals.Approve))
			return r.send(signals.ApprovalMessage, e)
		}, signals.ErrUntrusted, "does not verify"},
		"7 signed for something else": {func(r *run) *reply {
			e := r.w.seal(signals.CommandPayload, r.statement(lead, signals.Approve))
			return r.send(signals.ApprovalMessage, e)
		}, signals.ErrUntrusted, "type"},
		"8 for another run": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.Run = "before-the-reset" })
		}, signals.ErrUntrusted, "run"},
		"for another release": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.Release = "payments-api-prod-0" })
		}, signals.ErrUntrusted, "release"},
		"19 from the future": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.IssuedAt = s.IssuedAt.Add(time.Hour) })
		}, signals.ErrUntrusted, "future"},
		"no reason": {func(r *run) *reply {
			return r.decide(lead, signals.Approve, func(s *signals.ApprovalStatement) { s.Reason = "  " })
		}, signals.ErrNotAllowed, "reason"},
		"neither yes nor no": {func(r *run) *reply {
			return r.decide(lead, "maybe")
		}, signals.ErrUntrusted, "maybe"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.start(t)
			var got *reply
			r.RegisterDelayedCallback(func() { got = c.attack(r) }, time.Minute)
			out := r.execute(requestIn)
			require.Equal(t, signals.Expired, out.Kind, "the attack must not complete the quorum")
			require.Error(t, got.err)
			app := applicationError(got.err, c.kind)
			require.NotNil(t, app, "%v", got.err)
			require.Contains(t, app.Message(), c.says)
			p := predicate[signals.RefusalPredicate](w, signals.RecordRefusal)
			require.Contains(t, p.Reasons[0], c.says)
		})
	}
}

func TestRawSignalIsRefusedAndRecorded(t *testing.T) {
	for name, arg := range map[string]any{
		"the old way": map[string]any{"approved": true, "by": "release-lead"},
		"no object":   "approve",
		"unsigned":    signals.Message{Envelope: signals.Envelope{PayloadType: signals.ApprovalPayload, Payload: "e30="}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.start(t)
			r.RegisterDelayedCallback(func() { r.SignalWorkflow(signals.ApprovalMessage, arg) }, time.Minute)
			out := r.execute(requestIn)
			require.Equal(t, signals.Expired, out.Kind)
			require.Equal(t, 1, w.count(signals.RecordRefusal))
		})
	}
}

func TestSignedSignalCountsLikeAnUpdate(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.RegisterDelayedCallback(func() {
		for _, who := range []signals.Subject{person("release-lead", "payments-leads"), person("risk-officer", "risk")} {
			r.SignalWorkflow(signals.ApprovalMessage, signals.Message{Envelope: w.seal(signals.ApprovalPayload, r.statement(who, signals.Approve))})
		}
	}, time.Minute)
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
}

func TestFloodOfRefusedSignalsIsBounded(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.RegisterDelayedCallback(func() {
		for range 3 * refusalsRecorded {
			r.SignalWorkflow(signals.ApprovalMessage, "approve")
		}
	}, time.Minute)
	out := r.execute(requestIn)
	require.Equal(t, signals.Expired, out.Kind)
	require.Equal(t, refusalsRecorded, w.count(signals.RecordRefusal))
	require.Equal(t, 2*refusalsRecorded, predicate[signals.ManifestPredicate](w, signals.RecordManifest).Refused)
}

func TestApprovalBeforeAndAfterItsTime(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	var late *reply
	r.RegisterDelayedCallback(func() { late = r.decide(person("on-call", "risk"), signals.Approve) }, 2*time.Minute)
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(late.err, signals.ErrNotNow), "%v", late.err)
}

func TestAbortIsRefusedWhereItMakesNoSense(t *testing.T) {
	cases := map[string]func(*signals.CommandStatement){
		"no reason":       func(s *signals.CommandStatement) { s.Reason = "" },
		"unknown command": func(s *signals.CommandStatement) { s.Command = "explode" },
		"other release":   func(s *signals.CommandStatement) { s.Release = "x" },
		"other plan":      func(s *signals.CommandStatement) { s.PlanDigest = oldDigest },
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.start(t).approved()
			var got *reply
			r.RegisterDelayedCallback(func() {
				got = r.command(person("on-call"), signals.Abort, edit)
			}, 90*time.Second)
			require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
			require.Error(t, got.err)
		})
	}
}

func TestSecondAbortIsToldOfTheFirst(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	var second *reply
	r.RegisterDelayedCallback(func() {
		r.abort("first")
		second = r.abort("second")
	}, time.Minute)
	require.Equal(t, signals.Aborted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(second.err, signals.ErrNotNow), fmt.Sprint(second.err))
}

func TestProvenRequesterCannotApprove(t *testing.T) {
	w := newWorld(t)
	lead := person("release-lead", "payments-leads")
	request, err := signals.ParseRequest([]byte(requestIn))
	require.NoError(t, err)
	r := w.start(t)
	e := w.seal(signals.RequestPayload, signals.RequestStatement{
		Binding: signals.Binding{Release: releaseIn, Nonce: "n", IssuedAt: r.Now(), ExpiresAt: r.Now().Add(time.Hour)},
		Request: request, Requester: lead,
	})
	request.Envelope = &e
	var got *reply
	r.RegisterDelayedCallback(func() { got = r.decide(lead, signals.Approve) }, time.Minute)
	require.Equal(t, signals.Expired, r.execute(encode(t, request)).Kind)
	require.NotNil(t, applicationError(got.err, signals.ErrNotAllowed), fmt.Sprint(got.err))
	require.True(t, predicate[signals.RequestPredicate](w, signals.RecordRequest).Requester.Proven)
}

func TestRequestEnvelopeForAnotherRequest(t *testing.T) {
	w := newWorld(t)
	request, err := signals.ParseRequest([]byte(requestIn))
	require.NoError(t, err)
	r := w.start(t)
	e := w.seal(signals.RequestPayload, signals.RequestStatement{
		Binding: signals.Binding{Release: releaseIn, Nonce: "n", IssuedAt: r.Now(), ExpiresAt: r.Now().Add(time.Hour)},
		Request: request, Requester: person("ci"),
	})
	request.Envelope, request.Ticket = &e, "CHG-9999"
	out := r.execute(encode(t, request))
	require.Equal(t, signals.Rejected, out.Kind)
	require.Contains(t, out.Reasons[0], "another request")
}
