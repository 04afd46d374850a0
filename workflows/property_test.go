package workflows

import (
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func decodeFirst(e *workflow.ContinueAsNewError, into any) error {
	return converter.GetDefaultDataConverter().FromPayloads(e.Input, into)
}

// Whatever the verdicts, faults and commands: a release that ends leaves the
// environment at the new digest or at last known good, all of it, with papers
// that are whole. check() holds the world against that; here the world is made
// to misbehave at random.
func TestAReleaseEndsWholeWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		verdicts := rapid.SliceOfN(rapid.SampledFrom([]signals.Verdict{
			signals.Pass, signals.Pass, signals.Pass, signals.Pass, signals.Fail, signals.Insufficient, signals.Outage,
		}), 30, 30).Draw(rt, "verdicts")
		look := 0
		w.verdict = func(signals.WatchInput) signals.Verdict {
			look++
			return verdicts[min(look, len(verdicts))-1]
		}
		for _, name := range []string{"VerifyArtifact", "Observe", "EnsureCanary", "SetWeight", "PromoteStable", "RemoveCanary", "Watch"} {
			switch rapid.IntRange(0, 9).Draw(rt, name) {
			case 0:
				w.fail[name] = permanentOnce(signals.ErrNotReady)
			case 1:
				w.fail[name] = times(3)
			}
		}
		if rapid.IntRange(0, 4).Draw(rt, "leftovers") == 0 {
			w.canary, w.weight = true, 50
		}
		if n := rapid.IntRange(0, 20).Draw(rt, "recheck fails at"); n > 0 && n < 8 {
			w.recheck = func() error {
				if n--; n == 0 {
					return temporal.NewNonRetryableApplicationError("withdrawn", signals.ErrRefused, nil)
				}
				return nil
			}
		}
		r := w.start(t).approved()
		switch at := time.Duration(rapid.IntRange(90, 900).Draw(rt, "at")) * time.Second; rapid.IntRange(0, 3).Draw(rt, "stop by") {
		case 0:
			r.RegisterDelayedCallback(func() { r.abort("drawn") }, at)
		case 1:
			r.RegisterDelayedCallback(r.CancelWorkflow, at)
		}
		r.ExecuteWorkflow(Release, rawInput(requestIn))
		if err := r.GetWorkflowError(); err != nil {
			// An undo that could not be done is the one way to fail.
			if applicationError(err, signals.ErrUndo) == nil {
				rt.Fatalf("failed: %v", err)
			}
			return
		}
		var out signals.Outcome
		if err := r.GetWorkflowResult(&out); err != nil {
			rt.Fatal(err)
		}
		want := oldDigest
		if out.Kind == signals.Promoted {
			want = newDigest
		}
		if w.stable != want || w.weight != 0 && out.Rollback != nil || w.canary && out.Rollback != nil {
			rt.Fatalf("%s leaves stable at %s, weight %d, canary %t", out.Kind, w.stable, w.weight, w.canary)
		}
		if len(w.breaches) > 0 {
			rt.Fatalf("breaches: %v", w.breaches)
		}
	})
}

// people of whom some may approve, some may not, and some are one person twice.
func (w *world) crowd() []signals.Subject {
	author := person("author", "payments-leads", "risk")
	author.Email = "author@payments.example"
	again := person("release-lead-2", "payments-leads", "risk")
	again.Aliases = []string{"release-lead"}
	return []signals.Subject{
		lead, risk, onCall, author, again, person("developer", "payments-leads"), person("second-lead", "payments-leads"),
		person("both", "payments-leads", "risk"), person("auditor", "audit"),
	}
}

