package slackemu

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// maxStack is how many modals lie on each other.
const maxStack = 3

// view is an open modal.
type view struct {
	ID              string                 `json:"id"`
	TeamID          string                 `json:"team_id"`
	Type            slack.ViewType         `json:"type"`
	Title           *slack.TextBlockObject `json:"title"`
	Submit          *slack.TextBlockObject `json:"submit"`
	Close           *slack.TextBlockObject `json:"close"`
	Blocks          slack.Blocks           `json:"blocks"`
	PrivateMetadata string                 `json:"private_metadata"`
	CallbackID      string                 `json:"callback_id"`
	State           viewState              `json:"state"`
	Hash            string                 `json:"hash"`
	ClearOnClose    bool                   `json:"clear_on_close"`
	NotifyOnClose   bool                   `json:"notify_on_close"`
	RootViewID      string                 `json:"root_view_id"`
	PreviousViewID  *string                `json:"previous_view_id"`
	ExternalID      string                 `json:"external_id"`
	AppID           string                 `json:"app_id"`
	BotID           string                 `json:"bot_id"`

	user    string
	entered map[string][]string // by action id, what the person has typed
	faults  map[string]string   // by block id, what the app found wrong
	lost    string              // why the last submission did not arrive
}

// snapshot is the view as Slack sends it, at this moment.
func (v *view) snapshot() json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("slackemu: a view that was read from JSON can't be written: %v", err))
	}
	return raw
}

// viewState is what inputs hold, by block and action.
type viewState struct {
	Values map[string]map[string]object `json:"values"`
}

// trigger is a permission to open one modal for somebody who just clicked.
type trigger struct {
	user  string
	until time.Time
	used  bool
	view  string // the view that it opened
}

// triggerTime is how long a trigger is good.
const triggerTime = 3 * time.Second

func (s *Server) newTrigger(user string) string {
	now := time.Now()
	for id, t := range s.triggers {
		if now.After(t.until.Add(time.Minute)) {
			delete(s.triggers, id)
		}
	}
	s.nextID++
	id := fmt.Sprintf("%d.%d.%x", now.UnixMilli(), s.nextID, now.UnixNano())
	s.triggers[id] = &trigger{user: user, until: now.Add(triggerTime)}
	return id
}

func (s *Server) takeTrigger(id string) (*trigger, error) {
	t := s.triggers[id]
	switch {
	case t == nil:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case time.Now().After(t.until):
		return nil, refuse("expired_trigger_id")
	}
	return t, nil
}

// parseView reads a modal and checks it against Slack's limits.
func (s *Server) parseView(raw string) (*view, error) {
	var asked slack.ModalViewRequest
	if err := json.Unmarshal([]byte(raw), &asked); err != nil {
		return nil, refuse("invalid_arguments", "[ERROR] view: "+err.Error())
	}
	c := checker{files: s.world.Files}
	if asked.Type != slack.VTModal {
		c.add("/view/type", "unsupported type here: %s", asked.Type)
	}
	c.text("/view/title", asked.Title, true, 24)
	for at, t := range map[string]*slack.TextBlockObject{"/view/submit": asked.Submit, "/view/close": asked.Close} {
		if t != nil {
			c.text(at, t, true, 24)
		}
	}
	c.length("/view/private_metadata", asked.PrivateMetadata, 3000)
	c.length("/view/callback_id", asked.CallbackID, 255)
	for _, found := range controls(asked.Blocks) {
		if found.Input != nil && asked.Submit == nil {
			c.add("/view/submit", "missing required field, since there is an input block")
			break
		}
	}
	if utf8.RuneCountInString(raw) > 250_000 {
		return nil, refuse("view_too_large")
	}
	if len(c.wrong) > 0 {
		return nil, refuse("invalid_arguments", c.wrong...)
	}
	blocks, err := json.Marshal(asked.Blocks)
	if err != nil {
		return nil, refuse("invalid_arguments", err.Error())
	}
	parsed, err := s.parseBlocks(string(blocks), modalSurface)
	if err != nil {
		return nil, &fault{code: "invalid_arguments", messages: err.(*fault).messages} //nolint:errorlint,forcetypeassert // parseBlocks gives no other
	}
	return &view{
		TeamID: s.opts.TeamID, Type: asked.Type, Title: asked.Title, Submit: asked.Submit, Close: asked.Close, Blocks: parsed,
		PrivateMetadata: asked.PrivateMetadata, CallbackID: asked.CallbackID, ClearOnClose: asked.ClearOnClose,
		NotifyOnClose: asked.NotifyOnClose, ExternalID: asked.ExternalID, AppID: s.opts.AppID, BotID: s.opts.BotID,
		State: viewState{Values: map[string]map[string]object{}},
	}, nil
}

