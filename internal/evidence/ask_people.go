package evidence

import (
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// Approved answers who decided, and why.
type Approved struct {
	Needed    signals.Quorum `json:"needed"`
	Decisions []DecidedBy    `json:"decisions"`
	// Missing is what the quorum still lacked after the last decision.
	Missing signals.Quorum `json:"missing"`
	// Excluded is whom separation of duties kept out.
	Excluded []string    `json:"excluded,omitempty"`
	Commands []DecidedBy `json:"commands,omitempty"`
	Refused  []Refused   `json:"refused,omitempty"`
	// Void is what approvals lost while the release waited.
	Void []Voided `json:"void,omitempty"`
	// BreakGlass is set if the release was an emergency.
	BreakGlass *signals.BreakGlassTerms `json:"breakGlass,omitempty"`
}

// Voided is one loss of what approvals rested on, with the records of those
// that no longer count.
type Voided struct {
	Record    int      `json:"record"`
	Approvals []int    `json:"approvals"`
	Reasons   []string `json:"reasons"`
}

// DecidedBy is a person's signed decision or command.
type DecidedBy struct {
	Record   int                    `json:"record"`
	Decision string                 `json:"decision"`
	By       signals.Subject        `json:"by"`
	Place    string                 `json:"place,omitempty"`
	Reason   string                 `json:"reason"`
	At       time.Time              `json:"at"`
	Authn    signals.Authentication `json:"authn"`
	// Proof says whether the gateway's own signature over the decision verifies
	// with the key that the plan pinned, and over the same words.
	Proof string `json:"proof"`
	// State is "pending" for a command that waits for somebody's approval, and
	// ApprovedBy who gave it.
	State      string `json:"state,omitempty"`
	ApprovedBy string `json:"approvedBy,omitempty"`
}

// Refused is something that Waybill said no to.
type Refused struct {
	Record  int           `json:"record"`
	Phase   signals.Phase `json:"phase"`
	What    string        `json:"what"`
	Reasons []string      `json:"reasons"`
}

func (a *Answer) approved(p Papers) (Texter, error) {
	out := &Approved{Decisions: []DecidedBy{}}
	if p.Report.Lane == journal {
		return out, a.journalled(p, out)
	}
	plan, _, err := a.plan(p)
	if err != nil {
		return nil, err
	}
	var keys []signals.PublicKey
	if plan != nil {
		keys, out.Needed = plan.Trust.Gateway, plan.Approval
	}
	decision, err := first[signals.DecisionPredicate](p, signals.RecordDecision)
	if err != nil {
		return nil, err
	}
	if decision != nil {
		a.rests(decision.Ref)
		out.Needed = decision.Body.Result.Approvals
		out.Missing = out.Needed
	}
	approvals, err := all[signals.ApprovalPredicate](p, signals.RecordApproval)
	if err != nil {
		return nil, err
	}
	last := 0 // the record that says what is missing
	for _, r := range approvals {
		a.rests(r.Ref)
		s := r.Body.Statement
		out.Missing, out.Excluded, last = r.Body.Missing, r.Body.Excluded, r.Ref.Sequence
		out.Decisions = append(out.Decisions, DecidedBy{
			Record: r.Ref.Sequence, Decision: string(s.Decision), By: s.Approver, Place: r.Body.Place, Reason: s.Reason, At: s.IssuedAt, Authn: s.Authn,
			Proof: proof(r.Body.Envelope, signals.ApprovalPayload, keys, s.IssuedAt, func(t signals.ApprovalStatement) bool {
				return t.Binding == s.Binding && t.Decision == s.Decision && t.Reason == s.Reason && t.Approver.Key() == s.Approver.Key()
			}),
		})
	}
	commands, err := all[signals.CommandPredicate](p, signals.RecordCommand)
	if err != nil {
		return nil, err
	}
	for _, r := range commands {
		a.rests(r.Ref)
		s := r.Body.Statement
		out.Commands = append(out.Commands, DecidedBy{
			Record: r.Ref.Sequence, Decision: string(s.Command), By: s.Operator, Reason: s.Reason, At: s.IssuedAt, Authn: s.Authn,
			Proof: proof(r.Body.Envelope, signals.CommandPayload, keys, s.IssuedAt, func(t signals.CommandStatement) bool {
				return t.Binding == s.Binding && t.Command == s.Command && t.Reason == s.Reason && t.Operator.Key() == s.Operator.Key()
			}),
			State: r.Body.State, ApprovedBy: r.Body.ApprovedBy,
		})
	}
	if err := a.void(p, out, approvals, last); err != nil {
		return nil, err
	}
	broken, err := first[signals.BreakGlassPredicate](p, signals.RecordBreakGlass)
	if err != nil {
		return nil, err
	}
	if broken != nil {
		a.rests(broken.Ref)
		out.BreakGlass = &broken.Body.Terms
	}
	return out, a.refusals(p, out)
}

// void tells which approvals lost what they rested on, and what is missing since;
// last is the record that said so before.
func (a *Answer) void(p Papers, out *Approved, approvals []read[signals.ApprovalPredicate], last int) error {
	losses, err := all[signals.VoidPredicate](p, signals.RecordVoid)
	for _, r := range losses {
		a.rests(r.Ref)
		v := Voided{Record: r.Ref.Sequence, Approvals: []int{}, Reasons: changes(r.Body)}
		for _, given := range approvals {
			if slices.Contains(r.Body.Nonces, given.Body.Statement.Nonce) {
				v.Approvals = append(v.Approvals, given.Ref.Sequence)
			}
		}
		out.Void = append(out.Void, v)
		if r.Ref.Sequence > last {
			out.Missing, last = r.Body.Missing, r.Ref.Sequence
		}
	}
	return err
}

// journalled tells what the journal kept: commands to lanes, and what the gateway
// refused. It pins no key of the gateway; the notary took the entries by those
// that it knew.
func (a *Answer) journalled(p Papers, out *Approved) error {
	commands, err := all[signals.LaneCommandPredicate](p, signals.RecordCommand)
	if err != nil {
		return err
	}
	for _, r := range commands {
		a.rests(r.Ref)
		s := r.Body.Statement
		out.Commands = append(out.Commands, DecidedBy{
			Record: r.Ref.Sequence, Decision: string(s.Command) + " " + s.Release, By: s.Operator, Reason: s.Reason, At: s.IssuedAt, Authn: s.Authn,
			Proof: "signed by " + signers(r.Body.Envelope) + "; hold it against the gateway's public key",
		})
	}
	refusals, err := all[signals.JournalRefusalPredicate](p, signals.RecordRefusal)
	for _, r := range refusals {
		a.rests(r.Ref)
		out.Refused = append(out.Refused, Refused{Record: r.Ref.Sequence, What: r.Body.Statement.What, Reasons: []string{gatewayRefusal(r.Body.Statement)}})
	}
	return err
}

func signers(e signals.Envelope) string {
	var ids []string
	for _, s := range e.Signatures {
		ids = append(ids, s.KeyID)
	}
	return strings.Join(ids, ", ")
}

func (a *Answer) refusals(p Papers, out *Approved) error {
	refusals, err := all[signals.RefusalPredicate](p, signals.RecordRefusal)
	for _, r := range refusals {
		a.rests(r.Ref)
		out.Refused = append(out.Refused, Refused{r.Ref.Sequence, r.Body.Phase, r.Body.What, r.Body.Reasons})
	}
	return err
}

// proof judges the gateway's envelope inside a record.
func proof[T any](e signals.Envelope, payloadType string, keys []signals.PublicKey, at time.Time, same func(T) bool) string {
	var inside T
	if err := e.OpenInto(payloadType, keys, at, &inside); err != nil {
		return "NOT PROVEN: " + err.Error()
	}
	if !same(inside) {
		return "NOT PROVEN: the gateway signed other words than the record shows"
	}
	return "signed by " + signers(e) + ", verified with the key pinned in the plan"
}
