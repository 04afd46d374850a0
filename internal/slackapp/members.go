package slackapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/slack-go/slack"
	"golang.org/x/sync/singleflight"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// channelSlack is the way by which decisions come from here, and the method by
// which their makers are known.
const channelSlack = "slack"

// How long it is remembered what Slack said of a member: of one that it can
// speak for, and of one that must be refused. Whether the company still employs
// them is the directory's to say, each time.
const (
	memberFor  = 2 * time.Minute
	refusedFor = 30 * time.Second
	mostKnown  = 10_000
)

// memberError says why somebody in Slack may do nothing here.
type memberError struct{ reasons []string }

func (e *memberError) Error() string { return strings.Join(e.reasons, "; ") }

// members finds out who is behind members of the workspaces.
type members struct {
	app   *App
	known *lru.Cache[string, known]
	asked singleflight.Group
}

// known is what Slack said of a member: an e-mail address, or reasons to refuse.
type known struct {
	email   string
	reasons []string
	until   time.Time
}

func newMembers(a *App) *members {
	cache, err := lru.New[string, known](mostKnown)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &members{app: a, known: cache}
}

// identity is the person behind a member, as the company's directory knows them
// now. The error is a *memberError if the member must be refused; others are
// technical, and nothing is known.
func (m *members) identity(ctx context.Context, in input) (auth.Identity, error) {
	who, err := m.member(ctx, in)
	if err != nil {
		return auth.Identity{}, err
	}
	if len(who.reasons) > 0 {
		return auth.Identity{}, &memberError{who.reasons}
	}
	person, err := m.app.Directory.ByEmail(ctx, who.email)
	if unknown(err) {
		return auth.Identity{}, &memberError{[]string{fmt.Sprintf("the company's directory has nobody, or not exactly one person, with the e-mail address %s of this Slack account", who.email)}}
	}
	if err != nil {
		return auth.Identity{}, fmt.Errorf("the company's directory can't be asked who you are: %w", err)
	}
	if !person.Active {
		return auth.Identity{}, &memberError{[]string{fmt.Sprintf("%s is deactivated in the company's directory", person.Display())}}
	}
	return auth.Identity{
		Subject: withAlias(person.Subject, who.email),
		Authn:   signals.Authentication{Method: channelSlack, Channel: channelSlack, Account: in.account(), At: m.app.Now().UTC()},
	}, nil
}

// unknown reports whether a directory says that it knows nobody.
func unknown(err error) bool {
	u, ok := errors.AsType[interface {
		error
		Unknown() bool
	}](err)
	return ok && u.Unknown()
}

// withAlias has the address that was used among the person's, so that separation
// of duties sees it whatever the directory lists.
func withAlias(s signals.Subject, email string) signals.Subject {
	same := func(a string) bool { return strings.EqualFold(a, email) }
	if !same(s.Email) && !slices.ContainsFunc(s.Aliases, same) {
		s.Aliases = append(slices.Clone(s.Aliases), email)
	}
	return s
}

// member is what Slack says of who did something, from memory if that is fresh.
// Of many who ask at once one does.
func (m *members) member(ctx context.Context, in input) (known, error) {
	key := in.account()
	if k, ok := m.known.Get(key); ok && m.app.Now().Before(k.until) {
		return k, nil
	}
	result := m.asked.DoChan(key, func() (any, error) {
		// Whoever came first asks for all; its own hanging up isn't theirs.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		return m.ask(ctx, in)
	})
	select {
	case r := <-result:
		k, ok := r.Val.(known)
		if r.Err != nil || !ok {
			return known{}, r.Err
		}
		return k, nil
	case <-ctx.Done():
		return known{}, fmt.Errorf("no answer of Slack in time about who you are: %w", ctx.Err())
	}
}

func (m *members) ask(ctx context.Context, in input) (known, error) {
	user, err := m.app.api.GetUserInfoContext(ctx, in.User)
	failed := fault("users.info", in.account(), err)
	k := known{until: m.app.Now().Add(refusedFor)}
	switch {
	case hasCode(failed, "user_not_found"), hasCode(failed, "user_not_visible"):
		k.reasons = []string{"Slack knows no such member of the workspace"}
	case failed != nil:
		return known{}, failed
	default:
		k.reasons = m.objections(*user, in)
	}
	if len(k.reasons) == 0 {
		k.email, k.until = user.Profile.Email, m.app.Now().Add(memberFor)
	}
	m.known.Add(in.account(), k)
	return k, nil
}

// objections are all the reasons why a member can't speak for a person of the
// company.
func (m *members) objections(u slack.User, in input) []string {
	var reasons []string
	object := func(applies bool, reason string) {
		if applies {
			reasons = append(reasons, reason)
		}
	}
	object(u.ID != in.User, fmt.Sprintf("Slack answered about another member, %q", u.ID))
	object(!m.app.ours(u.TeamID) && !slices.ContainsFunc(u.Enterprise.Teams, m.app.ours) || u.IsStranger,
		fmt.Sprintf("this account is of another workspace (%s)", u.TeamID))
	object(u.Deleted, "this account is deactivated in Slack")
	object(u.IsBot || u.IsAppUser || u.IsWorkflowBot || u.IsConnectorBot || u.ID == "USLACKBOT", "this account is a bot's")
	object(u.IsRestricted || u.IsUltraRestricted, "this account is a guest's")
	object(u.IsInvitedUser, "this account was invited and not yet taken up")
	if len(reasons) > 0 {
		return reasons
	}
	object(u.Profile.Email == "", "Slack tells no e-mail address of this account; has the app the scope users:read.email?")
	object(!u.IsEmailConfirmed, "the e-mail address of this account is not confirmed")
	return reasons
}
