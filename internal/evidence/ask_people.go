package evidence

import (
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
	for _, r := range approvals {
		a.rests(r.Ref)
		s := r.Body.Statement
		out.Missing, out.Excluded = r.Body.Missing, r.Body.Excluded
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
		})
	}
	return out, a.refusals(p, out)
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
	return "signed by " + e.Signatures[0].KeyID + ", verified with the key pinned in the plan"
}
