package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// nonceMemory is how many of the commands taken last are kept, so that none is
// taken twice. An envelope expires long before so many others were given.
const nonceMemory = 200

// validateLaneMessage refuses without a trace in history what carries no
// signature at all: nobody could learn anything from it.
func validateLaneMessage(m signals.Message) error {
	if len(m.Envelope.Signatures) == 0 {
		return refused(signals.ErrUntrusted, "the command carries no signature; it must come through the gateway")
	}
	return nil
}

// command takes an operator's signed command to the lane. A command is in the
// hands of the journal before it takes effect.
func (l *lane) command(ctx workflow.Context, m signals.Message) (signals.Receipt, error) {
	if err := l.judging.Lock(ctx); err != nil {
		return signals.Receipt{}, err
	}
	defer l.judging.Unlock()
	in := signals.LaneMessage{LaneName: signals.LaneName{Environment: l.state.Environment, Service: l.state.Service}, Message: m}
	s, err := call[signals.LaneCommandStatement](ctx, answering("who commands the lane?"), lanes.OpenLaneCommand, in)
	if err != nil {
		return signals.Receipt{}, err
	}
	if err := judgeLane(l.state, s, workflow.Now(ctx).UTC()); err != nil {
		return signals.Receipt{}, err
	}
	if _, err := call[any](ctx, answering("write down: "+string(s.Command)), lanes.Journal, m); err != nil {
		return signals.Receipt{}, refused(signals.ErrNotNow, "%s could not be written down, so it was not done; try again: %s", s.Command, explain(err))
	}
	return signals.Receipt{Accepted: true, Message: l.obey(s, workflow.Now(ctx).UTC())}, nil
}

// judgeLane decides whether a command that was signed, by somebody who may give
// commands, is for this lane and makes sense now.
func judgeLane(state signals.LaneInput, s signals.LaneCommandStatement, now time.Time) error {
	if err := boundTo(s.Binding, signals.LaneID(state.Environment, state.Service), "", "", now); err != nil {
		return refused(signals.ErrUntrusted, "command refused: %v", err)
	}
	due := slices.IndexFunc(state.Reviews, func(r signals.ReviewDue) bool { return r.Release == s.Reviewed })
	switch {
	case slices.Contains(state.Nonces, s.Nonce):
		return refused(signals.ErrReplayed, "%s was taken already; nothing is done twice", s.Command)
	case strings.TrimSpace(s.Reason) == "":
		return refused(signals.ErrNotAllowed, "%s needs a reason", s.Command)
	case s.Command == signals.Freeze && !s.Until.IsZero() && !s.Until.After(now):
		return refused(signals.ErrNotNow, "a freeze until %s would be over before it began", s.Until.UTC().Format(time.RFC3339))
	case s.Command == signals.Unfreeze && state.Frozen == nil:
		return refused(signals.ErrNotNow, "lane %s/%s is not frozen", state.Environment, state.Service)
	case s.Command == signals.CloseReview && due < 0:
		return refused(signals.ErrNotNow, "no review of a release %q is due; due are: %s", s.Reviewed, reviewed(state.Reviews))
	case s.Command == signals.CloseReview && partOf(s.Operator, state.Reviews[due].Excluded):
		return refused(signals.ErrNotAllowed, "%s had a part in %s, so somebody else must review it", s.Operator.Display(), s.Reviewed)
	case s.Command == signals.Freeze || s.Command == signals.Unfreeze || s.Command == signals.CloseReview:
		return nil
	}
	return refused(signals.ErrUntrusted, "command %q is not known to a lane; known: %s, %s, %s", s.Command, signals.Freeze, signals.Unfreeze, signals.CloseReview)
}

// partOf tells whether a subject, by any of its accounts, is among those keys.
func partOf(s signals.Subject, keys []string) bool {
	own := []string{s.Key(), s.Email}
	for _, alias := range s.Aliases {
		own = append(own, alias, s.Issuer+"#"+alias)
	}
	return slices.ContainsFunc(keys, func(key string) bool {
		return slices.ContainsFunc(own, func(o string) bool { return o != "" && strings.EqualFold(o, key) })
	})
}

