package slackemu

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/slack-go/slack"
)

func (c *conversation) view() object {
	return object{
		"id": c.ID, "name": c.Name, "name_normalized": c.Name, "is_channel": c.IM == "", "is_im": c.IM != "", "user": c.IM,
		"is_member": c.Member, "is_archived": false, "is_private": c.IM != "", "is_ext_shared": false, "is_shared": false,
	}
}

func (s *Server) listConversations(c call) (object, error) {
	types := c.arg("types")
	var all []object
	for _, where := range s.world.Conversations {
		kind := "public_channel"
		if where.IM != "" {
			kind = "im"
		}
		if (types == "" && kind == "public_channel") || slices.Contains(strings.Split(types, ","), kind) {
			all = append(all, where.view())
		}
	}
	page, next, err := paged(c, all)
	return object{"channels": page, "response_metadata": object{"next_cursor": next}}, err
}

func (s *Server) conversation(c call) (*conversation, error) {
	if where := s.world.byID(c.arg("channel")); where != nil {
		return where, nil
	}
	return nil, refuse("channel_not_found")
}

func (s *Server) conversationInfo(c call) (object, error) {
	where, err := s.conversation(c)
	if err != nil {
		return nil, err
	}
	return object{"channel": where.view()}, nil
}

func (s *Server) joinConversation(c call) (object, error) {
	where, err := s.conversation(c)
	if err != nil {
		return nil, err
	}
	if where.IM != "" {
		return nil, refuse("method_not_supported_for_channel_type")
	}
	where.Member = true
	return object{"channel": where.view()}, nil
}

// history gives what stands in the channel, newest first.
func (s *Server) history(c call) (object, error) {
	where, err := s.readable(c)
	if err != nil {
		return nil, err
	}
	found := []message{}
	for _, m := range slices.Backward(where.Messages) {
		if m.Only == "" && (!m.reply() || m.Broadcast) && within(c, m.TS) {
			found = append(found, m.public(c.flag("include_all_metadata")))
		}
	}
	return listed(c, found)
}

// replies gives a thread with its parent, oldest first.
func (s *Server) replies(c call) (object, error) {
	where, err := s.readable(c)
	if err != nil {
		return nil, err
	}
	ts := c.arg("ts")
	if m := where.find(ts); m != nil && m.reply() {
		ts = m.ThreadTS
	}
	found := []message{}
	for _, m := range where.thread(ts) {
		if m.TS == ts || within(c, m.TS) {
			found = append(found, m.public(c.flag("include_all_metadata")))
		}
	}
	if len(found) == 0 {
		return nil, refuse("thread_not_found")
	}
	return listed(c, found)
}

func (s *Server) readable(c call) (*conversation, error) {
	where, err := s.conversation(c)
	if err == nil && !where.Member {
		return nil, refuse("not_in_channel")
	}
	return where, err
}

// within tells whether a timestamp is between those of the call. Of one length
// as they all are, they compare as texts.
func within(c call, ts string) bool {
	oldest, latest := c.arg("oldest"), c.arg("latest")
	inclusive := c.flag("inclusive")
	return (oldest == "" || oldest == "0" || ts > oldest || inclusive && ts == oldest) &&
		(latest == "" || ts < latest || inclusive && ts == latest)
}

func listed(c call, found []message) (object, error) {
	page, next, err := paged(c, found)
	return object{
		"messages": page, "has_more": next != "", "pin_count": 0, "response_metadata": object{"next_cursor": next},
	}, err
}

// Slack gives at most 999 entries at once, and 100 if not asked for a number.
const (
	usualLimit = 100
	maxLimit   = 999
)

// paged cuts a page out of all entries; cursors are Slack's in form: opaque.
func paged[T any](c call, all []T) (page []T, next string, err error) {
	limit, from := usualLimit, 0
	if text := c.arg("limit"); text != "" && text != "0" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return nil, "", refuse("invalid_limit")
		}
	}
	if cursor := c.arg("cursor"); cursor != "" {
		raw, err := base64.StdEncoding.DecodeString(cursor)
		if err != nil {
			return nil, "", refuse("invalid_cursor")
		}
		if from, err = strconv.Atoi(strings.TrimPrefix(string(raw), "from:")); err != nil || from < 0 || from > len(all) {
			return nil, "", refuse("invalid_cursor")
		}
	}
	page = all[from:min(len(all), from+limit)]
	if from+limit < len(all) {
		next = base64.StdEncoding.EncodeToString([]byte("from:" + strconv.Itoa(from+limit)))
	}
	return page, next, nil
}

// user finds a user by id or name, nil if there is none.
func (s *Server) user(name string) *User {
	for i, u := range s.users {
		if u.ID == name || u.Name == name {
			return &s.users[i]
		}
	}
	return nil
}

// profile is a user as the API gives it. Strangers and bots have no e-mail
// address for the app to see.
func (s *Server) profile(u User) slack.User {
	team := u.TeamID
	if team == "" {
		team = s.opts.TeamID
	}
	p := slack.User{
		ID: u.ID, TeamID: team, Name: u.Name, RealName: u.Name, Deleted: u.Deactivated, TZ: "Etc/UTC",
		IsBot: u.Bot, IsRestricted: u.Guest, IsStranger: team != s.opts.TeamID, IsEmailConfirmed: !u.Unconfirmed && !u.Bot,
		Profile: slack.UserProfile{RealName: u.Name, DisplayName: u.Name, Team: team},
	}
	if slices.Contains(s.opts.Scopes, "users:read.email") && !u.Bot && !p.IsStranger {
		p.Profile.Email = u.Email
	}
	return p
}

func (s *Server) userInfo(c call) (object, error) {
	if c.arg("user") == s.opts.BotUser {
		return object{"user": s.profile(User{ID: s.opts.BotUser, Name: "waybill", Bot: true})}, nil
	}
	u := s.user(c.arg("user"))
	if u == nil || u.ID != c.arg("user") {
		return nil, refuse("user_not_found")
	}
	return object{"user": s.profile(*u)}, nil
}

func (s *Server) listUsers(c call) (object, error) {
	var all []slack.User
	for _, u := range s.users {
		all = append(all, s.profile(u))
	}
	page, next, err := paged(c, all)
	return object{"members": page, "response_metadata": object{"next_cursor": next}}, err
}

func (s *Server) lookupByEmail(c call) (object, error) {
	for _, u := range s.users {
		p := s.profile(u)
		if !u.Deactivated && !u.Guest && p.Profile.Email != "" && strings.EqualFold(p.Profile.Email, c.arg("email")) {
			return object{"user": p}, nil
		}
	}
	return nil, refuse("users_not_found")
}
