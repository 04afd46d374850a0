package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/signals"
)

// CloseAbandoned closes the papers of a release that ended without doing so. If
// they are closed already it returns their manifest; else it writes one that
// lists what is there, with the outcome terminated. Papers that another run of
// the same id left are an ErrConflict: they are not this run's to close.
func (n *Notary) CloseAbandoned(ctx context.Context, in signals.CloseInput) (signals.RecordRef, error) {
	defer n.turn(in.Release)()
	held, err := n.held(ctx, evidence.ReleasePrefix(in.Environment, in.Service, in.Release))
	if err != nil {
		return signals.RecordRef{}, err
	}
	held = slices.DeleteFunc(held, func(r signals.RecordRef) bool { return r.Sequence == 0 })
	closing := closing{n, in, held, signals.Outcome{
		Kind: signals.Terminated, Release: in.Release, Run: in.Run, Service: in.Service, Environment: in.Environment,
		Reasons:   []string{fmt.Sprintf("the workflow ended as %s without closing its papers", in.State)},
		StartedAt: in.At, EndedAt: in.At,
	}, nil}
	for _, ref := range held {
		if err := closing.read(ctx, ref); err != nil {
			return signals.RecordRef{}, err
		}
		if ref.Kind == signals.RecordManifest {
			return ref, nil
		}
	}
	record, err := closing.manifest()
	if err != nil {
		return signals.RecordRef{}, err
	}
	out, err := n.write(ctx, record)
	return out.Ref, err
}

// closing gathers what the manifest of an abandoned release says.
type closing struct {
	*Notary
	in       signals.CloseInput
	held     []signals.RecordRef
	outcome  signals.Outcome
	subjects []signals.RecordSubject
}

// read takes from one record what the outcome can tell. A record that does not
// verify is listed all the same, and believed nothing of.
func (c *closing) read(ctx context.Context, ref signals.RecordRef) error {
	switch ref.Kind {
	case signals.RecordRequest, signals.RecordPlan, signals.RecordManifest:
	default:
		return nil
	}
	body, err := c.store.Get(ctx, ref.Key, ref.Version)
	if err != nil {
		return err
	}
	envelope, payload, err := evidence.Unseal(body)
	if err != nil {
		return nil //nolint:nilerr // verification reports it; closing must not fail for it
	}
	statement, header, err := evidence.ParseStatement(payload)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	if _, err := c.own.Verify(envelope, payload, header.At); err != nil {
		if ref.Kind == signals.RecordManifest {
			return conflict("release %s has a manifest that this notary did not sign: %s", c.in.Release, ref.Key)
		}
		return nil
	}
	if header.Run != c.in.Run {
		return conflict("the papers of release id %s belong to run %s, not to %s", c.in.Release, header.Run, c.in.Run)
	}
	return c.learn(ref.Kind, statement, header)
}

func (c *closing) learn(kind signals.RecordKind, statement evidence.Statement, header signals.RecordHeader) error {
	if header.At.Before(c.outcome.StartedAt) {
		c.outcome.StartedAt = header.At
	}
	c.subjects = nil
	for _, s := range statement.Subject {
		c.subjects = append(c.subjects, signals.RecordSubject{Name: s.Name, Digest: "sha256:" + s.Digest["sha256"]})
	}
	if kind != signals.RecordPlan {
		return nil
	}
	var p signals.PlanPredicate
	var plan signals.Plan
	if err := statement.Into(&p); err != nil {
		return err
	}
	if err := json.Unmarshal(p.Plan, &plan); err != nil {
		return fmt.Errorf("plan of release %s: %w", c.in.Release, err)
	}
	c.outcome.PlanDigest, c.outcome.Tier, c.outcome.Artifact = p.PlanDigest, plan.Tier, plan.Artifact
	return nil
}

// manifest is the record that closes the papers after all that is there.
func (c *closing) manifest() (signals.RecordInput, error) {
	in := signals.RecordInput{
		Header: signals.RecordHeader{
			Environment: c.in.Environment, Service: c.in.Service, Release: c.in.Release, Run: c.in.Run, Sequence: 1, At: c.in.At,
		},
		Kind:     signals.RecordManifest,
		Subjects: c.subjects,
	}
	if n := len(c.held); n > 0 {
		in.Header.Sequence, in.Header.Previous = c.held[n-1].Sequence+1, c.held[n-1].Digest
	}
	if len(in.Subjects) == 0 {
		prefix := evidence.ReleasePrefix(c.in.Environment, c.in.Service, c.in.Release)
		in.Subjects = []signals.RecordSubject{{Name: "papers at " + prefix, Digest: signals.Digest([]byte(prefix))}}
	}
	records := c.held
	if records == nil {
		records = []signals.RecordRef{}
	}
	var err error
	in.Predicate, err = json.Marshal(signals.ManifestPredicate{
		Outcome: c.outcome, Count: len(records), Records: records, Previous: c.in.Previous,
	})
	return in, err
}