func reviewed(due []signals.ReviewDue) string {
	if len(due) == 0 {
		return "none"
	}
	names := make([]string, len(due))
	for i, r := range due {
		names[i] = r.Release
	}
	return strings.Join(names, ", ")
}

// obey carries out a command that was judged, and says what follows.
func (l *lane) obey(s signals.LaneCommandStatement, now time.Time) string {
	l.state.Nonces = append(l.state.Nonces, s.Nonce)
	if extra := len(l.state.Nonces) - nonceMemory; extra > 0 {
		l.state.Nonces = slices.Delete(l.state.Nonces, 0, extra)
	}
	switch s.Command {
	case signals.Freeze:
		l.state.Frozen = &signals.LaneFreeze{By: s.Operator.Display(), Reason: s.Reason, At: now, Until: s.Until}
		return "no ordinary release begins; those under way, and rollbacks, go on"
	case signals.Unfreeze:
		l.state.Frozen = nil
		return "releases begin again"
	}
	l.state.Reviews = slices.DeleteFunc(l.state.Reviews, func(r signals.ReviewDue) bool { return r.Release == s.Reviewed })
	return "the review of " + s.Reviewed + " is closed"
}

// blocked says what keeps a claim out besides the holder, "" if nothing. A turn
// for papers and an emergency are never kept out.
func blocked(state signals.LaneInput, c signals.LaneClaim) string {
	switch {
	case c.Resource != signals.LaneEnvironment || c.BreakGlass:
		return ""
	case state.Frozen != nil:
		until := ""
		if !state.Frozen.Until.IsZero() {
			until = " until " + state.Frozen.Until.UTC().Format("2006-01-02 15:04 UTC")
		}
		return fmt.Sprintf("frozen%s by %s: %s", until, state.Frozen.By, state.Frozen.Reason)
	case len(state.Reviews) > 0:
		return fmt.Sprintf("the review of break-glass release %s is due; somebody who had no part in it must close it", state.Reviews[0].Release)
	}
	return ""
}

// thaw ends a freeze when its time has come.
func (l *lane) thaw(ctx workflow.Context) {
	defer func() { l.stopped++ }()
	for {
		if err := workflow.Await(ctx, func() bool { return l.state.Frozen != nil && !l.state.Frozen.Until.IsZero() }); err != nil {
			return
		}
		freeze := l.state.Frozen
		timerCtx, cancel := workflow.WithCancel(ctx)
		timer := workflow.NewTimerWithOptions(timerCtx, freeze.Until.Sub(workflow.Now(ctx)), workflow.TimerOptions{Summary: "freeze ends"})
		err := workflow.Await(ctx, func() bool { return timer.IsReady() || l.state.Frozen != freeze })
		cancel()
		if err != nil {
			return
		}
		if l.state.Frozen == freeze {
			l.state.Frozen = nil
		}
	}
}

// reviewWithin is when the review of an emergency is due that did not live to
// say so itself.
const reviewWithin = 24 * time.Hour

// review takes over the review that an emergency leaves due. One that was
// terminated, or failed, leaves one as well: or that would be a way round it.
func (l *lane) review(line signals.LaneRelease, holder signals.LaneClaim, end signals.HolderEnd) {
	known := func(release string) bool {
		return slices.ContainsFunc(l.state.Recent, func(r signals.LaneRelease) bool { return r.Release == release })
	}
	switch {
	case known(holder.Release):
	case end.Outcome != nil && end.Outcome.Review != nil:
		l.state.Reviews = append(l.state.Reviews, *end.Outcome.Review)
	case end.Outcome == nil && holder.BreakGlass:
		l.state.Reviews = append(l.state.Reviews, signals.ReviewDue{
			Release: holder.Release, Reason: "the emergency ended as " + end.State, Due: line.EndedAt.Add(reviewWithin),
		})
	}
}
