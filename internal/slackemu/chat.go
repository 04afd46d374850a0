package slackemu

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// maxText is the longest message that Slack does not cut.
const maxText = 40_000

// maxMetadata bounds a message's event_payload.
const maxMetadata = 16 << 10

// target finds where to post: a channel that the app is in, or a person.
func (s *Server) target(name string) (*conversation, error) {
	if strings.HasPrefix(name, "U") && s.world.byID(name) == nil {
		if s.user(name) == nil {
			return nil, refuse("channel_not_found")
		}
		return s.world.direct(name), nil
	}
	c := s.world.byName(name)
	if c == nil {
		return nil, refuse("channel_not_found")
	}
	if !c.Member {
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

// content reads text, blocks and metadata of a call into m and leaves what the
// call does not name.
func (s *Server) content(m *message, args url.Values) error {
	if args.Has("text") {
		m.Text = args.Get("text")
	}
	if len(m.Text) > maxText {
		return refuse("msg_too_long")
	}
	if args.Has("blocks") {
		blocks, err := s.parseBlocks(args.Get("blocks"), messageSurface)
		if err != nil {
			return err
		}
		m.Blocks = blocks
	}
	if m.Text == "" && len(m.Blocks.BlockSet) == 0 && len(m.Files) == 0 {
		return refuse("no_text")
	}
	if !args.Has("metadata") {
		return nil
	}
	var metadata slack.SlackMetadata
	if err := json.Unmarshal([]byte(args.Get("metadata")), &metadata); err != nil {
		return refuse("invalid_metadata_format")
	}
	payload, err := json.Marshal(metadata.EventPayload)
	switch {
	case err != nil:
		return refuse("invalid_metadata_format")
	case len(payload) > maxMetadata:
		return refuse("metadata_too_large")
	case metadata.EventType == "" && len(metadata.EventPayload) == 0:
		m.Metadata = nil
	case metadata.EventType == "":
		return refuse("invalid_metadata_schema")
	default:
		m.Metadata = &metadata
	}
	return nil
}

// botMessage is a new one of the app's.
func (s *Server) botMessage() *message {
	return &message{
		Type: "message", TS: s.world.timestamp(time.Now()),
		User: s.opts.BotUser, BotID: s.opts.BotID, AppID: s.opts.AppID, Team: s.opts.TeamID,
	}
}

func (s *Server) postMessage(c call) (object, error) {
	where, err := s.target(c.arg("channel"))
	if err != nil {
		return nil, err
	}
	m := s.botMessage()
	if err := s.content(m, c.args); err != nil {
		return nil, err
	}
	if m.ThreadTS = c.arg("thread_ts"); m.ThreadTS != "" {
		// A reply to what is gone stands in the channel, as Slack has it.
		if where.find(m.ThreadTS) == nil {
			m.ThreadTS = ""
		}
		m.Broadcast = m.ThreadTS != "" && c.flag("reply_broadcast")
	}
	where.add(m)
	return object{"channel": where.ID, "ts": m.TS, "message": m.public(true)}, nil
}

// maxEphemerals is how many messages for one person's eyes a conversation keeps.
const maxEphemerals = 50

func (s *Server) postEphemeral(c call) (object, error) {
	where, err := s.target(c.arg("channel"))
	if err != nil {
		return nil, err
	}
	if s.user(c.arg("user")) == nil {
		return nil, refuse("user_not_in_channel")
	}
	m := s.botMessage()
	if err := s.content(m, c.args); err != nil {
		return nil, err
	}
	m.Only, m.ThreadTS = c.arg("user"), c.arg("thread_ts")
	s.addEphemeral(where, m)
	return object{"message_ts": m.TS}, nil
}

func (s *Server) addEphemeral(where *conversation, m *message) {
	where.add(m)
	kept := 0
	for i := range slices.Backward(where.Messages) {
		if where.Messages[i].Only == "" {
			continue
		}
		if kept++; kept > maxEphemerals {
			where.Messages = slices.Delete(where.Messages, i, i+1)
		}
	}
}

// own finds a message of the app's by channel id and timestamp.
func (s *Server) own(c call, notMine string) (*conversation, *message, error) {
	where := s.world.byID(c.arg("channel"))
	if where == nil {
		return nil, nil, refuse("channel_not_found")
	}
	m := where.find(c.arg("ts"))
	if m == nil {
		return nil, nil, refuse("message_not_found")
	}
	if m.User != s.opts.BotUser {
		return nil, nil, refuse(notMine)
	}
	return where, m, nil
}

func (s *Server) updateMessage(c call) (object, error) {
	where, m, err := s.own(c, "cant_update_message")
	if err != nil {
		return nil, err
	}
	edited := *m
	if err := s.content(&edited, c.args); err != nil {
		return nil, err
	}
	edited.Edited = &slack.Edited{User: s.opts.BotUser, Timestamp: s.world.timestamp(time.Now())}
	*m = edited
	return object{"channel": where.ID, "ts": m.TS, "text": m.Text, "message": m.public(true)}, nil
}

func (s *Server) deleteMessage(c call) (object, error) {
	where, m, err := s.own(c, "cant_delete_message")
	if err != nil {
		return nil, err
	}
	where.remove(m.TS)
	return object{"channel": where.ID, "ts": m.TS}, nil
}

func (s *Server) permalink(c call) (object, error) {
	where := s.world.byID(c.arg("channel"))
	if where == nil {
		return nil, refuse("channel_not_found")
	}
	m := where.find(c.arg("message_ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	return object{"channel": where.ID, "permalink": s.pageOf(where.ID, m)}, nil
}

// pageOf is where people read a message.
func (s *Server) pageOf(channel string, m *message) string {
	if m.reply() {
		return fmt.Sprintf("%s/client/%s?thread=%s#m%s", s.url, channel, m.ThreadTS, m.TS)
	}
	return fmt.Sprintf("%s/client/%s#m%s", s.url, channel, m.TS)
}
