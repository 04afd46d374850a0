package slackapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"unicode/utf8"
)

// The interactions that the app takes; it asks for no others.
const (
	typeActions    = "block_actions"
	typeSubmission = "view_submission"
	typeClosed     = "view_closed"
)

// input is what somebody did in Slack, as far as the app uses it.
type input struct {
	Type       string
	App        string
	Team       string
	User       string
	UserTeam   string
	OrgInstall bool
	Trigger    string
	Action     action // of block_actions
	View       view   // of view_submission
	Slash      *slash // of a slash command
}

type action struct {
	ID    string
	Value string
}

type view struct {
	ID        string
	Hash      string
	Callback  string
	Metadata  string
	Rationale string
}

type slash struct {
	Command string
	Text    string
}

// account names the member as records do: team/user.
func (in input) account() string { return in.Team + "/" + in.User }

// about is what the input is about, as far as that can be read.
func (in input) about() subject {
	text := in.Action.Value
	if in.Type == typeSubmission {
		text = in.View.Metadata
	}
	about, err := readSubject(text)
	if err != nil {
		return subject{}
	}
	return about
}

// Bounds of what is read. Ids of Slack are capitals and digits.
var slackID = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)

const (
	maxOpaque = 256  // trigger and view ids, hashes
	maxText   = 4000 // of a slash command
	maxValue  = 3000 // Slack's bound of private metadata
)

// payload is Slack's JSON of an interaction. What isn't listed is not looked at.
type payload struct {
	Type string `json:"type"`
	App  string `json:"api_app_id"`
	Team *struct {
		ID string `json:"id"`
	} `json:"team"`
	User struct {
		ID   string `json:"id"`
		Team string `json:"team_id"`
	} `json:"user"`
	Org     bool   `json:"is_enterprise_install"`
	Trigger string `json:"trigger_id"`
	Actions []struct {
		ID    string `json:"action_id"`
		Value string `json:"value"`
	} `json:"actions"`
	View *struct {
		ID       string `json:"id"`
		Hash     string `json:"hash"`
		Callback string `json:"callback_id"`
		Metadata string `json:"private_metadata"`
		State    *struct {
			Values map[string]map[string]struct {
				Value string `json:"value"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// interactionForm reads the body of an interaction: a form with one field.
func interactionForm(body []byte) (input, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return input{}, errors.New("the body is not a form")
	}
	if len(form["payload"]) != 1 {
		return input{}, fmt.Errorf("the form has %d fields \"payload\", want one", len(form["payload"]))
	}
	return readInteraction([]byte(form.Get("payload")))
}

// readInteraction reads an interaction and checks the form of all that is used.
func readInteraction(raw []byte) (input, error) {
	var p payload
	if err := json.Unmarshal(raw, &p); err != nil {
		return input{}, fmt.Errorf("the payload is not JSON of an interaction: %w", err)
	}
	in := input{Type: p.Type, App: p.App, User: p.User.ID, UserTeam: p.User.Team, OrgInstall: p.Org, Trigger: p.Trigger}
	if p.Team != nil {
		in.Team = p.Team.ID
	}
	switch p.Type {
	case typeActions:
		if len(p.Actions) != 1 {
			return input{}, fmt.Errorf("the payload has %d actions, want one", len(p.Actions))
		}
		in.Action = action{ID: p.Actions[0].ID, Value: p.Actions[0].Value}
	case typeSubmission:
		if p.View == nil {
			return input{}, errors.New("the payload has no view")
		}
		in.View = view{ID: p.View.ID, Hash: p.View.Hash, Callback: p.View.Callback, Metadata: p.View.Metadata}
		if p.View.State != nil {
			in.View.Rationale = p.View.State.Values[blockRationale][actionRationale].Value
		}
	case typeClosed:
	default:
		return input{}, fmt.Errorf("interactions of type %q are not taken", clip(p.Type, 40))
	}
	return in, in.check()
}

// commandForm reads the body of a slash command.
func commandForm(body []byte) (input, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return input{}, errors.New("the body is not a form")
	}
	for name, values := range form {
		if len(values) != 1 {
			return input{}, fmt.Errorf("the form has %d fields %q", len(values), clip(name, 40))
		}
	}
	in := input{
		App: form.Get("api_app_id"), Team: form.Get("team_id"), User: form.Get("user_id"),
		OrgInstall: form.Get("is_enterprise_install") == "true", Trigger: form.Get("trigger_id"),
		Slash: &slash{Command: form.Get("command"), Text: form.Get("text")},
	}
	return in, in.check()
}

// readCommand reads a slash command as Socket Mode brings it, in JSON.
func readCommand(raw []byte) (input, error) {
	var p struct {
		App     string `json:"api_app_id"`
		Team    string `json:"team_id"`
		User    string `json:"user_id"`
		Org     any    `json:"is_enterprise_install"` // true or "true"
		Trigger string `json:"trigger_id"`
		Command string `json:"command"`
		Text    string `json:"text"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return input{}, fmt.Errorf("the payload is not JSON of a slash command: %w", err)
	}
	in := input{
		App: p.App, Team: p.Team, User: p.User, OrgInstall: p.Org == true || p.Org == "true", Trigger: p.Trigger,
		Slash: &slash{Command: p.Command, Text: p.Text},
	}
	return in, in.check()
}

// check bounds and checks all that is used of an input. An organisation's input
// may name no workspace; that is judged with the allow-list.
func (in input) check() error {
	for name, id := range map[string]string{"api_app_id": in.App, "team": in.Team, "user": in.User, "user's team": in.UserTeam} {
		if id != "" && !slackID.MatchString(id) {
			return fmt.Errorf("%s %q is not an id of Slack", name, clip(id, 40))
		}
	}
	if in.User == "" {
		return errors.New("it names no user")
	}
	for _, field := range []struct {
		name, text string
		most       int
	}{
		{"trigger", in.Trigger, maxOpaque}, {"view id", in.View.ID, maxOpaque}, {"view hash", in.View.Hash, maxOpaque},
		{"callback id", in.View.Callback, maxOpaque}, {"action id", in.Action.ID, maxOpaque}, {"button's value", in.Action.Value, maxValue},
		{"view's metadata", in.View.Metadata, maxValue}, {"rationale", in.View.Rationale, utf8.UTFMax * maxRationale},
	} {
		if len(field.text) > field.most {
			return fmt.Errorf("its %s is %d bytes; at most %d are read", field.name, len(field.text), field.most)
		}
		if !utf8.ValidString(field.text) {
			return fmt.Errorf("its %s is not UTF-8", field.name)
		}
	}
	if in.Slash != nil && (len(in.Slash.Text) > maxText || !utf8.ValidString(in.Slash.Text)) {
		return fmt.Errorf("its text is not UTF-8 of at most %d bytes", maxText)
	}
	return nil
}
