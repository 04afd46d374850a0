package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// Directory knows people as they are now. That there is nobody, or more than one,
// by a subject is an error with a method Unknown that returns true; all others
// may pass.
type Directory interface {
	BySubject(ctx context.Context, subject signals.Subject) (signals.Person, error)
}

// recheckEvery is how long a standing that holds is taken for granted where the
// plan doesn't say.
const recheckEvery = time.Minute

// What a signals.StandingChange is about.
const (
	changedPolicy   = "policy"
	changedPlan     = "plan"
	changedArtifact = "artifact"
	changedApprover = "approver"
)

// Recheck says whether what was verified and approved still stands: the run is
// the one that was approved (else ErrReset), the plan is the one that its digest
// names, the policies are the plan's, the artifact's papers still verify, and
// those who approved it are still who they were (else ErrRefused). Any other
// error is technical and worth a retry.
func (a *Release) Recheck(ctx context.Context, in signals.RecheckInput) error {
	if reason := otherRun(ctx, in.Plan); reason != "" {
		return temporal.NewNonRetryableApplicationError(reason, signals.ErrReset, nil)
	}
	found, err := a.standing(ctx, in)
	if len(found) > 0 {
		return refused("%s", reasons(found))
	}
	return err
}

// WatchStanding looks whether what approvals rest on still stands, and returns
// what doesn't. While all of it does, the error is a retryable ErrStands that
// asks for the next look after the plan's Limits.Recheck, so that a wait of days
// leaves no history. A part that can't be looked at now counts as no change: the
// error is then technical and worth a retry.
func (a *Release) WatchStanding(ctx context.Context, in signals.RecheckInput) ([]signals.StandingChange, error) {
	if reason := otherRun(ctx, in.Plan); reason != "" {
		return []signals.StandingChange{{What: changedPlan, Reason: reason}}, nil
	}
	found, err := a.standing(ctx, in)
	moved, tagErr := a.tagMoved(ctx, in.Plan)
	if moved != nil {
		found = append(found, *moved)
	}
	if len(found) > 0 {
		return found, nil
	}
	if err := errors.Join(err, tagErr); err != nil {
		return nil, err
	}
	pause := in.Plan.Limits.Recheck.D()
	if pause <= 0 {
		pause = recheckEvery
	}
	return nil, temporal.NewApplicationErrorWithOptions("nothing has changed that the approvals rest on", signals.ErrStands,
		temporal.ApplicationErrorOptions{NextRetryDelay: pause, Category: temporal.ApplicationErrorCategoryBenign})
}

// standing finds what no longer stands of what a release was approved on. What
// it found is certain even if the error says that the rest could not be seen.
func (a *Release) standing(ctx context.Context, in signals.RecheckInput) ([]signals.StandingChange, error) {
	var found []signals.StandingChange
	changed := func(what, format string, args ...any) {
		found = append(found, signals.StandingChange{What: what, Reason: fmt.Sprintf(format, args...)})
	}
	switch digest, err := in.Plan.Digest(); {
	case err != nil:
		changed(changedPlan, "the plan can't be digested: %v", err)
	case digest != in.PlanDigest:
		changed(changedPlan, "the plan was changed after it was approved: approved %s, found %s", in.PlanDigest, digest)
	}
	if reason := a.otherPolicy(in.Plan); reason != "" {
		changed(changedPolicy, "%s", reason)
	}
	verification, err := a.Verifier.Verify(ctx, signals.VerifyInput{
		Artifact: in.Plan.Artifact, Commit: in.Plan.Request.Commit, Source: in.Plan.Source, Trust: in.Plan.Trust,
	})
	if len(verification.Refusals) > 0 {
		changed(changedArtifact, "%s no longer verifies: %s", in.Plan.Artifact.Reference(), strings.Join(verification.Refusals, "; "))
	}
	people, peopleErr := a.peopleChanged(ctx, in)
	return append(found, people...), errors.Join(err, peopleErr)
}