// Whatever people send and whenever: nothing is changed but by a quorum of
// distinct people who may approve, nobody skips a window alone, nothing moves on
// while it is paused, and each message leaves one record, of its effect or of its
// refusal.
func TestOnlyWhatPeopleMayDoHasAnEffect(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.source = &signals.SourceReview{Authors: []signals.Contributor{{Email: "author@payments.example"}}}
		w.edit = func(p *signals.Plan) {
			p.Limits.ApprovalValid = signals.Duration(rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Minute}).Draw(rt, "valid"))
			if rapid.Bool().Draw(rt, "operators") {
				p.Roles = &signals.Roles{Operate: []string{"payments-oncall", "payments-leads"}}
			}
		}
		r := w.start(t)
		if rapid.IntRange(0, 3).Draw(rt, "somebody falls") == 0 {
			r.fallsAt(2*time.Minute, signals.StandingChange{What: "approver", Approver: lead.Key(), Reason: "left"})
		}
		var replies []*reply
		crowd := w.crowd()
		for range rapid.IntRange(4, 25).Draw(rt, "messages") {
			who := rapid.SampledFrom(crowd).Draw(rt, "who")
			at := time.Duration(rapid.IntRange(30, 400).Draw(rt, "at")) * time.Second
			what := rapid.IntRange(0, 9).Draw(rt, "what")
			decision := rapid.SampledFrom([]signals.Decision{
				signals.Approve, signals.Approve, signals.Approve, signals.Approve, signals.Approve, signals.Withdraw, signals.Deny,
			}).Draw(rt, "decision")
			command := rapid.SampledFrom(append(signals.CommandKinds(), signals.Skip, signals.Skip, signals.Resume, signals.Resume)).Draw(rt, "command")
			n := fmt.Sprintf("n%d", rapid.IntRange(0, 60).Draw(rt, "nonce")) // some twice
			r.at(at, func() {
				st := r.status()
				switch pending := st.Pending; {
				case st.Outcome != nil:
				case what < 6 && st.Phase == signals.Approving:
					replies = append(replies, r.decide(who, decision, nonce(n)))
				case what < 6 && len(pending) > 0:
					replies = append(replies, r.decide(who, decision, nonce(n), func(s *signals.ApprovalStatement) { s.Command = pending[0].ID }))
				default:
					replies = append(replies, r.command(who, command, func(s *signals.CommandStatement) { s.Nonce, s.By = n, signals.Duration(time.Minute) }))
				}
			})
		}
		// Nobody is left waiting for ever.
		r.at(3*time.Hour, func() {
			if r.status().Outcome == nil {
				replies = append(replies, r.abort("enough"))
			}
		})
		r.ExecuteWorkflow(Release, rawInput(requestIn))
		if err := r.GetWorkflowError(); err != nil {
			rt.Fatalf("failed: %v", err)
		}
		if len(w.breaches) > 0 {
			rt.Fatalf("breaches: %v", w.breaches)
		}
		w.holdRecords(rt, replies)
	})
}

// holdRecords reads the records in their order, as an auditor would, and holds
// them against the rules and against what senders were told.
func (w *world) holdRecords(rt *rapid.T, replies []*reply) {
	counted, operators := map[string]signals.Subject{}, map[string]signals.Subject{}
	nonces, paused := map[string]bool{}, false
	accepted, refusals, approvedSkips := 0, 0, 0
	once := func(n string) {
		if nonces[n] {
			rt.Fatalf("nonce %s counted twice", n)
		}
		nonces[n] = true
		accepted++
	}
	for i, rec := range w.records {
		switch rec.Kind {
		case signals.RecordApproval:
			p := decode[signals.ApprovalPredicate](w, rec)
			once(p.Statement.Nonce)
			who := p.Statement.Approver
			if as, ok := conflict(who, Exclusions(signals.RequesterView{Claimed: "developer"}, w.source, nil)); ok {
				rt.Fatalf("record %d: %s decided, though %s", i, who.ID, as)
			}
			switch {
			case p.Statement.Command != "":
				if samePerson(who, operators[p.Statement.Command]) {
					rt.Fatalf("record %d: %s decided on their own command", i, who.ID)
				}
			case p.Statement.Decision == signals.Approve:
				counted[p.Statement.Nonce] = who
			case p.Statement.Decision == signals.Withdraw:
				for n, s := range counted {
					if s.Key() == who.Key() {
						delete(counted, n)
					}
				}
			}
		case signals.RecordVoid:
			for _, n := range decode[signals.VoidPredicate](w, rec).Nonces {
				delete(counted, n)
			}
		case signals.RecordPermit:
			var people []signals.Subject
			for _, s := range counted {
				people = append(people, s)
			}
			for i, one := range people {
				for _, two := range people[:i] {
					if samePerson(one, two) {
						rt.Fatalf("%s and %s approved, and are one person", one.ID, two.ID)
					}
				}
			}
			if _, missing := Assign(w.quorum, people); missing.People() > 0 {
				rt.Fatalf("record %d: a permit without %s", i, describeQuorum(missing))
			}
		case signals.RecordCommand:
			p := decode[signals.CommandPredicate](w, rec)
			if p.State == "approved" {
				approvedSkips++
				continue
			}
			once(p.Statement.Nonce)
			operators[p.Statement.Nonce] = p.Statement.Operator
			switch p.Statement.Command {
			case signals.Pause:
				paused = true
			case signals.Resume:
				paused = false
			}
		case signals.RecordDeployment:
			if p := decode[signals.DeploymentPredicate](w, rec); paused && p.Stage == "intended" {
				rt.Fatalf("record %d: %s while it was paused", i, p.Step)
			}
		case signals.RecordAnalysis:
			if p := decode[signals.AnalysisPredicate](w, rec); p.Result.Verdict == signals.Skipped && p.Result.Reason[:7] == "skipped" {
				if approvedSkips--; approvedSkips < 0 {
					rt.Fatalf("record %d: skipped without approval: %s", i, p.Result.Reason)
				}
			}
		case signals.RecordRefusal:
			if p := decode[signals.RefusalPredicate](w, rec); p.Message != "" {
				refusals++
			}
		}
	}
	refused, late := 0, 0
	for _, got := range replies {
		switch {
		case got.rejected: // it had ended
			late++
		case got.err != nil:
			refused++
		}
	}
	if refused != refusals || len(replies) != accepted+refused+late {
		rt.Fatalf("%d messages: %d accepted, %d recorded as refused, %d told so, %d too late", len(replies), accepted, refusals, refused, late)
	}
}
