package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// nonce names a decision apart from others of the same person.
func nonce(n string) func(*signals.ApprovalStatement) {
	return func(s *signals.ApprovalStatement) { s.Nonce = n }
}

func TestWithdrawnApprovalNoLongerCounts(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	var nothing, withdrawn, silent, again *reply
	r.at(time.Minute, func() {
		nothing = r.decide(lead, signals.Withdraw, nonce("w0"))
		r.decide(lead, signals.Approve)
	})
	r.at(2*time.Minute, func() {
		silent = r.decide(lead, signals.Withdraw, nonce("w1"), func(s *signals.ApprovalStatement) { s.Reason = "" })
		withdrawn = r.decide(lead, signals.Withdraw, nonce("w2"))
		r.decide(risk, signals.Approve)
	})
	r.at(3*time.Minute, func() {
		st := r.status()
		require.Equal(t, signals.Approving, st.Phase)
		require.Equal(t, "waiting for 1 of payments-leads", st.Doing)
		require.Equal(t, "withdrawn: read the plan, looks right", st.Approval.Given[0].Void)
		require.Empty(t, st.Approval.Given[0].Place)
		require.Equal(t, "risk", st.Approval.Given[1].Place)
		again = r.decide(lead, signals.Approve, nonce("second thoughts"))
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(nothing.err, signals.ErrNotAllowed), "%v", nothing.err)
	require.NotNil(t, applicationError(silent.err, signals.ErrNotAllowed), "%v", silent.err)
	require.NoError(t, withdrawn.err)
	require.NoError(t, again.err)
	var decisions []signals.Decision
	for _, rec := range w.records {
		if rec.Kind == signals.RecordApproval {
			decisions = append(decisions, decode[signals.ApprovalPredicate](w, rec).Statement.Decision)
		}
	}
	require.Equal(t, []signals.Decision{signals.Approve, signals.Withdraw, signals.Approve, signals.Approve}, decisions)
}

func TestNothingIsWithdrawnOnceTheQuorumIsComplete(t *testing.T) {
	w := newWorld(t)
	r := w.start(t).approved()
	var late *reply
	r.at(90*time.Second, func() { late = r.decide(lead, signals.Withdraw) })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(late.err, signals.ErrNotNow), "%v", late.err)
}

func TestWhoeverApprovedMayStillDeny(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	r.at(time.Minute, func() {
		r.decide(lead, signals.Approve)
		r.decide(lead, signals.Deny)
	})
	require.Equal(t, signals.Denied, r.execute(requestIn).Kind)
}

// Threat 3: the parts that somebody had in the change keep them out, under
// whichever account; so neither do two accounts of one person make a quorum.
func TestThreat3SecondAccounts(t *testing.T) {
	second := func(s signals.Subject, email string, aliases ...string) signals.Subject {
		s.ID, s.Name, s.Email, s.Aliases = s.ID+"-2", s.Name+" two", email, aliases
		return s
	}
	cases := map[string]struct {
		who  signals.Subject
		says string
	}{
		"author":              {second(lead, "author@payments.example"), "wrote the change"},
		"author, by alias":    {second(lead, "x@payments.example", "author"), "wrote the change"},
		"committer":           {second(lead, "committer@payments.example"), "committed"},
		"merger":              {second(lead, "x@payments.example", "merger"), "merged"},
		"configuration":       {second(lead, "config@payments.example"), "configuration"},
		"requester":           {second(lead, "x@payments.example", "developer"), "asked for this release"},
		"approver once again": {second(lead, "release-lead@payments.example"), "already"},
	}
	for name, c := range cases {
		for _, decision := range []signals.Decision{signals.Approve, signals.Deny} {
			if name == "approver once again" && decision == signals.Deny {
				continue
			}
			t.Run(name+" "+string(decision), func(t *testing.T) {
				w := newWorld(t)
				w.source = &signals.SourceReview{
					Authors:    []signals.Contributor{{Email: "author@payments.example", Login: "author"}},
					Committers: []signals.Contributor{{Email: "committer@payments.example"}, {Name: "GitHub", Email: "noreply@github.com"}},
					Merger:     &signals.Contributor{Login: "merger"},
				}
				w.edit = func(p *signals.Plan) {
					p.ConfigAuthors = []signals.Contributor{{Email: "config@payments.example"}}
				}
				first := lead
				first.Email = "release-lead@payments.example"
				c.who.Groups = []string{"payments-leads", "risk"}
				r := w.start(t)
				var got *reply
				r.at(time.Minute, func() {
					r.decide(first, signals.Approve)
					got = r.decide(c.who, decision)
				})
				require.Equal(t, signals.Expired, r.execute(requestIn).Kind)
				app := applicationError(got.err, signals.ErrNotAllowed)
				require.NotNil(t, app, "%v", got.err)
				require.Contains(t, app.Message(), c.says)
				require.Contains(t, predicate[signals.RefusalPredicate](w, signals.RecordRefusal).Reasons[0], c.says)
				require.Contains(t, predicate[signals.ApprovalPredicate](w, signals.RecordApproval).Excluded, "author@payments.example")
			})
		}
	}
}

