package slackemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// Seen is what a person sees after having done something.
type Seen struct {
	// Warning is Slack's own word that it did not work, "" if it did.
	Warning string `json:"warning,omitempty"`
	// URL is the page that a link button leads to.
	URL string `json:"url,omitempty"`
	// View is the modal on top now, nil for none.
	View *View `json:"view,omitempty"`
	// Messages are those for the person's eyes only that came meanwhile.
	Messages []string `json:"messages,omitempty"`
	// Deliveries is how often the app was told until it answered.
	Deliveries int `json:"deliveries,omitempty"`
}

// View is an open modal, as far as a person reads and fills it in.
type View struct {
	ID     string            `json:"id"`
	Title  string            `json:"title"`
	Submit string            `json:"submit,omitempty"`
	Text   string            `json:"text"`
	Inputs []string          `json:"inputs,omitempty"` // action ids
	Errors map[string]string `json:"errors,omitempty"` // by block id
}

// Click is a press on a button: of the message at TS in Channel, or of a modal
// named by View. Button is its action id or its text; Block, if not "", the id of
// its block.
type Click struct {
	User    string `json:"user"`
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`
	View    string `json:"view,omitempty"`
	Block   string `json:"block,omitempty"`
	Button  string `json:"button"`
}

// whatFollows bounds the wait for a modal or message after a click.
const whatFollows = triggerTime

// warnings of Slack's client.
const (
	noAnswer    = "This app didn't respond. Try again, or contact the app's owner."
	noSubmit    = "We had some trouble connecting. Try again?"
	noSlash     = "%s failed with the error \"dispatch_failed\""
	noSlashTime = "%s failed with the error \"operation_timeout\""
)

// Press clicks a button as a user, and returns what the user then sees: a
// modal, a message, or a warning that the app did not answer. It waits for the
// first of these a few seconds, except on a link.
func (s *Server) Press(ctx context.Context, c Click) (Seen, error) {
	s.mu.Lock()
	who := s.user(c.User)
	if who == nil {
		s.mu.Unlock()
		return Seen{}, fmt.Errorf("no user %q", c.User)
	}
	cb, found, trigger, err := s.clickOf(who, c)
	began := s.world.Last
	s.mu.Unlock()
	if err != nil {
		return Seen{}, err
	}
	if found.Button.URL != "" {
		// The browser follows the link whether the app answers or not.
		s.work.Go(func() { _, _, _ = s.deliver(cb) })
		return Seen{URL: found.Button.URL}, nil
	}
	_, deliveries, err := s.deliver(cb)
	if err != nil {
		return s.seen(who.ID, began, Seen{Warning: warningOf(err, noAnswer), Deliveries: deliveries}), nil
	}
	s.await(ctx, func() bool { return s.triggers[trigger].used || len(s.news(who.ID, began)) > 0 })
	return s.seen(who.ID, began, Seen{Deliveries: deliveries}), nil
}

func warningOf(err error, usual string) string {
	if errors.Is(err, errDown) {
		return errDown.Error()
	}
	return usual
}

// clickOf makes the callback of a click.
func (s *Server) clickOf(who *User, c Click) (cb callback, found control, trigger string, err error) {
	payload := s.envelope("block_actions", who)
	var blocks slack.Blocks
	if c.View != "" {
		v := s.views[c.View]
		if v == nil || v.user != who.ID {
			return cb, found, "", fmt.Errorf("%s has no view %q open", who.Name, c.View)
		}
		blocks = v.Blocks
		payload["view"], payload["container"] = v.snapshot(), object{"type": "view", "view_id": v.ID}
	} else {
		where := s.world.byName(c.Channel)
		if where == nil {
			return cb, found, "", fmt.Errorf("no channel %q", c.Channel)
		}
		m := where.find(c.TS)
		for _, one := range where.Messages {
			if one.TS == c.TS && one.Only == who.ID {
				m = one
			}
		}
		if m == nil {
			return cb, found, "", fmt.Errorf("no message %q in %s", c.TS, c.Channel)
		}
		blocks = m.Blocks
		container := object{"type": "message", "message_ts": m.TS, "channel_id": where.ID, "is_ephemeral": m.Only != ""}
		if m.ThreadTS != "" {
			container["thread_ts"] = m.ThreadTS
		}
		payload["container"] = container
		payload["channel"] = object{"id": where.ID, "name": where.Name}
		payload["message"] = m.public(true)
		payload["state"] = object{"values": object{}}
		payload["response_url"] = s.newAnswer(where.ID, who.ID, m)
	}
	for _, one := range controls(blocks) {
		named := one.Button != nil && (one.ActionID == c.Button || one.Button.Text.Text == c.Button)
		if named && (c.Block == "" || c.Block == one.BlockID) {
			found = one
			break
		}
	}
	if found.Button == nil {
		return cb, found, "", fmt.Errorf("there is no button %q", c.Button)
	}
	trigger = s.newTrigger(who.ID)
	action := object{
		"type": "button", "action_id": found.ActionID, "block_id": found.BlockID, "text": found.Button.Text,
		"action_ts": s.world.timestamp(time.Now()),
	}
	if found.Button.Value != "" {
		action["value"] = found.Button.Value
	}
	if found.Button.Style != "" {
		action["style"] = found.Button.Style
	}
	if found.Button.URL != "" {
		action["url"] = found.Button.URL
	}
	payload["trigger_id"], payload["actions"] = trigger, []object{action}
	return callback{kind: interactive, payload: payload}, found, trigger, nil
}

// envelope is what every interaction says: who, where, for which app.
func (s *Server) envelope(kind string, who *User) object {
	team := who.TeamID
	if team == "" {
		team = s.opts.TeamID
	}
	return object{
		"type": kind, "api_app_id": s.opts.AppID, "token": "deprecated", "enterprise": nil, "is_enterprise_install": false,
		"team": object{"id": s.opts.TeamID, "domain": s.opts.Domain},
		"user": object{"id": who.ID, "username": who.Name, "name": who.Name, "team_id": team},
	}
}

// Fill submits a modal with the values that its user entered, by action id or
// block id.
func (s *Server) Fill(id string, entered map[string][]string) (Seen, error) {
	s.mu.Lock()
	v := s.views[id]
	if v == nil {
		s.mu.Unlock()
		return Seen{}, fmt.Errorf("no view %q is open", id)
	}
	who, began := s.user(v.user), s.world.Last
	v.lost = ""
	if v.faults = v.fill(entered); len(v.faults) > 0 {
		s.touch()
		s.mu.Unlock()
		return s.seen(who.ID, began, Seen{}), nil
	}
	payload := s.envelope("view_submission", who)
	payload["trigger_id"], payload["view"], payload["response_urls"] = s.newTrigger(who.ID), v.snapshot(), []object{}
	s.mu.Unlock()
	body, deliveries, err := s.deliver(callback{kind: interactive, payload: payload, respond: true})
	s.mu.Lock()
	if err == nil {
		err = s.submitted(id, body)
	}
	if v := s.views[id]; err != nil && v != nil {
		v.lost = warningOf(err, noSubmit)
	}
	s.touch()
	s.mu.Unlock()
	seen := Seen{Deliveries: deliveries}
	if err != nil {
		seen.Warning = warningOf(err, noSubmit)
		s.opts.Log.Info("submission failed", "view", id, "error", err)
	}
	return s.seen(who.ID, began, seen), nil
}

// submitted does what the app answered to a submission.
func (s *Server) submitted(id string, body []byte) error {
	v := s.views[id]
	if v == nil {
		return nil
	}
	var answer struct {
		Action slack.ViewResponseAction `json:"response_action"`
		Errors map[string]string        `json:"errors"`
		View   json.RawMessage          `json:"view"`
	}
	if len(strings.TrimSpace(string(body))) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("the app's answer is no JSON: %w", err)
		}
	}
	switch answer.Action {
	case "":
		s.closeTop(v.user)
	case slack.RAClear:
		s.closeAll(v.user)
	case slack.RAErrors:
		for block := range answer.Errors {
			if v.State.Values[block] == nil {
				return fmt.Errorf("the app's answer names block %q, which is no input", block)
			}
		}
		v.faults = maps.Clone(answer.Errors)
	case slack.RAUpdate:
		fresh, err := s.parseView(string(answer.View))
		if err != nil {
			return err
		}
		s.replace(v, fresh)
		v.entered = nil
	case slack.RAPush:
		fresh, err := s.parseView(string(answer.View))
		if err != nil {
			return err
		}
		if len(s.open[v.user]) >= maxStack {
			return refuse("push_limit_reached")
		}
		s.show(fresh, v.user)
	default:
		return fmt.Errorf("the app's answer has the unknown action %q", answer.Action)
	}
	return nil
}

// Dismiss closes the modal that is on top, and tells the app if it wants that.
func (s *Server) Dismiss(id string) {
	s.mu.Lock()
	v := s.views[id]
	if v == nil {
		s.mu.Unlock()
		return
	}
	payload := s.envelope("view_closed", s.user(v.user))
	payload["view"], payload["is_cleared"] = v.snapshot(), v.ClearOnClose
	if v.ClearOnClose {
		s.closeAll(v.user)
	} else {
		s.closeTop(v.user)
	}
	s.touch()
	s.mu.Unlock()
	if v.NotifyOnClose {
		_, _, _ = s.deliver(callback{kind: interactive, payload: payload})
	}
}
