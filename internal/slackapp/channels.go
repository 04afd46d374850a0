package slackapp

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/slack-go/slack"
)

// channelID is a channel's id as Slack gives them out; a name has no capitals.
var channelID = regexp.MustCompile(`^[CG][A-Z0-9]{5,}$`)

// channelPages bounds how many pages of channels are looked through for a name.
const channelPages = 50

// channel is the id of the channel that the catalog names, by "#name", "name" or
// id. Names are looked up once: a channel keeps its id when it is renamed.
func (m *Messenger) channel(ctx context.Context, name string) (string, error) {
	if channelID.MatchString(name) {
		return name, nil
	}
	name = strings.TrimPrefix(name, "#")
	m.mu.Lock()
	id := m.channels[name]
	m.mu.Unlock()
	if id != "" {
		return id, nil
	}
	cursor := ""
	for range channelPages {
		list, next, err := m.channelPage(ctx, cursor)
		if err != nil {
			return "", err
		}
		m.mu.Lock()
		for _, c := range list {
			m.channels[c.Name] = c.ID
		}
		id = m.channels[name]
		m.mu.Unlock()
		if cursor = next; id != "" || cursor == "" {
			break
		}
	}
	if id == "" {
		return "", &Error{Method: "conversations.list", On: "#" + name, Code: "channel_not_found", cause: errors.New("channel_not_found")}
	}
	return id, nil
}

func (m *Messenger) channelPage(ctx context.Context, cursor string) ([]slack.Channel, string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, next, err := m.api.GetConversationsContext(ctx, &slack.GetConversationsParameters{
		Cursor: cursor, Limit: pageSize, ExcludeArchived: true, Types: []string{"public_channel", "private_channel"},
	})
	return list, next, fault("conversations.list", "", err)
}