// Threat 4: a Slack account alone decides nothing where a fresh login is asked.
func TestThreat4StepUp(t *testing.T) {
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	demand := signals.StepUp{ACR: []string{"mfa"}, MaxAge: signals.Duration(5 * time.Minute)}
	cases := map[string]struct {
		authn signals.Authentication
		met   bool
	}{
		"fresh":             {signals.Authentication{Method: "oidc", ACR: "mfa", At: issued.Add(-time.Minute)}, true},
		"as old as allowed": {signals.Authentication{Method: "oidc", ACR: "mfa", At: issued.Add(-5 * time.Minute)}, true},
		"clocks apart":      {signals.Authentication{Method: "oidc", ACR: "mfa", At: issued.Add(skew)}, true},
		"too old":           {signals.Authentication{Method: "oidc", ACR: "mfa", At: issued.Add(-5*time.Minute - 1)}, false},
		"after the fact":    {signals.Authentication{Method: "oidc", ACR: "mfa", At: issued.Add(skew + 1)}, false},
		"password only":     {signals.Authentication{Method: "oidc", ACR: "pwd", At: issued}, false},
		"no kind named":     {signals.Authentication{Method: "oidc", At: issued}, false},
		"no time":           {signals.Authentication{Method: "oidc", ACR: "mfa"}, false},
		"a click in Slack":  {signals.Authentication{Method: "slack", ACR: "mfa", At: issued, Channel: "slack"}, false},
		"nothing":           {signals.Authentication{}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			why := stepUpMet(demand, c.authn, issued)
			require.Equal(t, c.met, why == "", why)
		})
	}
	require.Empty(t, stepUpMet(signals.StepUp{MaxAge: demand.MaxAge}, signals.Authentication{Method: "oidc", At: issued}, issued), "any kind will do where none is named")
}

// risk's place demands a fresh login, as the plan says; the leads' does not.
func steppedUp(p *signals.Plan) {
	p.Approval.Groups = slices.Clone(p.Approval.Groups)
	p.Approval.Groups[1].StepUp = &signals.StepUp{ACR: []string{"mfa"}, MaxAge: signals.Duration(5 * time.Minute)}
}

func fresh(s *signals.ApprovalStatement) {
	s.Authn = signals.Authentication{Method: "oidc", ACR: "mfa", At: s.IssuedAt.Add(-time.Minute), Channel: "web"}
}

func clicked(s *signals.ApprovalStatement) {
	s.Authn = signals.Authentication{Method: "slack", Channel: "slack", Account: "T1/U1"}
}

