package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// say tells one event to those who follow the release. Its name is the event's
// own, so that it is told once.
func (r *release) say(reply signals.Reply) {
	if !r.people {
		return
	}
	reply.At = workflow.Now(r.root).UTC()
	r.tell(reply)
}

// tellVerdict tells what a window came to.
func (r *release) tellVerdict(result signals.WindowResult) {
	r.say(signals.Reply{
		Event: fmt.Sprintf("verdict/%s-%d-%d", result.Phase, result.Weight, len(r.windows)),
		Text:  fmt.Sprintf("%s, %s: %s – %s", result.Phase, r.watched.name(), result.Verdict, result.Reason),
		Chart: r.chart(result),
	})
}

// tellOnHold calls for a person, once for each window that can't be judged.
func (r *release) tellOnHold(result signals.WindowResult) {
	if r.watched.onHold {
		return
	}
	r.watched.onHold = true
	r.say(signals.Reply{
		Event: fmt.Sprintf("hold/%s-%d-%d", result.Phase, result.Weight, len(r.windows)), Loud: true, Escalate: true,
		Text: fmt.Sprintf("On hold in %s, %s: it can't be judged – %s. It is watched on until it can be; skip or abort it otherwise.",
			result.Phase, r.watched.name(), result.Reason),
	})
}

func (r *release) tellOutcome(o *signals.Outcome) {
	text := fmt.Sprintf("%s to %s: %s.", o.Service, o.Environment, o.Kind)
	if len(o.Reasons) > 0 {
		text = fmt.Sprintf("%s to %s: %s – %s", o.Service, o.Environment, o.Kind, joinReasons(o.Reasons))
	}
	r.say(signals.Reply{Event: "outcome", Loud: o.Kind != signals.Promoted, Text: text})
}

// chart is what a window's verdict rests on, as a picture.
func (r *release) chart(result signals.WindowResult) *signals.Chart { return chartOf(r.plan, result) }
