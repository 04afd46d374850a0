package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

// Catalog looks up how a service is released to an environment. An error that
// the requester alone can mend has a method BadRequest that returns true.
type Catalog interface {
	Entry(service, environment string) (catalog.Entry, error)
}

// Registry finds what an image reference names now. An error that the requester
// alone can mend has a method BadRequest that returns true; all others may pass.
type Registry interface {
	Resolve(ctx context.Context, image string) (signals.Artifact, error)
}

// Verifier checks an artifact's papers. Refusals are in the result; an error
// means that it could not be found out, and may pass.
type Verifier interface {
	Verify(ctx context.Context, in signals.VerifyInput) (signals.Verification, error)
}

// Policy judges plans by one bundle of policies, whose digest it tells.
type Policy interface {
	Decide(ctx context.Context, in signals.PolicyInput) (signals.PolicyOutput, error)
	Digest() string
	// Authors changed the policies, as far as that was written down.
	Authors() []signals.Contributor
}

// lowestTierByDigest is the tier from which on a request must name the image by
// digest, so that what was asked for is what ships, to the bit.
const lowestTierByDigest = 2

// Release resolves requests, verifies artifacts and asks the policy. It changes
// nothing anywhere. Trust holds the gateway's and the evidence keys, which are
// pinned into every plan. Directory is nil where people's standing isn't looked up.
type Release struct {
	Catalog  Catalog
	Registry Registry
	Verifier Verifier
	Policy   Policy
	Trust    signals.Trust

	Directory Directory
}

// ResolvePlan pins everything that a request leads to. It is a function of its
// input, the catalog, the policies and the registry: asked again it gives the
// same plan while those stay the same. A request that can't be resolved is
// ErrBadRequest, whose text says what to write instead.
func (a *Release) ResolvePlan(ctx context.Context, in signals.ResolveInput) (signals.Plan, error) {
	request := in.Request
	entry, err := a.Catalog.Entry(request.Service, request.Environment)
	if err != nil {
		return signals.Plan{}, mendable(err)
	}
	// Nothing is asked of a registry that the catalog doesn't name.
	if repository := repositoryOf(request.Image); !slices.Contains(entry.Images, repository) {
		return signals.Plan{}, badRequest(fmt.Errorf("image %q: %s is released from %s only, not from %s",
			request.Image, entry.Service, strings.Join(entry.Images, ", "), repository))
	}
	artifact, err := a.Registry.Resolve(ctx, request.Image)
	if err != nil {
		return signals.Plan{}, mendable(err)
	}
	if entry.Tier >= lowestTierByDigest && !strings.Contains(request.Image, "@") {
		return signals.Plan{}, badRequest(fmt.Errorf("image %q: %s is of tier %d, which takes an image by digest only, since a tag can be moved; it names %s today, so write %q",
			request.Image, entry.Environment, entry.Tier, artifact.Digest, artifact.Reference()))
	}
	request.Envelope = nil
	trust := entry.Trust
	trust.Gateway, trust.Evidence = a.Trust.Gateway, a.Trust.Evidence
	plan := signals.Plan{
		Schema: signals.PlanSchema, Release: in.Release, Run: in.Run, Request: request,
		Service: entry.Service, Environment: entry.Environment, Tier: entry.Tier, Owner: entry.Owner, Runbook: entry.Runbook,
		Artifact: artifact, Source: entry.Source, Target: entry.Target,
		Baseline: entry.Baseline, Steps: entry.Steps, Bake: entry.Bake, Checks: entry.Checks,
		Approval: entry.Approval, Limits: entry.Limits, Trust: trust,
		Catalog: entry.Catalog, Policy: a.Policy.Digest(), ResolvedAt: in.Now,
		Roles: entry.Roles, Notify: entry.Notify, ConfigAuthors: catalog.MergeContributors(entry.ConfigAuthors, a.Policy.Authors()),
	}
	if request.BreakGlass == "" {
		return plan, nil
	}
	return breakGlass(plan, entry.BreakGlass)
}

// breakGlass turns the plan into that of an emergency, where the catalog has one.
func breakGlass(plan signals.Plan, terms *catalog.BreakGlass) (signals.Plan, error) {
	if terms == nil {
		return signals.Plan{}, badRequest(fmt.Errorf("breakGlass: the catalog has no emergency path for %s in %s; release it the ordinary way, or have its owner (%s) write breakGlass into the catalog entry",
			plan.Service, plan.Environment, plan.Owner))
	}
	plan.Baseline, plan.Steps, plan.Bake = terms.Baseline, terms.Steps, terms.Bake
	plan.Approval, plan.Limits.Approval = terms.Approval, terms.Limits.Approval
	plan.BreakGlass = &signals.BreakGlassTerms{Reason: plan.Request.BreakGlass, ReviewWithin: terms.ReviewWithin}
	return plan, nil
}

// VerifyArtifact checks signature, provenance, test results, source attestations
// and scans by the keys that in.Trust pins. What does not hold is in the result's Refusals; an error is
// technical and worth a retry.
func (a *Release) VerifyArtifact(ctx context.Context, in signals.VerifyInput) (signals.Verification, error) {
	return a.Verifier.Verify(ctx, in)
}

// DecidePolicy asks the policy. A bundle other than the plan's is not asked:
// that is ErrRefused, and a new release pins the new one.
func (a *Release) DecidePolicy(ctx context.Context, in signals.PolicyInput) (signals.PolicyOutput, error) {
	if reason := a.otherPolicy(in.Plan); reason != "" {
		return signals.PolicyOutput{}, refused("%s", reason)
	}
	return a.Policy.Decide(ctx, in)
}

// repositoryOf is the reference without tag and digest.
func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		image = image[:colon]
	}
	return image
}

// mendable turns an error that the requester can mend into ErrBadRequest and
// leaves all others to be retried.
func mendable(err error) error {
	var fault interface{ BadRequest() bool }
	if errors.As(err, &fault) && fault.BadRequest() {
		return badRequest(err)
	}
	return err
}

func badRequest(err error) error {
	return temporal.NewNonRetryableApplicationError(err.Error(), signals.ErrBadRequest, nil)
}

func refused(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), signals.ErrRefused, nil)
}