// show puts a view on top of what a person has open.
func (s *Server) show(v *view, user string) {
	v.ID, v.user = s.id("V"), user
	s.rehash(v)
	v.RootViewID = v.ID
	if stack := s.open[user]; len(stack) > 0 {
		v.RootViewID = s.views[stack[0]].ID
		previous := stack[len(stack)-1]
		v.PreviousViewID = &previous
	}
	s.views[v.ID] = v
	s.open[user] = append(s.open[user], v.ID)
}

func (s *Server) rehash(v *view) {
	s.nextID++
	v.Hash = fmt.Sprintf("%d.%08x", time.Now().Unix(), s.nextID)
}

// openView opens a modal. Whatever the person still had open goes: a click on a
// message begins anew.
func (s *Server) openView(c call) (object, error) {
	t, err := s.takeTrigger(c.arg("trigger_id"))
	if err != nil {
		return nil, err
	}
	v, err := s.parseView(c.arg("view"))
	if err != nil {
		return nil, err
	}
	s.closeAll(t.user)
	s.show(v, t.user)
	t.used, t.view = true, v.ID
	return object{"view": v.snapshot()}, nil
}

func (s *Server) pushView(c call) (object, error) {
	t, err := s.takeTrigger(c.arg("trigger_id"))
	if err != nil {
		return nil, err
	}
	if len(s.open[t.user]) >= maxStack {
		return nil, refuse("push_limit_reached")
	}
	v, err := s.parseView(c.arg("view"))
	if err != nil {
		return nil, err
	}
	s.show(v, t.user)
	t.used, t.view = true, v.ID
	return object{"view": v.snapshot()}, nil
}

func (s *Server) updateView(c call) (object, error) {
	id := c.arg("view_id")
	if external := c.arg("external_id"); external != "" {
		for _, v := range s.views {
			if v.ExternalID == external {
				id = v.ID
			}
		}
	}
	v := s.views[id]
	if v == nil {
		return nil, refuse("not_found")
	}
	if hash := c.arg("hash"); hash != "" && hash != v.Hash {
		return nil, refuse("hash_conflict")
	}
	fresh, err := s.parseView(c.arg("view"))
	if err != nil {
		return nil, err
	}
	s.replace(v, fresh)
	return object{"view": v.snapshot()}, nil
}

// replace gives an open view other content, and keeps what was typed.
func (s *Server) replace(v, fresh *view) {
	fresh.ID, fresh.user, fresh.RootViewID, fresh.PreviousViewID = v.ID, v.user, v.RootViewID, v.PreviousViewID
	fresh.entered = v.entered
	*v = *fresh
	s.rehash(v)
}

// closeTop closes the view that is on top, closeAll all of a person's.
func (s *Server) closeTop(user string) {
	if stack := s.open[user]; len(stack) > 0 {
		delete(s.views, stack[len(stack)-1])
		s.open[user] = stack[:len(stack)-1]
	}
}

func (s *Server) closeAll(user string) {
	for _, id := range s.open[user] {
		delete(s.views, id)
	}
	delete(s.open, user)
}

// topView is what a person sees, nil for none.
func (s *Server) topView(user string) *view {
	if stack := s.open[user]; len(stack) > 0 {
		return s.views[stack[len(stack)-1]]
	}
	return nil
}
