package slackapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// Options is what a Messenger is made of.
type Options struct {
	// Token is the app's bot token.
	Token string
	// APIURL is the base of Slack's Web API; Slack's own if empty.
	APIURL string
	// Gateway is the public address of the gateway's pages.
	Gateway string
	Now     func() time.Time
	Log     *slog.Logger
}

// Messenger keeps the messages of releases. It is safe for concurrent use, for
// different releases; the calls for one release must follow each other.
type Messenger struct {
	api     *slack.Client
	gateway string
	now     func() time.Time
	log     *slog.Logger

	mu       sync.Mutex
	self     *slack.AuthTestResponse // who the app is, once that is known
	channels map[string]string       // ids by name
}

// New makes a Messenger. It makes no call: a Slack that is down delays nobody.
func New(o Options) *Messenger {
	m := &Messenger{api: newClient(o.Token, "", o.APIURL, patient()), gateway: o.Gateway, now: o.Now, log: o.Log, channels: map[string]string{}}
	if m.now == nil {
		m.now = time.Now
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

// Publish brings a release's message up to date, posting it if it isn't there
// yet, and tells the replies that its thread and the channel for escalations
// don't have yet. It does all that it can before it returns an error, and may be
// called again with the same input: nothing is told twice.
//
// An error that knows when to try again has a method RetryAfter.
func (m *Messenger) Publish(ctx context.Context, in signals.PublishInput) (signals.MessageRef, error) {
	at, fresh, err := m.show(ctx, in)
	if err != nil {
		return in.Message, err
	}
	told := told{}
	if len(in.Replies) > 0 && !fresh {
		if told, err = m.thread(ctx, at, in); err != nil {
			return at, err
		}
	}
	err = m.reply(ctx, at, in, told)
	if limited(err) {
		return at, err
	}
	return at, errors.Join(err, m.escalate(ctx, at, in))
}

// limited reports whether Slack asked to be left alone for a while.
func limited(err error) bool {
	failed, ok := errors.AsType[*Error](err)
	return ok && failed.after > 0
}

// show edits the release's message, or finds the one whose posting was not
// acknowledged, or posts it. fresh tells that it was posted just now. A message
// that somebody deleted, or that belongs to an app installed before, is posted
// anew: people have to see what they decide on.
func (m *Messenger) show(ctx context.Context, in signals.PublishInput) (at signals.MessageRef, fresh bool, err error) {
	if in.Message.ID != "" {
		if err := m.edit(ctx, in.Message, in); !gone(err) {
			return in.Message, false, err
		}
	}
	if at, err = m.adopt(ctx, in); err != nil {
		return at, false, err
	}
	if at.ID != "" {
		if err := m.edit(ctx, at, in); !gone(err) {
			return at, false, err
		}
	}
	at, err = m.post(ctx, in)
	return at, true, err
}

func gone(err error) bool {
	return hasCode(err, "message_not_found") || hasCode(err, "cant_update_message")
}

func (m *Messenger) content(in signals.PublishInput) []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(summary(in.Announcement), false),
		slack.MsgOptionBlocks(message(in.Announcement, m.gateway)...),
		slack.MsgOptionMetadata(mark(in)),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}

func (m *Messenger) edit(ctx context.Context, at signals.MessageRef, in signals.PublishInput) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _, _, err := m.api.UpdateMessageContext(ctx, at.Channel, at.ID, m.content(in)...)
	return fault("chat.update", in.Notify.Channel, err)
}

func (m *Messenger) post(ctx context.Context, in signals.PublishInput) (signals.MessageRef, error) {
	channel, err := m.channel(ctx, in.Notify.Channel)
	if err != nil {
		return signals.MessageRef{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	channel, ts, err := m.api.PostMessageContext(ctx, channel, m.content(in)...)
	if err != nil {
		return signals.MessageRef{}, fault("chat.postMessage", in.Notify.Channel, err)
	}
	return signals.MessageRef{Channel: channel, ID: ts}, nil
}

// Bounds of the search for a message whose posting was not acknowledged: it is
// looked for among the latest of the channel.
const (
	searchBack  = 48 * time.Hour
	searchPages = 5
	pageSize    = 200
)

// adopt finds the release's message by its metadata; an empty reference if there
// is none. Other apps' messages don't count, whatever metadata they carry.
func (m *Messenger) adopt(ctx context.Context, in signals.PublishInput) (signals.MessageRef, error) {
	channel, err := m.channel(ctx, in.Notify.Channel)
	if err != nil {
		return signals.MessageRef{}, err
	}
	var found signals.MessageRef
	err = m.history(ctx, channel, in.Notify.Channel, m.now().Add(-searchBack), func(msg slack.Message) bool {
		if isMessageOf(msg, in) {
			found = signals.MessageRef{Channel: channel, ID: msg.Timestamp}
		}
		return found.ID == ""
	})
	return found, err
}

// history hands the app's own messages in a channel to visit, newest first,
// until that returns false.
func (m *Messenger) history(ctx context.Context, channel, name string, since time.Time, visit func(slack.Message) bool) error {
	self, err := m.bot(ctx)
	if err != nil {
		return err
	}
	cursor := ""
	for range searchPages {
		page, err := m.page(ctx, channel, name, since, cursor)
		if err != nil {
			return err
		}
		for _, msg := range page.Messages {
			if own(msg, self) && !visit(msg) {
				return nil
			}
		}
		if cursor = page.ResponseMetaData.NextCursor; cursor == "" {
			return nil
		}
	}
	return nil
}

func (m *Messenger) page(ctx context.Context, channel, name string, since time.Time, cursor string) (*slack.GetConversationHistoryResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := m.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: channel, Oldest: stamp(since), Limit: pageSize, Cursor: cursor, IncludeAllMetadata: true,
	})
	return page, fault("conversations.history", name, err)
}

// stamp is a time as Slack writes it.
func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) + ".000000" }

// own reports whether a message is the app's own.
func own(msg slack.Message, self *slack.AuthTestResponse) bool {
	return msg.BotID == self.BotID || msg.BotID == "" && msg.User == self.UserID
}

// bot is who the app is in the workspace.
func (m *Messenger) bot(ctx context.Context) (*slack.AuthTestResponse, error) {
	m.mu.Lock()
	self := m.self
	m.mu.Unlock()
	if self != nil {
		return self, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	self, err := m.api.AuthTestContext(ctx)
	if err != nil {
		return nil, fault("auth.test", "", err)
	}
	if self.BotID == "" {
		return nil, fault("auth.test", "", fmt.Errorf("the token is user %s's and not an app's; use the bot token (xoxb-…)", self.UserID))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self = self
	return self, nil
}
