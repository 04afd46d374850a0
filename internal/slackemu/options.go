package slackemu

import (
	"log/slog"
	"strings"

	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

// The ids of the workspace and of the app in it, where Options name no others.
const (
	TeamID = "T0PAYMENTS"
	AppID  = "A0WAYBILL"
)

// Options describe a workspace and the app in it. What is left empty is that of
// the local stack.
type Options struct {
	// URL is where the emulator is reached; "" takes it from the requests.
	URL string
	// TeamID and Domain are the workspace's.
	TeamID, Domain string
	// AppID is the app's, BotUser and BotID those of its bot.
	AppID, BotUser, BotID string
	// BotToken (xoxb-…) and AppToken (xapp-…) authenticate the app,
	// SigningSecret the emulator's callbacks to it.
	BotToken, AppToken, SigningSecret string
	// Interactions and Commands are the app's request URLs. With SocketMode set,
	// or made so later, callbacks go through a socket instead.
	Interactions, Commands string
	SocketMode             bool
	// Scopes are what the app was granted; nil for all that there are.
	Scopes   []string
	Users    []User
	Channels []Channel
	// File keeps messages from one start to the next; "" for nowhere.
	File string
	Log  *slog.Logger
}

// User is somebody in the workspace, or seen from it.
type User struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email,omitempty"`
	// TeamID is another workspace's for a stranger met in a shared channel.
	TeamID      string `json:"teamId,omitempty"`
	Bot         bool   `json:"bot,omitempty"`
	Guest       bool   `json:"guest,omitempty"`
	Deactivated bool   `json:"deactivated,omitempty"`
	// Unconfirmed users have not proven that the e-mail address is theirs.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// Channel is a public channel. The app can post to it if it is a member.
type Channel struct {
	ID     string `json:"id"`
	Name   string `json:"name"` // without the #
	Member bool   `json:"member"`
}

// UserID is the id of the user who has the name.
func UserID(name string) string {
	return "U0" + strings.ToUpper(strings.ReplaceAll(name, "-", ""))
}

// DefaultUsers are the people of the local stack, and those who must be refused
// by a careful app.
func DefaultUsers() []User {
	var users []User
	for _, account := range oidcissuer.Accounts() {
		if !account.Machine {
			users = append(users, User{ID: UserID(account.ID), Name: account.ID, Email: account.Email()})
		}
	}
	for _, u := range []User{
		{Name: "contractor", Email: "release-lead@payments.example", Guest: true},
		{Name: "left-company", Email: "left-company@payments.example", Deactivated: true},
		{Name: "unconfirmed", Email: "risk-officer@payments.example", Unconfirmed: true},
		{Name: "stranger", Email: "release-lead@payments.example", TeamID: "T0PARTNER"},
		{Name: "build-bot", Bot: true},
	} {
		u.ID = UserID(u.Name)
		users = append(users, u)
	}
	return users
}

// DefaultChannels are those of the local stack; the app is no member of general.
func DefaultChannels() []Channel {
	return []Channel{
		{ID: "C0RELEASES", Name: "releases", Member: true},
		{ID: "C0ONCALL", Name: "on-call", Member: true},
		{ID: "C0GENERAL", Name: "general"},
	}
}

func (o *Options) fill() {
	for field, value := range map[*string]string{
		&o.TeamID: TeamID, &o.Domain: "payments", &o.AppID: AppID, &o.BotUser: "U0WAYBILL", &o.BotID: "B0WAYBILL",
		&o.BotToken: "xoxb-emulator", &o.AppToken: "xapp-emulator", &o.SigningSecret: "emulator",
	} {
		if *field == "" {
			*field = value
		}
	}
	if o.Scopes == nil {
		o.Scopes = allScopes()
	}
	if o.Users == nil {
		o.Users = DefaultUsers()
	}
	if o.Channels == nil {
		o.Channels = DefaultChannels()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}
