package slackapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// Desk is where decisions and commands go, and where is asked how things stand.
type Desk interface {
	Release(ctx context.Context, release string) (signals.Status, error)
	List(ctx context.Context, f desk.Filter) ([]wire.Row, string, error)
	Decide(ctx context.Context, who auth.Identity, dec desk.Decision) (signals.Receipt, error)
	LaneCommand(ctx context.Context, who auth.Identity, c desk.LaneCommand) (signals.Receipt, error)
	// Refuse writes down what was refused. It never blocks.
	Refuse(r desk.Refusal)
}

// Directory knows the company's people. An error that means that it knows
// nobody, or more than one, has a method Unknown; others are technical.
type Directory interface {
	ByEmail(ctx context.Context, email string) (signals.Person, error)
}

// AppOptions is what an App is made of.
type AppOptions struct {
	// Token is the app's bot token, AppToken its app-level one; that is needed
	// for Socket Mode alone.
	Token, AppToken string
	// SigningSecret proves that requests are Slack's; for HTTP alone.
	SigningSecret string
	// APIURL is the base of Slack's Web API; Slack's own if empty.
	APIURL string
	// Teams are the workspaces, by id, whose members are listened to; App is the
	// id of the app that they must be speaking to.
	Teams []string
	App   string
	// Gateway is the public address of the gateway's pages.
	Gateway   string
	Desk      Desk
	Directory Directory
	Now       func() time.Time
	Log       *slog.Logger
}

// App takes what people do in Slack. As an http.Handler it serves POST
// /slack/interactions and POST /slack/commands; Run takes the same from Socket
// Mode. It is safe for concurrent use.
type App struct {
	AppOptions
	api     *slack.Client
	members *members
	mux     *http.ServeMux
}

// NewApp checks the options and makes an App. It makes no call.
func NewApp(o AppOptions) (*App, error) {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("slack: "+format, args...))
		}
	}
	need(o.Token != "", "botToken is needed, to ask who a member is and to open modals")
	need(o.SigningSecret != "" || o.AppToken != "", "signingSecret is needed to take requests over HTTP, or appToken to take them by Socket Mode")
	need(len(o.Teams) > 0, "teams is needed: the ids (T…) of the workspaces whose members may decide")
	need(o.App != "", "app is needed: the app's id (A…)")
	need(o.Gateway != "", "the gateway's public URL is needed, to lead people to its page")
	need(o.Desk != nil && o.Directory != nil, "a desk and a directory are needed; without a directory nobody in Slack can be told apart")
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{AppOptions: o, api: newClient(o.Token, o.AppToken, o.APIURL), mux: http.NewServeMux()}
	a.members = newMembers(a)
	a.mux.HandleFunc("POST /slack/interactions", a.serve(interactionForm))
	a.mux.HandleFunc("POST /slack/commands", a.serve(commandForm))
	return a, nil
}

// ServeHTTP takes Slack's requests.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// answerWithin is how long an answer may take: Slack gives up after three
// seconds, and tells the person that it did not work.
const answerWithin = 2700 * time.Millisecond

// delivery is how a message of Slack came: from where, by which digest, and
// whether Slack says that it sent it before.
type delivery struct {
	remote string
	digest string
	again  bool
}

// answer is what Slack is told: an HTTP status, and a body in JSON if there is
// one to tell.
type answer struct {
	status int
	body   any
}

var done = answer{status: http.StatusOK}

// handle takes an interaction or a slash command, whichever way it came.
func (a *App) handle(ctx context.Context, in input, d delivery) answer {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if reasons := a.foreign(in); len(reasons) > 0 {
		a.refuse(whatRequest, in, d, reasons...)
		return answer{status: http.StatusForbidden}
	}
	switch {
	case in.Slash != nil:
		return a.slash(ctx, in, d)
	case in.Type == typeSubmission:
		return a.submitted(ctx, in, d)
	case in.Type == typeActions:
		return a.clicked(ctx, in, d)
	}
	return done
}

// What a refusal was about, in the journal.
const (
	whatRequest = "slack-request"
	whatMember  = "slack-user"
)

// foreign tells why an input is not for this installation, if so.
func (a *App) foreign(in input) []string {
	var reasons []string
	if in.App != a.App {
		reasons = append(reasons, fmt.Sprintf("it is for app %q, not for %q", in.App, a.App))
	}
	if !a.ours(in.Team) {
		reasons = append(reasons, fmt.Sprintf("it is of workspace %q, which is not among slack.teams %v", in.Team, a.Teams))
	}
	if in.UserTeam != "" && !a.ours(in.UserTeam) {
		reasons = append(reasons, fmt.Sprintf("its user is a member of workspace %q, which is not among slack.teams %v", in.UserTeam, a.Teams))
	}
	if in.OrgInstall {
		reasons = append(reasons, "it is of an app installed for a whole organisation; install it in the workspaces themselves")
	}
	return reasons
}

func (a *App) ours(team string) bool { return slices.Contains(a.Teams, team) }

// refuse has a refusal written down.
func (a *App) refuse(what string, in input, d delivery, reasons ...string) {
	claimed := ""
	if in.User != "" {
		claimed = in.account()
	}
	a.Desk.Refuse(desk.Refusal{
		What: what, Channel: channelSlack, Reasons: reasons, Claimed: claimed, Remote: d.remote, About: in.about().Release, Message: d.digest,
	})
}
