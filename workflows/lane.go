package workflows

import (
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

const (
	recentReleases = 20
	longestQueue   = 1000
)

// Lane is one service in one environment, for as long as it exists. It hands out
// two things, each to one release at a time in the order of asking: the right to
// change the environment, and the turn to continue the chain of manifests.
//
// While a release holds something, one activity waits for that release to close.
// So the lane is freed however its holder ends, and what it remembers (last
// known good, last manifest) comes from the holder's result and from the notary:
// nobody with access to the namespace can tell it otherwise.
func Lane(ctx workflow.Context, state signals.LaneInput) error {
	l := &lane{state: state, judging: workflow.NewMutex(ctx)}
	if err := l.handleMessages(ctx); err != nil {
		return err
	}
	serving, stopServing := workflow.WithCancel(ctx)
	workflow.GoNamed(serving, "environment", func(ctx workflow.Context) { l.serve(ctx, signals.LaneEnvironment) })
	workflow.GoNamed(serving, "papers", func(ctx workflow.Context) { l.serve(ctx, signals.LanePapers) })
	workflow.GoNamed(serving, "freeze", l.thaw)
	if err := workflow.Await(ctx, func() bool { return workflow.GetInfo(ctx).GetContinueAsNewSuggested() }); err != nil {
		return err
	}
	stopServing()
	if err := workflow.Await(ctx, func() bool { return l.stopped == coroutines && workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, signals.LaneWorkflow, l.state)
}

// coroutines is how many serve a lane.
const coroutines = 3

type lane struct {
	state   signals.LaneInput
	stopped int // serving coroutines that have ended
	// judging lets one command at a time be judged and carried out.
	judging workflow.Mutex
}

func (l *lane) queue(resource signals.LaneResource) *signals.LaneQueue {
	if resource == signals.LanePapers {
		return &l.state.Papers
	}
	return &l.state.Hold
}

func (l *lane) handleMessages(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, signals.StatusQuery, func() (signals.LaneStatus, error) {
		return signals.LaneStatus{LaneInput: l.state}, nil
	}, workflow.QueryHandlerOptions{Description: "Who holds the lane, who waits, what it goes back to."}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, signals.CommandMessage, l.command, workflow.UpdateHandlerOptions{
		Validator:   validateLaneMessage,
		Description: "Freeze, unfreeze or close a review. Needs an envelope signed by the gateway: use `waybill lane`.",
	}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, signals.LaneAcquire, l.acquire, workflow.UpdateHandlerOptions{
		Validator: l.validate, Description: "Ask for the lane. Releases do this themselves.",
	})
}

func (l *lane) validate(c signals.LaneClaim) error {
	switch {
	case c.Resource != signals.LaneEnvironment && c.Resource != signals.LanePapers:
		return refused(signals.ErrBadRequest, "lane resource %q is not known", c.Resource)
	case c.Release == "" || c.Run == "" || c.Abandoned != "":
		return refused(signals.ErrBadRequest, "a claim names a release and its run, and nothing else")
	case l.journal() && (c.Release != signals.JournalID || c.Resource != signals.LanePapers):
		return refused(signals.ErrBadRequest, "lane %s/%s is the journal's own", l.state.Environment, l.state.Service)
	case len(l.queue(c.Resource).Waiting) >= longestQueue:
		return refused(signals.ErrNotNow, "lane %s/%s has %d releases waiting; try again later", l.state.Environment, l.state.Service, longestQueue)
	}
	return nil
}

// journal tells whether this is the lane of the journal's papers.
func (l *lane) journal() bool {
	return l.state.Environment == signals.JournalEnvironment && l.state.Service == signals.JournalService
}

// papersOf is the id under which a claim's workflow keeps its papers.
func (l *lane) papersOf(c signals.LaneClaim) string {
	if l.journal() {
		return signals.JournalRelease(c.Run)
	}
	return c.Release
}

// next is the first of those waiting for a resource who may have it, -1 if
// nobody may.
func (l *lane) next(q *signals.LaneQueue) int {
	return slices.IndexFunc(q.Waiting, func(c signals.LaneClaim) bool { return blocked(l.state, c) == "" })
}

// acquire answers where a claim stands; asking again changes nothing. What is
// free is given at once. An emergency comes before all that is not one. Whether
// it is one is a part of the claim: who forges an emergency for a release that
// is none takes a place that the release itself does not ask for.
func (l *lane) acquire(_ workflow.Context, c signals.LaneClaim) (signals.LaneGrant, error) {
	q := l.queue(c.Resource)
	c.BreakGlass = c.BreakGlass && c.Resource == signals.LaneEnvironment
	reason := blocked(l.state, c)
	if q.Holder == nil && l.next(q) < 0 && reason == "" {
		q.Holder = &c
	}
	same := func(other signals.LaneClaim) bool {
		return other.Release == c.Release && other.Run == c.Run && other.Abandoned == "" && other.BreakGlass == c.BreakGlass
	}
	if q.Holder != nil && same(*q.Holder) {
		return signals.LaneGrant{
			Granted: true, Holder: c.Release,
			LKG: l.state.LKG, LKGRelease: l.state.LKGRelease, LastManifest: l.state.LastManifest, Unclean: l.state.Unclean,
		}, nil
	}
	at := slices.IndexFunc(q.Waiting, same)
	if at < 0 {
		at = len(q.Waiting)
		if ordinary := slices.IndexFunc(q.Waiting, func(w signals.LaneClaim) bool { return !w.BreakGlass }); c.BreakGlass && ordinary >= 0 {
			at = ordinary
		}
		q.Waiting = slices.Insert(q.Waiting, at, c)
	}
	grant := signals.LaneGrant{Position: at + 1, Blocked: reason}
	if q.Holder != nil {
		grant.Holder = q.Holder.Release
	}
	return grant, nil
}

// serve hands one resource out, again and again, until its context ends.
func (l *lane) serve(ctx workflow.Context, resource signals.LaneResource) {
	defer func() { l.stopped++ }()
	q := l.queue(resource)
	for {
		if err := workflow.Await(ctx, func() bool { return q.Holder != nil || l.next(q) >= 0 }); err != nil {
			return
		}
		if q.Holder == nil {
			at := l.next(q)
			next := q.Waiting[at]
			q.Holder, q.Waiting = &next, slices.Delete(q.Waiting, at, at+1)
			l.tell(ctx, next)
		}
		if err := l.guard(ctx, resource, *q.Holder); err != nil {
			return // being replaced by a new run: the holder stays the holder
		}
		q.Holder = nil
	}
}

// tell lets a release know that it should ask again. That it can't be told, for
// example because it has ended, is nothing: guard will find out.
func (l *lane) tell(ctx workflow.Context, c signals.LaneClaim) {
	if c.Abandoned == "" {
		workflow.SignalExternalWorkflow(ctx, c.Release, c.Run, signals.LaneGranted, nil)
	}
}

// guard returns when the holder has ended and what it left is taken over. The
// only error is that this run of the lane is ending.
func (l *lane) guard(ctx workflow.Context, resource signals.LaneResource, holder signals.LaneClaim) error {
	if holder.Abandoned != "" {
		return l.closeAbandoned(ctx, holder)
	}
	end, err := call[signals.HolderEnd](ctx, guarding("holds the "+string(resource)+": "+holder.Release), lanes.WatchHolder, holder)
	if temporal.IsCanceledError(err) {
		return err
	}
	if err != nil {
		end = signals.HolderEnd{State: explain(err)}
	}
	if resource == signals.LanePapers {
		if end.Outcome != nil && end.Outcome.Manifest != nil {
			l.closed(l.papersOf(holder), *end.Outcome.Manifest)
			return nil
		}
		holder.Abandoned = end.State
		return l.closeAbandoned(ctx, holder)
	}
	l.remember(ctx, holder, end)
	if end.Outcome == nil {
		// The turn for its papers comes when those before it are done.
		holder.Resource, holder.Abandoned = signals.LanePapers, end.State
		l.state.Papers.Waiting = append(l.state.Papers.Waiting, holder)
	}
	return nil
}

// remember takes over what a holder of the environment left.
func (l *lane) remember(ctx workflow.Context, holder signals.LaneClaim, end signals.HolderEnd) {
	line := signals.LaneRelease{Release: holder.Release, Outcome: signals.Terminated, EndedAt: workflow.Now(ctx).UTC()}
	l.review(line, holder, end)
	if end.Outcome == nil {
		l.state.Unclean = true
	}
	if o := end.Outcome; o != nil {
		if o.Kind == signals.Promoted || o.Rollback != nil {
			l.state.Unclean = false
		}
		line.Outcome, line.Digest, line.EndedAt = o.Kind, o.Artifact.Digest, o.EndedAt
		if o.LKG != nil {
			if l.state.LKG == nil || l.state.LKG.TemplateHash != o.LKG.TemplateHash {
				l.state.LKGRelease, l.state.LKGCommit = o.Release, ""
				if o.Kind == signals.Promoted {
					l.state.LKGCommit = o.Commit
				}
			}
			l.state.LKG = o.LKG
		}
	}
	l.state.Recent = append([]signals.LaneRelease{line}, l.state.Recent...)
	if len(l.state.Recent) > recentReleases {
		l.state.Recent = l.state.Recent[:recentReleases]
	}
}

// closed continues the chain of manifests.
func (l *lane) closed(release string, manifest signals.RecordRef) {
	l.state.LastManifest = &manifest
	l.state.Closed = append([]string{release}, l.state.Closed...)
	if len(l.state.Closed) > recentReleases {
		l.state.Closed = l.state.Closed[:recentReleases]
	}
}

// closeAbandoned has the notary close the papers of a release that could not do
// so itself, or find that it had done so just before it ended. A release that
// held both resources ends twice here; its second end must not turn the chain
// back to its manifest.
func (l *lane) closeAbandoned(ctx workflow.Context, c signals.LaneClaim) error {
	papers := l.papersOf(c)
	if slices.Contains(l.state.Closed, papers) {
		return nil
	}
	ref, err := call[signals.RecordRef](ctx, recording("close the papers of "+papers), notary.CloseAbandoned, signals.CloseInput{
		Environment: l.state.Environment, Service: l.state.Service, Release: papers, Run: c.Run,
		State: c.Abandoned, Previous: l.state.LastManifest, At: workflow.Now(ctx).UTC(),
	})
	if temporal.IsCanceledError(err) {
		return err
	}
	if err == nil {
		l.closed(papers, ref)
	}
	return nil
}
