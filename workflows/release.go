package workflows

import (
	"errors"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// Release takes one signed image to one environment of one service and leaves
// behind the papers that prove it. Its input is the JSON of a signals.Request;
// it is decoded here, strictly, so that a malformed request ends as a rejected
// release with a reason and not as a task that is retried for ever.
//
// Every business end is a completed workflow with a signals.Outcome. An error
// is returned only if an undo could not be done: the environment then needs a
// person.
func Release(ctx workflow.Context, input converter.RawValue) (signals.Outcome, error) {
	r, err := newRelease(ctx, input.Payload().GetData())
	if err != nil {
		return signals.Outcome{}, err
	}
	end := r.ending(r.forward())
	if end.undo {
		r.rollBack(end)
	}
	outcome, err := r.settle(end)
	r.handOver(err)
	return outcome, err
}

// forward is the release itself. It returns nil when the new digest has been
// promoted and has proven itself; any other way out is an error that ending
// turns into an outcome.
func (r *release) forward() error {
	steps := []func(workflow.Context) error{
		r.intake,   // read the request, resolve it to a plan
		r.verify,   // signature, provenance, tests
		r.decide,   // policy
		r.approve,  // people
		r.acquire,  // the lane, and a permit
		r.baseline, // is the environment fit to release into?
		r.ramp,     // canary, then its ramp
		r.promote,  // stable takes the digest
		r.bake,     // watched on
	}
	for _, step := range steps {
		if !r.changed() { // later the steps hold where they are watched
			if err := r.hold(r.fwd); err != nil {
				return err
			}
		}
		if err := step(r.fwd); err != nil {
			return err
		}
	}
	return nil
}

// ending is how the forward part ended: an outcome in the making.
type ending struct {
	kind    signals.OutcomeKind
	reasons []string
	by      string
	trigger string // check, operator, cancel, error
	undo    bool
}

// stop is a business end on the way: it is an error so that it passes through
// the steps, and never a defect.
type stop struct {
	kind    signals.OutcomeKind
	reasons []string
	by      string
	trigger string
}

// who names whoever decided the end, or else the reason.
func (s *stop) who() string {
	if s.by != "" {
		return s.by
	}
	return joinReasons(s.reasons)
}

func (s *stop) Error() string { return string(s.kind) + ": " + joinReasons(s.reasons) }

func stopped(kind signals.OutcomeKind, trigger string, reasons ...string) *stop {
	return &stop{kind: kind, trigger: trigger, reasons: reasons}
}

// ending decides the outcome from how forward ended. What was asked by a person
// comes first, because it may show as any error of the step that it cut short.
// After the first change to the environment everything but success is undone.
func (r *release) ending(err error) ending {
	r.endStanding()
	r.endedIn = r.phase
	if err == nil {
		return ending{kind: signals.Promoted}
	}
	end := ending{undo: r.changed()}
	var s *stop
	var app *temporal.ApplicationError
	switch {
	case r.halted != nil:
		end.kind, end.reasons, end.by, end.trigger = r.halted.kind, r.halted.reasons, r.halted.by, r.halted.trigger
	case temporal.IsCanceledError(err):
		end.kind, end.trigger = signals.Aborted, "cancel"
		end.reasons = []string{"the workflow was cancelled through Temporal"}
	case errors.As(err, &s):
		end.kind, end.reasons, end.by, end.trigger = s.kind, s.reasons, s.by, s.trigger
	case errors.As(err, &app) && (app.Type() == signals.ErrBadRequest || app.Type() == signals.ErrRefused):
		end.kind, end.reasons, end.trigger = signals.Rejected, []string{app.Message()}, "error"
	default:
		end.kind, end.reasons, end.trigger = signals.Aborted, []string{explain(err)}, "error"
	}
	if end.undo && end.kind != signals.Aborted || end.undo && end.trigger == "error" {
		end.kind = signals.RolledBack
	}
	return end
}
