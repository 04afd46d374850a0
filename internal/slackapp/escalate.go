package slackapp

import (
	"context"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// escalate tells the replies that ask for it in the channel for what was left
// undone, each once, with a link to the release's message.
func (m *Messenger) escalate(ctx context.Context, at signals.MessageRef, in signals.PublishInput) error {
	var list []signals.Reply
	for _, r := range in.Replies {
		if r.Escalate {
			list = append(list, r)
		}
	}
	if len(list) == 0 || in.Notify.Escalation == "" {
		return nil
	}
	channel, err := m.channel(ctx, in.Notify.Escalation)
	if err != nil {
		return err
	}
	known := told{}
	err = m.history(ctx, channel, in.Notify.Escalation, since(list), func(msg slack.Message) bool {
		known.add(msg, in)
		return true
	})
	if err != nil {
		return err
	}
	address := m.permalink(ctx, at)
	for _, r := range list {
		if known[r.Event] {
			continue
		}
		if err := m.alarm(ctx, channel, address, in, r); err != nil {
			return err
		}
	}
	return nil
}

func (m *Messenger) alarm(ctx context.Context, channel, address string, in signals.PublishInput, r signals.Reply) error {
	text := ":rotating_light: *" + escaper.Replace(title(in.Announcement)) + "*: " + sentence(r)
	if address != "" {
		text += " " + link(address, "open the release's message")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _, err := m.api.PostMessageContext(ctx, channel, slack.MsgOptionText(text, false), slack.MsgOptionMetadata(mark(in, r.Event)),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	return fault("chat.postMessage", in.Notify.Escalation, err)
}

// permalink is the address of a message, "" if it can't be had: an alarm without
// a link is better than none.
func (m *Messenger) permalink(ctx context.Context, at signals.MessageRef) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address, err := m.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: at.Channel, Ts: at.ID})
	if err != nil {
		m.log.Warn("the address of a message can't be had", "channel", at.Channel, "message", at.ID, "error", fault("chat.getPermalink", at.Channel, err))
	}
	return address
}
