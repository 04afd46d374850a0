package slackemu

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// Slash is a line that somebody types into a channel: a command such as
// "/waybill list", or a message.
type Slash struct {
	User    string `json:"user"`
	Channel string `json:"channel"`
	Text    string `json:"text"`
}

// Type enters the line and returns what the user then sees.
func (s *Server) Type(line Slash) (Seen, error) {
	s.mu.Lock()
	who, where := s.user(line.User), s.world.byName(line.Channel)
	if who == nil || where == nil {
		s.mu.Unlock()
		return Seen{}, fmt.Errorf("no user %q or no channel %q", line.User, line.Channel)
	}
	if !strings.HasPrefix(line.Text, "/") {
		where.add(&message{Type: "message", TS: s.world.timestamp(time.Now()), User: who.ID, Team: s.opts.TeamID, Text: line.Text})
		s.touch()
		s.mu.Unlock()
		return Seen{}, nil
	}
	command, text, _ := strings.Cut(line.Text, " ")
	began := s.world.Last
	cb := callback{kind: slashCommands, respond: true, payload: object{
		"token": "deprecated", "team_id": s.opts.TeamID, "team_domain": s.opts.Domain, "channel_id": where.ID, "channel_name": where.Name,
		"user_id": who.ID, "user_name": who.Name, "command": command, "text": strings.TrimSpace(text), "api_app_id": s.opts.AppID,
		"is_enterprise_install": "false", "response_url": s.newAnswer(where.ID, who.ID, nil), "trigger_id": s.newTrigger(who.ID),
	}}
	s.mu.Unlock()
	body, deliveries, err := s.deliver(cb)
	seen := Seen{Deliveries: deliveries}
	if err == nil {
		err = s.slashed(where, who, body)
	}
	if err != nil {
		usual := fmt.Sprintf(noSlash, command)
		if errors.Is(err, context.DeadlineExceeded) {
			usual = fmt.Sprintf(noSlashTime, command)
		}
		seen.Warning = warningOf(err, usual)
		s.opts.Log.Info("command failed", "command", command, "error", err)
	}
	return s.seen(who.ID, began, seen), nil
}

// slashed shows the app's answer to a command: nothing, a text, or a message.
func (s *Server) slashed(where *conversation, who *User, body []byte) error {
	text := strings.TrimSpace(string(body))
	if text == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.touch()
	args := url.Values{"text": {text}}
	if strings.HasPrefix(text, "{") {
		var err error
		if args, err = fields(body); err != nil {
			return err
		}
	}
	return s.respond(&responseURL{channel: where.ID, user: who.ID}, args)
}

// A response URL can be used five times within half an hour.
const (
	responseUses = 5
	responseTime = 30 * time.Minute
)

// responseURL answers an interaction later.
type responseURL struct {
	channel, user string
	message       *message // nil after a command
	until         time.Time
	uses          int
}

func (s *Server) newAnswer(channel, user string, m *message) string {
	now := time.Now()
	for id, a := range s.answers {
		if now.After(a.until) {
			delete(s.answers, id)
		}
	}
	id := s.id("R")
	s.answers[id] = &responseURL{channel: channel, user: user, message: m, until: now.Add(responseTime)}
	return s.url + "/response/" + id
}

func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request) {
	lose, done := s.meddle(w, r, "response_url")
	if done {
		return
	}
	args, err := arguments(r)
	s.mu.Lock()
	a := s.answers[r.PathValue("id")]
	switch {
	case err != nil:
	case a == nil || time.Now().After(a.until):
		err = refuse("expired_url")
	case a.uses >= responseUses:
		err = refuse("used_url")
	default:
		a.uses++
		err = s.respond(a, args)
		s.touch()
	}
	s.mu.Unlock()
	if lose {
		cut(w)
		return
	}
	if err != nil {
		writeJSON(w, http.StatusNotFound, object{"ok": false, "error": err.Error()})
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte("ok"))
}

// respond puts a response where its interaction was: over the message, or below
// it, for the person's eyes only unless it says in_channel.
func (s *Server) respond(a *responseURL, args url.Values) error {
	where := s.world.byID(a.channel)
	if args.Get("delete_original") == "true" && a.message != nil {
		where.remove(a.message.TS)
		return nil
	}
	if args.Get("replace_original") == "true" && a.message != nil {
		edited := *a.message
		if err := s.content(&edited, args); err != nil {
			return err
		}
		edited.Edited = &slack.Edited{User: s.opts.BotUser, Timestamp: s.world.timestamp(time.Now())}
		*a.message = edited
		return nil
	}
	m := s.botMessage()
	if err := s.content(m, args); err != nil {
		return err
	}
	m.ThreadTS = args.Get("thread_ts")
	if args.Get("response_type") == slack.ResponseTypeInChannel {
		where.add(m)
		return nil
	}
	m.Only = a.user
	s.addEphemeral(where, m)
	return nil
}