func TestThreat4ApprovalByAClickIsSentToStepUp(t *testing.T) {
	w := newWorld(t)
	w.edit = steppedUp
	both := person("both", "payments-leads", "risk")
	r := w.start(t)
	var click, asLead, asRisk, login *reply
	r.at(time.Minute, func() {
		require.NotNil(t, r.status().Approval.Missing.Groups[1].StepUp, "whoever decides sees what it takes")
		click = r.decide(risk, signals.Approve, clicked, nonce("n0"))
		asLead = r.decide(both, signals.Approve, clicked, nonce("n1")) // counts for the leads alone
		asRisk = r.decide(person("both-2", "payments-leads", "risk"), signals.Approve, clicked, nonce("n2"))
	})
	r.at(2*time.Minute, func() {
		require.Equal(t, "waiting for 1 of risk", r.status().Doing)
		require.Equal(t, "payments-leads", r.status().Approval.Given[0].Place)
		login = r.decide(risk, signals.Approve, fresh, nonce("n3"))
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(click.err, signals.ErrStepUp), "%v", click.err)
	require.NoError(t, asLead.err)
	require.NotNil(t, applicationError(asRisk.err, signals.ErrStepUp), "%v", asRisk.err)
	require.NoError(t, login.err)
	require.Equal(t, 2, w.count(signals.RecordRefusal))
}

func TestStoppingNeedsNoStepUp(t *testing.T) {
	w := newWorld(t)
	w.edit = steppedUp
	r := w.start(t)
	r.at(time.Minute, func() { r.decide(risk, signals.Deny, clicked) })
	require.Equal(t, signals.Denied, r.execute(requestIn).Kind)
}

func TestSkipNeedsTheStepUpOfItsApprover(t *testing.T) {
	w := newWorld(t)
	w.edit = steppedUp
	r := w.start(t)
	r.at(time.Minute, func() {
		r.decide(lead, signals.Approve, clicked)
		r.decide(risk, signals.Approve, fresh)
	})
	var click, login *reply
	r.at(inCanary, func() { r.command(onCall, signals.Skip) })
	r.at(inCanary+time.Second, func() {
		id := r.status().Pending[0].ID
		click = r.decideOn(id, risk, signals.Approve)
		login = r.decide(risk, signals.Approve, fresh, func(s *signals.ApprovalStatement) { s.Command, s.Nonce = id, "fresh" })
	})
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	require.NotNil(t, applicationError(click.err, signals.ErrStepUp), "%v", click.err)
	require.NoError(t, login.err)
}

func TestApprovalThatGetsTooOldFalls(t *testing.T) {
	w := newWorld(t)
	w.edit = func(p *signals.Plan) { p.Limits.ApprovalValid = signals.Duration(10 * time.Minute) }
	r := w.start(t)
	r.at(time.Minute, func() { r.decide(lead, signals.Approve) })
	r.at(12*time.Minute, func() {
		st := r.status()
		require.Contains(t, st.Approval.Given[0].Void, "good for 10m0s")
		require.Equal(t, 2, st.Approval.Missing.People())
		r.decide(risk, signals.Approve)
	})
	r.at(20*time.Minute, func() { r.decide(lead, signals.Approve, nonce("once more")) })
	require.Equal(t, signals.Promoted, r.execute(requestIn).Kind)
	p := predicate[signals.VoidPredicate](w, signals.RecordVoid)
	require.Equal(t, []string{"release-leadapprove"}, p.Nonces)
	require.Equal(t, "age", p.Changes[0].What)
	require.Equal(t, 2, p.Missing.People())
}

func TestApprovalThatIsTooOldWhenTheLaneIsFree(t *testing.T) {
	for name, c := range map[string]struct {
		valid   time.Duration
		outcome signals.OutcomeKind
	}{"too old": {20 * time.Minute, signals.Expired}, "still good": {2 * time.Hour, signals.Promoted}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit = func(p *signals.Plan) { p.Limits.ApprovalValid = signals.Duration(c.valid) }
			for range 6 { // asked again after 30s, 1m, 2m, …: half an hour in all
				w.grants = append(w.grants, signals.LaneGrant{Position: 1, Blocked: "the lane is frozen by on-call: festival"})
			}
			r := w.start(t).approved()
			r.at(5*time.Minute, func() { require.Contains(t, r.status().Doing, "frozen by on-call") })
			out := r.execute(requestIn)
			require.Equal(t, c.outcome, out.Kind)
			if c.outcome == signals.Expired {
				require.Contains(t, out.Reasons[0], "approvals are good for 20m0s")
				require.Equal(t, 1, w.count(signals.RecordVoid))
				require.Zero(t, w.count(signals.RecordPermit))
			}
		})
	}
}

func TestWhoMayStartARelease(t *testing.T) {
	proven := func(groups ...string) signals.RequesterView {
		s := person("ci", groups...)
		return signals.RequesterView{Proven: true, Subject: &s}
	}
	named := signals.Plan{Service: "payments-api", Environment: "prod", Roles: &signals.Roles{Release: []string{"ci", "payments-leads"}}}
	emergency := signals.Plan{BreakGlass: &signals.BreakGlassTerms{Reason: "outage"}}
	for name, c := range map[string]struct {
		plan signals.Plan
		who  signals.RequesterView
		says string
	}{
		"a member":                       {named, proven("ci"), ""},
		"no member":                      {named, proven("payments-dev"), "takes a member of ci, payments-leads"},
		"not proven":                     {named, signals.RequesterView{Claimed: "ci"}, "nothing proves who asks"},
		"nobody named, not proven":       {signals.Plan{Roles: &signals.Roles{}}, signals.RequesterView{}, ""},
		"no roles, not proven":           {signals.Plan{}, signals.RequesterView{}, ""},
		"20 an emergency, not proven":    {emergency, signals.RequesterView{Claimed: "on-call"}, "needs to know who asks"},
		"an emergency by anybody proven": {emergency, proven(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.says == "" {
				require.Empty(t, mayStart(c.plan, c.who))
				return
			}
			require.Contains(t, mayStart(c.plan, c.who), c.says)
		})
	}
}

