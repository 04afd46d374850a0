package evidence

import (
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// Describe says in a line what a record tells.
func Describe(r Record) string {
	if r.Header.Environment == journal.Environment && r.Ref.Kind != signals.RecordManifest {
		return describeJournal(r)
	}
	switch r.Ref.Kind {
	case signals.RecordRequest:
		return describe(r, func(p signals.RequestPredicate) string {
			return fmt.Sprintf("asked by %s", requester(p.Requester))
		})
	case signals.RecordPlan:
		return describe(r, func(p signals.PlanPredicate) string { return "plan " + short(p.PlanDigest) })
	case signals.RecordVerification:
		return describe(r, func(p signals.VerificationPredicate) string {
			if n := len(p.Verification.Refusals); n > 0 {
				return strings.Join(p.Verification.Refusals, "; ")
			}
			return fmt.Sprintf("%d signature(s), %d test result(s), nothing refused", len(p.Verification.Signatures), len(p.Verification.Tests))
		})
	case signals.RecordDecision:
		return describe(r, func(p signals.DecisionPredicate) string {
			return fmt.Sprintf("allowed: %t, by policy %s", p.Result.Allow, short(p.Policy))
		})
	case signals.RecordPermit:
		return describe(r, func(p signals.VSAPredicate) string { return p.VerificationResult + " for " + p.ResourceURI })
	case signals.RecordApproval:
		return describe(r, func(p signals.ApprovalPredicate) string {
			return fmt.Sprintf("%s by %s: %s", p.Statement.Decision, p.Statement.Approver.Display(), p.Statement.Reason)
		})
	case signals.RecordCommand:
		return describe(r, func(p signals.CommandPredicate) string {
			text := fmt.Sprintf("%s by %s: %s", p.Statement.Command, p.Statement.Operator.Display(), p.Statement.Reason)
			switch {
			case p.ApprovedBy != "":
				text += ", approved by " + p.ApprovedBy
			case p.State != "":
				text += ", " + p.State
			}
			return text
		})
	case signals.RecordVoid:
		return describe(r, func(p signals.VoidPredicate) string {
			return fmt.Sprintf("%d approval(s) void: %s", len(p.Nonces), strings.Join(changes(p), "; "))
		})
	case signals.RecordBreakGlass:
		return describe(r, func(p signals.BreakGlassPredicate) string {
			return fmt.Sprintf("emergency by %s, review within %s: %s", requester(p.Requester), p.Terms.ReviewWithin, p.Terms.Reason)
		})
	case signals.RecordRefusal:
		return describe(r, func(p signals.RefusalPredicate) string { return p.What + ": " + strings.Join(p.Reasons, "; ") })
	case signals.RecordLane:
		return describe(r, func(p signals.LanePredicate) string {
			return fmt.Sprintf("lane granted; it runs %s", short(p.Observed.Digest))
		})
	}
	return describeDelivery(r)
}

// describeJournal tells of what belongs to no release.
func describeJournal(r Record) string {
	if r.Ref.Kind == signals.RecordCommand {
		return describe(r, func(p signals.LaneCommandPredicate) string { return laneCommand(p.Statement) })
	}
	return describe(r, func(p signals.JournalRefusalPredicate) string { return gatewayRefusal(p.Statement) })
}

func laneCommand(s signals.LaneCommandStatement) string {
	text := fmt.Sprintf("%s of %s by %s", s.Command, s.Release, s.Operator.Display())
	if !s.Until.IsZero() {
		text += " until " + stamp(s.Until)
	}
	if s.Reviewed != "" {
		text += " for " + s.Reviewed
	}
	return text + ": " + s.Reason
}

func gatewayRefusal(s signals.RefusalStatement) string {
	who := "nobody that could be proven"
	switch {
	case s.Subject != nil:
		who = s.Subject.Display() + " (proven)"
	case s.Claimed != "":
		who = s.Claimed + " (claimed, not proven)"
	}
	text := fmt.Sprintf("%s through %s by %s", s.What, s.Channel, who)
	if s.About != "" {
		text += " about " + s.About
	}
	if s.Count > 1 {
		text += fmt.Sprintf(", %d times", s.Count)
	}
	return text + ": " + strings.Join(s.Reasons, "; ")
}

// changes says in words what approvals lost.
func changes(p signals.VoidPredicate) []string {
	var list []string
	for _, c := range p.Changes {
		list = append(list, c.What+": "+c.Reason)
	}
	return list
}

func describeDelivery(r Record) string {
	switch r.Ref.Kind {
	case signals.RecordDeployment:
		return describe(r, func(p signals.DeploymentPredicate) string {
			if p.Weights == nil {
				return fmt.Sprintf("%s: %s", p.Step, p.Stage)
			}
			return fmt.Sprintf("%s: %s, canary at %d%%", p.Step, p.Stage, p.Weights.Canary)
		})
	case signals.RecordAnalysis:
		return describe(r, func(p signals.AnalysisPredicate) string {
			return fmt.Sprintf("%s at %d%%: %s, %s", p.Result.Phase, p.Result.Weight, p.Result.Verdict, p.Result.Reason)
		})
	case signals.RecordRollback:
		return describe(r, func(p signals.RollbackPredicate) string {
			return fmt.Sprintf("back to %s in %s: %s", short(p.Report.To), p.Report.Duration, p.Report.Cause)
		})
	case signals.RecordManifest:
		return describe(r, func(p signals.ManifestPredicate) string {
			return fmt.Sprintf("%s, %d records before it", p.Outcome.Kind, p.Count)
		})
	}
	return ""
}

func describe[T any](r Record, say func(T) string) string {
	var body T
	if err := r.Statement.Into(&body); err != nil {
		return err.Error()
	}
	return say(body)
}
