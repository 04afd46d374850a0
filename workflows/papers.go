package workflows

import (
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// papers is the release's evidence in the making. Records are written one after
// another by one coroutine that no cancellation reaches, so that the sequence
// stays gap-free and each record can name the one before it. Whoever goes
// forward waits for its record; whoever goes back does not.
type papers struct {
	environment, service string
	release, run         string
	subjects             []signals.RecordSubject
	queue                []*entry
	refs                 []signals.RecordRef
	writing              *entry
	broken               error
	// changed is called when a record has become durable, or can't.
	changed func()
}

// entry is one record on its way into the bucket.
type entry struct {
	kind      signals.RecordKind
	sequence  int
	predicate json.RawMessage
	header    signals.RecordHeader
	subjects  []signals.RecordSubject
	done      bool
	out       signals.RecordOutput
}

// add puts a record into the queue. The predicate is encoded at once, so that
// what is recorded is what was true now.
func (p *papers) add(ctx workflow.Context, kind signals.RecordKind, predicate any) *entry {
	body, err := json.Marshal(predicate)
	if err != nil {
		// Predicates are plain structs; failing to encode one is a defect and
		// stops the workflow task, to be mended by a corrected worker.
		panic(fmt.Sprintf("encode %s record: %v", kind, err))
	}
	e := &entry{kind: kind, predicate: body, subjects: p.subjects, sequence: len(p.refs) + len(p.queue) + 1}
	if p.writing != nil {
		e.sequence++
	}
	e.header = signals.RecordHeader{
		Environment: p.environment, Service: p.service, Release: p.release, Run: p.run,
		Sequence: e.sequence, At: workflow.Now(ctx).UTC(),
	}
	p.queue = append(p.queue, e)
	return e
}

// pending is the number of records that are not yet durable.
func (p *papers) pending() int {
	if p.writing != nil {
		return len(p.queue) + 1
	}
	return len(p.queue)
}

// record adds a record and waits until it is durable.
func (p *papers) record(ctx workflow.Context, kind signals.RecordKind, predicate any) (signals.RecordOutput, error) {
	e := p.add(ctx, kind, predicate)
	err := workflow.Await(ctx, func() bool { return e.done || p.broken != nil })
	if err == nil && !e.done {
		err = p.broken
	}
	return e.out, err
}

// drain waits until all that was sent is answered for, unread being what was
// not, and all that was added is durable.
func (p *papers) drain(ctx workflow.Context, unread func() int) error {
	if err := workflow.Await(ctx, func() bool {
		return p.broken != nil || p.pending() == 0 && unread() == 0
	}); err != nil {
		return err
	}
	if p.broken != nil {
		return temporal.NewNonRetryableApplicationError(
			"the papers can't be closed, somebody must look at the bucket: "+explain(p.broken), signals.ErrConflict, p.broken)
	}
	return nil
}

// seal writes the manifest of all that was recorded, after the lane's previous
// one, and puts it into the outcome. The manifest's own copy of the outcome goes
// without the template of the last known good, which is large.
func (p *papers) seal(ctx workflow.Context, outcome *signals.Outcome, previous *signals.RecordRef, refused int) error {
	records := append([]signals.RecordRef{}, p.refs...) // an empty list if there are none
	brief := *outcome
	if outcome.LKG != nil {
		lkg := outcome.LKG.Brief()
		brief.LKG = &lkg
	}
	out, err := p.record(ctx, signals.RecordManifest, signals.ManifestPredicate{
		Outcome: brief, Count: len(records), Records: records, Previous: previous, Refused: refused,
	})
	if err != nil {
		return err
	}
	outcome.Manifest = &out.Ref
	return nil
}

// write is the coroutine that empties the queue. A record is retried until the
// notary has it, so the loop ends only with the workflow.
func (p *papers) write(ctx workflow.Context) {
	for {
		if err := workflow.Await(ctx, func() bool { return len(p.queue) > 0 }); err != nil {
			return
		}
		e := p.queue[0]
		p.queue, p.writing = p.queue[1:], e
		if n := len(p.refs); n > 0 {
			e.header.Previous = p.refs[n-1].Digest
		}
		in := signals.RecordInput{Header: e.header, Kind: e.kind, Subjects: e.subjects, Predicate: e.predicate}
		out, err := call[signals.RecordOutput](ctx, recording(fmt.Sprintf("record %d: %s", e.sequence, e.kind)), notary.WriteRecord, in)
		if err != nil {
			// The notary refused for good: the bucket holds something else under
			// this sequence. Nothing may be written after a gap, so the queue
			// stands still: forward steps end, undos go on, the release fails.
			p.broken = fmt.Errorf("record %d (%s) of release %s: %w", e.sequence, e.kind, p.release, err)
			p.changed()
			return
		}
		e.out, e.done = out, true
		p.refs, p.writing = append(p.refs, out.Ref), nil
		p.changed()
	}
}