func TestWhoMayNotReleaseIsRefusedAtIntake(t *testing.T) {
	w := newWorld(t)
	w.edit = func(p *signals.Plan) { p.Roles = &signals.Roles{Release: []string{"ci"}} }
	out := w.start(t).execute(requestIn)
	require.Equal(t, signals.Rejected, out.Kind)
	require.Equal(t, signals.Intake, out.Phase)
	require.Equal(t, 1, w.count(signals.RecordRefusal))
	require.Zero(t, w.count(signals.RecordVerification))
}

// askedBy is the request as somebody asked for it through the gateway.
func (r *run) askedBy(who signals.Subject) string {
	request, err := signals.ParseRequest([]byte(requestIn))
	require.NoError(r.t, err)
	request.RequestedBy = ""
	e := r.w.seal(signals.RequestPayload, signals.RequestStatement{
		Binding: signals.Binding{Release: releaseIn, Nonce: "n", IssuedAt: r.Now(), ExpiresAt: r.Now().Add(time.Hour)},
		Request: request, Requester: who,
	})
	request.Envelope = &e
	return encode(r.t, request)
}

func emergency(p *signals.Plan) {
	p.BreakGlass = &signals.BreakGlassTerms{Reason: "payments are down", ReviewWithin: signals.Duration(48 * time.Hour)}
}

// Threat 20: an emergency release needs a proven requester and two people of
// different groups, and leaves a review due that none of them can close.
func TestThreat20BreakGlass(t *testing.T) {
	t.Run("promoted leaves a review", func(t *testing.T) {
		w := newWorld(t)
		w.edit = emergency
		r := w.start(t).approved()
		out := r.execute(r.askedBy(onCall))
		require.Equal(t, signals.Promoted, out.Kind)
		require.Equal(t, signals.RecordBreakGlass, w.kinds()[2], "right after the plan")
		require.Equal(t, &signals.ReviewDue{
			Release: releaseIn, Reason: "payments are down", Due: out.EndedAt.Add(48 * time.Hour),
			Excluded: []string{onCall.Key(), onCall.ID, lead.Key(), lead.ID, risk.Key(), risk.ID},
		}, out.Review)
		require.True(t, w.claims[0].BreakGlass)
	})
	t.Run("rolled back leaves a review", func(t *testing.T) {
		w := newWorld(t)
		w.edit, w.verdict = emergency, failsInBake
		r := w.start(t).approved()
		require.NotNil(t, r.execute(r.askedBy(onCall)).Review)
	})
	t.Run("denied leaves none", func(t *testing.T) {
		w := newWorld(t)
		w.edit = emergency
		r := w.start(t)
		r.at(time.Minute, func() { r.decide(risk, signals.Deny) })
		require.Nil(t, r.execute(r.askedBy(onCall)).Review)
	})
	t.Run("the requester doesn't count among the two", func(t *testing.T) {
		w := newWorld(t)
		w.edit = emergency
		r := w.start(t)
		var own *reply
		r.at(time.Minute, func() {
			own = r.decide(lead, signals.Approve)
			r.decide(risk, signals.Approve)
		})
		require.Equal(t, signals.Expired, r.execute(r.askedBy(lead)).Kind)
		require.NotNil(t, applicationError(own.err, signals.ErrNotAllowed), "%v", own.err)
	})
	t.Run("not proven", func(t *testing.T) {
		w := newWorld(t)
		w.edit = emergency
		out := w.start(t).execute(requestIn)
		require.Equal(t, signals.Rejected, out.Kind)
		require.Equal(t, 1, w.count(signals.RecordRefusal))
	})
	for name, quorum := range map[string][]signals.GroupQuorum{
		"one person": {{Group: "risk", Count: 1}}, "two of one group": {{Group: "risk", Count: 2}},
		"the same group twice": {{Group: "risk", Count: 1}, {Group: "risk", Count: 1}}, "nobody": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit, w.quorum = emergency, signals.Quorum{Groups: quorum}
			r := w.start(t)
			out := r.execute(r.askedBy(onCall))
			require.Equal(t, signals.Rejected, out.Kind)
			require.Contains(t, out.Reasons[0], "2 people of different groups")
			require.Equal(t, 1, w.count(signals.RecordRefusal))
		})
	}
}

func TestTheLastKnownGoodNamesItsCommit(t *testing.T) {
	w := newWorld(t)
	out := w.start(t).approved().execute(requestIn)
	require.Equal(t, commit, out.LKG.Commit)
	require.Equal(t, commit, out.Commit)
}
