package slackemu

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// message is one as Slack gives it in histories, callbacks and answers.
type message struct {
	Type         string               `json:"type"`
	Subtype      string               `json:"subtype,omitempty"`
	TS           string               `json:"ts"`
	User         string               `json:"user,omitempty"`
	BotID        string               `json:"bot_id,omitempty"`
	AppID        string               `json:"app_id,omitempty"`
	Team         string               `json:"team,omitempty"`
	Text         string               `json:"text"`
	Blocks       slack.Blocks         `json:"blocks,omitzero"`
	Files        []file               `json:"files,omitempty"`
	Edited       *slack.Edited        `json:"edited,omitempty"`
	Metadata     *slack.SlackMetadata `json:"metadata,omitempty"`
	ThreadTS     string               `json:"thread_ts,omitempty"`
	ParentUserID string               `json:"parent_user_id,omitempty"`
	ReplyCount   int                  `json:"reply_count,omitempty"`
	LatestReply  string               `json:"latest_reply,omitempty"`
	// Broadcast replies are shown in the channel too; Only is who an ephemeral
	// message is for. Slack tells neither in this form.
	Broadcast bool   `json:"x_broadcast,omitempty"`
	Only      string `json:"x_only,omitempty"`
}

// reply tells a message in a thread from one that stands in the channel.
func (m *message) reply() bool { return m.ThreadTS != "" && m.ThreadTS != m.TS }

// public is the message as the API gives it: metadata only where asked for.
func (m *message) public(metadata bool) message {
	shown := *m
	shown.Broadcast, shown.Only = false, ""
	if m.Broadcast {
		shown.Subtype = "thread_broadcast"
	}
	if !metadata {
		shown.Metadata = nil
	}
	return shown
}

// conversation is a channel, or a direct message of the bot to IM.
type conversation struct {
	Channel
	IM       string     `json:"im,omitempty"`
	Messages []*message `json:"messages"`
}

func (c *conversation) find(ts string) *message {
	for _, m := range c.Messages {
		if m.TS == ts && m.Only == "" {
			return m
		}
	}
	return nil
}

func (c *conversation) remove(ts string) {
	c.Messages = slices.DeleteFunc(c.Messages, func(m *message) bool { return m.TS == ts })
}

// thread lists the message at ts and the replies to it, oldest first.
func (c *conversation) thread(ts string) []*message {
	var all []*message
	for _, m := range c.Messages {
		if m.Only == "" && (m.TS == ts || m.ThreadTS == ts) {
			all = append(all, m)
		}
	}
	return all
}

// add appends a message and keeps count in its thread's parent.
func (c *conversation) add(m *message) {
	c.Messages = append(c.Messages, m)
	if parent := c.find(m.ThreadTS); parent != nil && m.reply() && m.Only == "" {
		parent.ThreadTS = parent.TS
		parent.ReplyCount++
		parent.LatestReply = m.TS
		m.ParentUserID = parent.User
	}
}

// file is an uploaded one. Bytes are nil until the upload.
type file struct {
	ID         string `json:"id"`
	Created    int64  `json:"created"`
	Name       string `json:"name"`
	Title      string `json:"title"`
	Mimetype   string `json:"mimetype"`
	Filetype   string `json:"filetype"`
	User       string `json:"user"`
	Size       int    `json:"size"`
	Mode       string `json:"mode"`
	AltText    string `json:"alt_txt,omitempty"`
	URLPrivate string `json:"url_private"`
	Permalink  string `json:"permalink"`

	// raw is what was uploaded; with Options.File it is on disk instead, and
	// there is true.
	raw   []byte
	There bool `json:"x_there,omitempty"`
}

// public is the file as the API gives it.
func (f *file) public() file {
	shown := *f
	shown.There, shown.raw = false, nil
	return shown
}

// world is what is kept from one start to the next.
type world struct {
	Conversations []*conversation  `json:"conversations"`
	Files         map[string]*file `json:"files"`
	// Last is the microsecond of the newest timestamp, which no two share.
	Last int64 `json:"last"`
}

func newWorld(channels []Channel) world {
	w := world{Files: map[string]*file{}}
	for _, channel := range channels {
		w.Conversations = append(w.Conversations, &conversation{Channel: channel})
	}
	return w
}

// timestamp makes the next message id: seconds with six digits, ever growing.
func (w *world) timestamp(now time.Time) string {
	w.Last = max(w.Last+1, now.UnixMicro())
	return fmt.Sprintf("%d.%06d", w.Last/1e6, w.Last%1e6)
}

// byID finds a conversation by id, the only form that most methods take.
func (w *world) byID(id string) *conversation {
	for _, c := range w.Conversations {
		if c.ID == id && id != "" {
			return c
		}
	}
	return nil
}

// byName finds a conversation by id or by name, with or without the #.
func (w *world) byName(name string) *conversation {
	if c := w.byID(name); c != nil {
		return c
	}
	for _, c := range w.Conversations {
		if c.Name != "" && c.Name == strings.TrimPrefix(name, "#") {
			return c
		}
	}
	return nil
}

// direct is the bot's conversation with a user.
func (w *world) direct(user string) *conversation {
	id := "D" + strings.TrimPrefix(user, "U")
	if c := w.byID(id); c != nil {
		return c
	}
	c := &conversation{Channel: Channel{ID: id, Member: true}, IM: user}
	w.Conversations = append(w.Conversations, c)
	return c
}

// restore reads a snapshot, and adds the channels that it does not have.
func restore(raw []byte, channels []Channel) (world, error) {
	w := newWorld(nil)
	if err := json.Unmarshal(raw, &w); err != nil {
		return w, err
	}
	for _, channel := range channels {
		if w.byID(channel.ID) == nil {
			w.Conversations = append(w.Conversations, &conversation{Channel: channel})
		}
	}
	return w, nil
}