// peopleChanged finds the approvers whose approval no longer counts. Without a
// directory nothing is known of people, and nothing is held against them.
func (a *Release) peopleChanged(ctx context.Context, in signals.RecheckInput) ([]signals.StandingChange, error) {
	if a.Directory == nil {
		return nil, nil
	}
	var found []signals.StandingChange
	var faults []error
	for _, approver := range in.Approvers {
		reason, err := a.lostStanding(ctx, approver, in)
		if err != nil {
			faults = append(faults, fmt.Errorf("look up approver %s in the directory: %w", approver.Display(), err))
		}
		if reason != "" {
			found = append(found, signals.StandingChange{What: changedApprover, Approver: approver.Key(), Reason: reason})
		}
	}
	return found, errors.Join(faults...)
}

// lostStanding says why an approver's word no longer counts, "" if it does.
func (a *Release) lostStanding(ctx context.Context, approver signals.Subject, in signals.RecheckInput) (string, error) {
	person, err := a.Directory.BySubject(ctx, approver)
	if err != nil {
		var fault interface{ Unknown() bool }
		if errors.As(err, &fault) && fault.Unknown() {
			return fmt.Sprintf("approver %s is no longer in the directory: %v", approver.Display(), err), nil
		}
		return "", err
	}
	if !person.Active {
		return fmt.Sprintf("approver %s was deactivated in the directory", approver.Display()), nil
	}
	for _, place := range slices.Concat(in.Plan.Approval.Groups, in.Needed.Groups) {
		if slices.Contains(approver.Groups, place.Group) && !slices.Contains(person.Groups, place.Group) {
			return fmt.Sprintf("approver %s is no longer in group %s", approver.Display(), place.Group), nil
		}
	}
	return "", nil
}

// tagMoved finds whether the tag that a request named, and no digest with it,
// names another image by now. The release keeps to its digest either way; but its
// approvers read the tag.
func (a *Release) tagMoved(ctx context.Context, plan signals.Plan) (*signals.StandingChange, error) {
	if plan.Artifact.Tag == "" || strings.Contains(plan.Request.Image, "@") {
		return nil, nil //nolint:nilnil // no tag, nothing that could have moved
	}
	now, err := a.Registry.Resolve(ctx, plan.Request.Image)
	var fault interface{ BadRequest() bool }
	switch {
	case errors.As(err, &fault) && fault.BadRequest():
		return &signals.StandingChange{What: changedArtifact, Reason: fmt.Sprintf("%s names nothing any more: %v", plan.Request.Image, err)}, nil
	case err != nil:
		return nil, fmt.Errorf("look whether %s still names %s: %w", plan.Request.Image, plan.Artifact.Digest, err)
	case now.Digest != plan.Artifact.Digest:
		return &signals.StandingChange{What: changedArtifact, Reason: fmt.Sprintf("tag %s was moved: it named %s, now it names %s; start a new release",
			plan.Artifact.Tag, plan.Artifact.Digest, now.Digest)}, nil
	}
	return nil, nil //nolint:nilnil // it stands
}

// otherRun says that the activity belongs to another run than the plan, "" if it
// doesn't.
func otherRun(ctx context.Context, plan signals.Plan) string {
	run := activity.GetInfo(ctx).WorkflowExecution.RunID
	if run == plan.Run {
		return ""
	}
	return fmt.Sprintf("this is run %s, but the plan and its approvals belong to run %s: the workflow was reset; start a new release", run, plan.Run)
}

// otherPolicy says that other policies than the plan's are in force, "" if they
// are the same.
func (a *Release) otherPolicy(plan signals.Plan) string {
	now := a.Policy.Digest()
	if now == plan.Policy {
		return ""
	}
	return fmt.Sprintf("the policies changed since the plan was made: it was made under %s, in force are %s; start a new release", plan.Policy, now)
}

func reasons(found []signals.StandingChange) string {
	texts := make([]string, len(found))
	for i, change := range found {
		texts[i] = change.Reason
	}
	return strings.Join(texts, "; ")
}
