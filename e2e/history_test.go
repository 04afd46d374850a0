package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-dev/waybill/signals"
)

// history is the whole history of a release that has ended, and what can be read
// out of it about costs and times.
type history struct {
	events []*historypb.HistoryEvent
	bytes  int64 // as the server counts them
}

// ended waits for a release by one long poll, which costs the machine nothing,
// and returns its outcome and history.
func ended(tb testing.TB, release string) (signals.Outcome, history) {
	tb.Helper()
	c := dial(tb)
	var out signals.Outcome
	require.NoError(tb, c.GetWorkflow(tb.Context(), release, "").Get(tb.Context(), &out))
	description, err := c.DescribeWorkflowExecution(tb.Context(), release, "")
	require.NoError(tb, err)
	h := history{bytes: description.GetWorkflowExecutionInfo().GetHistorySizeBytes()}
	events := c.GetWorkflowHistory(tb.Context(), release, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(tb, err)
		h.events = append(h.events, e)
	}
	require.Len(tb, h.events, int(description.GetWorkflowExecutionInfo().GetHistoryLength()))
	return out, h
}

// event is the event with the number, which counts from 1.
func (h history) event(id int64) *historypb.HistoryEvent { return h.events[id-1] }

// wall is the time from the first event to the last.
func (h history) wall() time.Duration {
	return h.events[len(h.events)-1].GetEventTime().AsTime().Sub(h.events[0].GetEventTime().AsTime())
}

// activity is the event that scheduled the activity which e is about, nil for
// other events.
func (h history) activity(e *historypb.HistoryEvent) *historypb.HistoryEvent {
	if e.GetActivityTaskScheduledEventAttributes() != nil {
		return e
	}
	for _, a := range []interface{ GetScheduledEventId() int64 }{
		e.GetActivityTaskStartedEventAttributes(), e.GetActivityTaskCompletedEventAttributes(),
		e.GetActivityTaskFailedEventAttributes(), e.GetActivityTaskTimedOutEventAttributes(),
		e.GetActivityTaskCancelRequestedEventAttributes(), e.GetActivityTaskCanceledEventAttributes(),
	} {
		if id := a.GetScheduledEventId(); id != 0 {
			return h.event(id)
		}
	}
	return nil
}

func activityName(scheduled *historypb.HistoryEvent) string {
	return scheduled.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
}

// timer is the event that started the timer which e is about, nil for others.
func (h history) timer(e *historypb.HistoryEvent) *historypb.HistoryEvent {
	if e.GetTimerStartedEventAttributes() != nil {
		return e
	}
	for _, a := range []interface{ GetStartedEventId() int64 }{
		e.GetTimerFiredEventAttributes(), e.GetTimerCanceledEventAttributes(),
	} {
		if id := a.GetStartedEventId(); id != 0 {
			return h.event(id)
		}
	}
	return nil
}

// isWindow says whether a started timer is that of a window.
func isWindow(started *historypb.HistoryEvent) bool {
	var summary string
	_ = converter.GetDefaultDataConverter().FromPayload(started.GetUserMetadata().GetSummary(), &summary)
	return strings.HasPrefix(summary, "window: ")
}

// windows counts the windows of a promoted release and adds up their lengths as
// planned, so that a timer which fires late counts as overhead.
func (h history) windows() (count int, length time.Duration) {
	for _, e := range h.events {
		if started := e.GetTimerStartedEventAttributes(); started != nil && isWindow(e) {
			count, length = count+1, length+started.GetStartToFireTimeout().AsDuration()
		}
	}
	return count, length
}

// spent adds up, by the activities' names, the time from scheduling to result.
func (h history) spent() map[string]time.Duration {
	spent := map[string]time.Duration{}
	for _, e := range h.events {
		if e.GetActivityTaskCompletedEventAttributes() != nil {
			scheduled := h.activity(e)
			spent[activityName(scheduled)] += e.GetEventTime().AsTime().Sub(scheduled.GetEventTime().AsTime())
		}
	}
	return spent
}

// results decodes the results of every activity with the name, in order.
func results[T any](tb testing.TB, h history, name string) []T {
	tb.Helper()
	var all []T
	for _, e := range h.events {
		done := e.GetActivityTaskCompletedEventAttributes()
		if done == nil || activityName(h.activity(e)) != name {
			continue
		}
		var one T
		require.NoError(tb, converter.GetDefaultDataConverter().FromPayloads(done.GetResult(), &one))
		all = append(all, one)
	}
	return all
}

// purposes of activities; together with the names below they cover a history.
var purposes = map[string]string{
	"ResolvePlan": "resolve, verify, policy", "VerifyArtifact": "resolve, verify, policy", "DecidePolicy": "resolve, verify, policy",
	"Recheck": "re-check before a step", "Acquire": "lane", "Watch": "windows", "WriteRecord": "records",
	"EnsureCanary": "pods", "PromoteStable": "pods", "RestoreStable": "pods",
	"Publish": "telling people", "Look": "telling people", "WatchStanding": "do approvals still stand?",
	"SetWeight": "route and cluster", "Observe": "route and cluster", "RemoveCanary": "route and cluster",
}

// purpose says what an event is there for.
func (h history) purpose(e *historypb.HistoryEvent) string {
	if scheduled := h.activity(e); scheduled != nil {
		return purposes[activityName(scheduled)]
	}
	if started := h.timer(e); started != nil {
		if isWindow(started) {
			return "windows"
		}
		return "deadlines"
	}
	kind := e.GetEventType().String()
	switch {
	case strings.HasPrefix(kind, "WorkflowTask"):
		return "workflow tasks"
	case strings.HasPrefix(kind, "WorkflowExecutionUpdate"):
		return "approvals"
	case strings.HasPrefix(kind, "WorkflowExecution"):
		return "start, end, signals"
	case kind == "UpsertWorkflowSearchAttributes":
		return "search attributes"
	case strings.Contains(kind, "ChildWorkflow"):
		return "telling people"
	}
	return kind
}

// costs renders events and bytes by purpose, most events first. Bytes are those
// of the events' own encoding.
func (h history) costs() string {
	type cost struct {
		purpose string
		events  int
		bytes   int
	}
	var all []cost
	for _, e := range h.events {
		at := slices.IndexFunc(all, func(c cost) bool { return c.purpose == h.purpose(e) })
		if at < 0 {
			all = append(all, cost{purpose: h.purpose(e)})
			at = len(all) - 1
		}
		all[at].events, all[at].bytes = all[at].events+1, all[at].bytes+proto.Size(e)
	}
	slices.SortStableFunc(all, func(a, b cost) int { return b.events - a.events })
	var text strings.Builder
	for i, c := range all {
		if i%3 == 0 { // a benchmark's log is cut after ten lines
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%-24s%4d events %6.1f KiB   ", c.purpose, c.events, kib(c.bytes))
	}
	return text.String()
}

func kib[N int | int64](bytes N) float64 { return float64(bytes) / 1024 }

// phase is where a running release is, as the server knows it, without asking
// any worker.
func phase(attributes *commonpb.SearchAttributes) signals.Phase {
	var at string
	_ = converter.GetDefaultDataConverter().FromPayload(attributes.GetIndexedFields()[signals.AttrPhase.GetName()], &at)
	return signals.Phase(at)
}
