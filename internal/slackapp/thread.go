package slackapp

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// The metadata by which the app finds its messages again.
const (
	eventRelease = "waybill_release"
	eventReply   = "waybill_event"

	keyRelease = "release"
	keyRun     = "run"
	keyEvents  = "events" // a JSON list
)

// skew is how far the clocks of the worker and of Slack may be apart.
const skew = 10 * time.Minute

// longestReply bounds what is told in one message. Slack cuts a text at 40,000;
// nobody reads as much.
const longestReply = 2900

// mark is the metadata of a release's message, or of a reply that tells events.
func mark(in signals.PublishInput, events ...string) slack.SlackMetadata {
	payload := map[string]any{keyRelease: in.Announcement.Release, keyRun: in.Announcement.Run}
	if len(events) == 0 {
		return slack.SlackMetadata{EventType: eventRelease, EventPayload: payload}
	}
	// A list of strings can always be encoded.
	list, _ := json.Marshal(events) //nolint:errchkjson // see above
	payload[keyEvents] = string(list)
	return slack.SlackMetadata{EventType: eventReply, EventPayload: payload}
}

func isMessageOf(msg slack.Message, in signals.PublishInput) bool {
	return msg.Metadata.EventType == eventRelease && isOf(msg, in)
}

func isOf(msg slack.Message, in signals.PublishInput) bool {
	p := msg.Metadata.EventPayload
	return p[keyRelease] == in.Announcement.Release && p[keyRun] == in.Announcement.Run
}

// told is what a thread or channel has: events, and the names of its files.
type told map[string]bool

// add takes what a message tells.
func (t told) add(msg slack.Message, in signals.PublishInput) {
	for _, f := range msg.Files {
		t[f.Name] = true
	}
	if msg.Metadata.EventType != eventReply || !isOf(msg, in) {
		return
	}
	var events []string
	if list, ok := msg.Metadata.EventPayload[keyEvents].(string); ok && json.Unmarshal([]byte(list), &events) == nil {
		for _, e := range events {
			t[e] = true
		}
	}
}

// thread reads what the message's thread has since the first reply came up.
func (m *Messenger) thread(ctx context.Context, at signals.MessageRef, in signals.PublishInput) (told, error) {
	self, err := m.bot(ctx)
	if err != nil {
		return nil, err
	}
	out := told{}
	cursor := ""
	for range searchPages {
		list, next, err := m.threadPage(ctx, at, in, cursor)
		if err != nil {
			return nil, err
		}
		for _, msg := range list {
			if own(msg, self) {
				out.add(msg, in)
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return out, nil
}

func (m *Messenger) threadPage(ctx context.Context, at signals.MessageRef, in signals.PublishInput, cursor string) ([]slack.Message, string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, _, next, err := m.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
		ChannelID: at.Channel, Timestamp: at.ID, Cursor: cursor, Limit: pageSize, Oldest: stamp(since(in.Replies)), IncludeAllMetadata: true,
	})
	return list, next, fault("conversations.replies", in.Notify.Channel, err)
}

// since is a time before which none of the replies can have been told.
func since(replies []signals.Reply) time.Time {
	first := replies[0].At
	for _, r := range replies {
		if r.At.Before(first) {
			first = r.At
		}
	}
	return first.Add(-skew)
}

// reply tells what the thread doesn't have. Quiet events that follow each other
// go into one message; a loud one and one with a chart have a message each.
func (m *Messenger) reply(ctx context.Context, at signals.MessageRef, in signals.PublishInput, known told) error {
	for _, batch := range batches(in.Replies, known, in) {
		if err := m.tell(ctx, at, in, batch); err != nil {
			return err
		}
	}
	return nil
}

// batches groups the replies that are still to be told.
func batches(replies []signals.Reply, known told, in signals.PublishInput) [][]signals.Reply {
	var out [][]signals.Reply
	joinable := false
	length := 0
	for _, r := range replies {
		if known[r.Event] || r.Chart != nil && known[chartName(in, r)] {
			continue
		}
		alone := r.Loud || r.Chart != nil
		length += size(r.Text)
		if joinable && !alone && length < longestReply {
			out[len(out)-1] = append(out[len(out)-1], r)
			continue
		}
		out = append(out, []signals.Reply{r})
		joinable, length = !alone, size(r.Text)
	}
	return out
}

// tell posts one batch into the thread.
func (m *Messenger) tell(ctx context.Context, at signals.MessageRef, in signals.PublishInput, batch []signals.Reply) error {
	if r := batch[0]; r.Chart != nil && !r.Loud {
		err := waitOut(ctx, func() error { return m.upload(ctx, at, in, r, sentence(r)) })
		if err == nil || !worthless(err) {
			return err
		}
		m.log.Warn("a chart can't be shown, its words are", "release", in.Announcement.Release, "event", r.Event, "error", err)
	}
	lines := make([]string, 0, len(batch))
	events := make([]string, 0, len(batch))
	for _, r := range batch {
		lines = append(lines, sentence(r))
		events = append(events, r.Event)
	}
	options := []slack.MsgOption{
		slack.MsgOptionText(strings.Join(lines, "\n"), false), slack.MsgOptionTS(at.ID), slack.MsgOptionMetadata(mark(in, events...)),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
	if batch[0].Loud {
		options = append(options, slack.MsgOptionBroadcast())
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, _, err := m.api.PostMessageContext(callCtx, at.Channel, options...); err != nil {
		return fault("chat.postMessage", in.Notify.Channel, err)
	}
	if r := batch[0]; r.Chart != nil && r.Loud {
		if err := waitOut(ctx, func() error { return m.upload(ctx, at, in, r, "") }); err != nil {
			// The words are out, and trying again would find them told.
			m.log.Warn("a chart can't be shown, its words are", "release", in.Announcement.Release, "event", r.Event, "error", err)
		}
	}
	return nil
}

// sentence is an event in mrkdwn.
func sentence(r signals.Reply) string { return words(r.Text, longestReply/3) }
