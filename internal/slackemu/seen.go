package slackemu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// await waits until something has come about, or a few seconds. The condition
// is asked with the lock held.
func (s *Server) await(ctx context.Context, come func() bool) {
	ctx, cancel := context.WithTimeout(ctx, whatFollows)
	defer cancel()
	for {
		s.mu.Lock()
		done, changed := come(), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		case <-changed:
		}
	}
}

// news are the messages for a user's eyes only since the timestamp.
func (s *Server) news(user string, since int64) []*message {
	after := fmt.Sprintf("%d.%06d", since/1e6, since%1e6)
	var found []*message
	for _, c := range s.world.Conversations {
		for _, m := range slices.Backward(c.Messages) {
			if m.TS <= after {
				break
			}
			if m.Only == user {
				found = append(found, m)
			}
		}
	}
	slices.Reverse(found)
	return found
}

// seen adds to what a person has met what is on the screen now.
func (s *Server) seen(user string, since int64, seen Seen) Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.news(user, since) {
		seen.Messages = append(seen.Messages, m.plain())
	}
	if v := s.topView(user); v != nil {
		seen.View = v.public()
		if v.lost != "" {
			seen.Warning = v.lost
		}
	}
	return seen
}

func (v *view) public() *View {
	shown := &View{ID: v.ID, Title: v.Title.Text, Text: plainText(v.Blocks), Errors: v.faults}
	if v.Submit != nil {
		shown.Submit = v.Submit.Text
	}
	for _, c := range controls(v.Blocks) {
		if c.Input != nil {
			shown.Inputs = append(shown.Inputs, c.ActionID)
		}
	}
	return shown
}

// plain is what a message says: its blocks, or its text if it has none.
func (m *message) plain() string {
	if len(m.Blocks.BlockSet) > 0 {
		return plainText(m.Blocks)
	}
	return m.Text
}

// plainText is what blocks say, a line each, in mrkdwn as the app wrote it.
func plainText(blocks slack.Blocks) string {
	var lines []string
	add := func(t *slack.TextBlockObject) {
		if t != nil && t.Text != "" {
			lines = append(lines, t.Text)
		}
	}
	for _, block := range blocks.BlockSet {
		switch b := block.(type) {
		case *slack.HeaderBlock:
			add(b.Text)
		case *slack.SectionBlock:
			add(b.Text)
			for _, field := range b.Fields {
				add(field)
			}
		case *slack.ContextBlock:
			for _, element := range b.ContextElements.Elements {
				if t, ok := element.(*slack.TextBlockObject); ok {
					add(t)
				}
			}
		case *slack.ImageBlock:
			lines = append(lines, b.AltText)
		case *slack.InputBlock:
			add(b.Label)
		case *slack.MarkdownBlock:
			lines = append(lines, b.Text)
		}
	}
	return strings.Join(lines, "\n")
}

// at is when a message was posted.
func at(ts string) time.Time {
	var seconds, micros int64
	if _, err := fmt.Sscanf(ts, "%d.%d", &seconds, &micros); err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, micros*1000)
}
