package slackapp

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// Digests of things in the tests.
var (
	aPlan  = signals.Digest([]byte("plan"))
	anLKG  = signals.Digest([]byte("before"))
	anOCI  = signals.Digest([]byte("image"))
	aStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

const (
	aGateway = "https://waybill.payments.example"
	aRelease = "payments-api-prod-20260302-090000-ab12"
)

// announced is a release that waits for two people.
func announced() signals.Announcement {
	expires := aStart.Add(4 * time.Hour)
	quorum := signals.Quorum{Groups: []signals.GroupQuorum{{Group: "payments-leads", Count: 1}, {Group: "risk", Count: 1}}}
	return signals.Announcement{
		Release: aRelease, Run: "0195-run", Service: "payments-api", Environment: "prod", Tier: 2, Owner: "payments-leads",
		Runbook:  "https://wiki.payments.example/payments-api?a=1&b=2",
		Artifact: signals.Artifact{Repository: "registry.example/payments-api", Tag: "v1.9.0", Digest: anOCI},
		Commit:   "4f1c9a0e5d7b8c6f2a3e4d5c6b7a8f9e0d1c2b3a", Compare: "https://git.example/payments-api/compare/1a2b...4f1c",
		Ticket: "CHG-1042", Reason: "Lets refunds through that were held back since Monday.", Requester: "ci",
		PlanDigest: aPlan, Tests: "PASSED: unit, integration", Scans: "0 critical, 2 low, by grype",
		Policy: []string{"allowed: provenance, tests and scans hold", "approvals: payments-leads and risk"},
		Steps: []signals.Step{
			{Phase: signals.Canary, Weight: 5, Window: watched(10*time.Minute, 2)},
			{Phase: signals.Ramp, Weight: 50, Window: watched(20*time.Minute, 0)},
		},
		Radius: []string{"5 % of requests for 10m0s", "50 % for 20m0s"},
		LKG:    anLKG, LKGRelease: "payments-api-prod-20260227-1", LKGCommit: "1a2b3c4d5e6f",
		Excluded: []signals.Exclusion{{Identity: "ci", As: "requester"}, {Identity: "developer@payments.example", As: "author"}},
		Approval: signals.ApprovalStatus{Needed: quorum, Missing: quorum, Expires: expires},
		Phase:    signals.Approving, Doing: "waits for approvals",
	}
}

func watched(d time.Duration, extensions int) signals.Window {
	return signals.Window{Duration: signals.Duration(d), Interval: signals.Duration(10 * time.Second), Extensions: extensions}
}

func published(replies ...signals.Reply) signals.PublishInput {
	return signals.PublishInput{
		Notify:       signals.Notify{Channel: "#releases", Escalation: "#on-call"},
		Announcement: announced(), Replies: replies,
	}
}

func event(name, text string) signals.Reply {
	return signals.Reply{Event: name, Text: text, At: time.Now()}
}

// workspace is a Slack to test against.
type workspace struct {
	slackemu.Client
	app *lateHandler
}

// lateHandler lets the workspace know the app's address before the app is made.
type lateHandler struct {
	mu sync.Mutex
	h  http.Handler
}

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	h := l.h
	l.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

func startWorkspace(t *testing.T, o slackemu.Options) *workspace {
	t.Helper()
	late := &lateHandler{}
	app := httptest.NewServer(late)
	t.Cleanup(app.Close)
	o.Interactions, o.Commands = app.URL+"/slack/interactions", app.URL+"/slack/commands"
	emulator, err := slackemu.New(o)
	require.NoError(t, err)
	server := httptest.NewServer(emulator)
	t.Cleanup(func() {
		require.NoError(t, emulator.Close())
		server.Close()
	})
	return &workspace{Client: slackemu.Client{URL: server.URL}, app: late}
}

func (w *workspace) messenger() *Messenger {
	return New(Options{Token: "xoxb-emulator", APIURL: w.URL + "/api/", Gateway: aGateway})
}

// channel lists what stands in a channel, thread what stands below a message.
func (w *workspace) channel(t *testing.T, name string) []slackemu.Message {
	t.Helper()
	list, err := w.Messages(t.Context(), name, "", "")
	require.NoError(t, err)
	return list
}

func (w *workspace) thread(t *testing.T, at signals.MessageRef) []slackemu.Message {
	t.Helper()
	list, err := w.Messages(t.Context(), at.Channel, at.ID, "")
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list[1:]
}

// phonebook is a directory: persons by e-mail address. A nil error and nobody is
// somebody unknown.
type phonebook struct {
	byEmail map[string]signals.Person
	err     error
}

type nobody struct{ error }

func (nobody) Unknown() bool { return true }

func (p phonebook) ByEmail(_ context.Context, email string) (signals.Person, error) {
	if p.err != nil {
		return signals.Person{}, p.err
	}
	person, ok := p.byEmail[strings.ToLower(email)]
	if !ok {
		return signals.Person{}, nobody{fmt.Errorf("nobody has %s", email)}
	}
	return person, nil
}

// directory knows the stack's accounts.
func directory(names ...string) phonebook {
	p := phonebook{byEmail: map[string]signals.Person{}}
	for _, name := range names {
		email := name + "@payments.example"
		p.byEmail[email] = signals.Person{Active: true, Subject: signals.Subject{
			Issuer: "https://idp.example", ID: "id-" + name, Name: name, Email: email, Groups: []string{"payments-leads"},
		}}
	}
	return p
}

// office is a desk that remembers what reached it and answers as it is told.
type office struct {
	mu        sync.Mutex
	status    signals.Status
	statusErr error
	decideErr error
	wait      time.Duration
	decided   []desk.Decision
	by        []auth.Identity
	commands  []desk.LaneCommand
	refused   []desk.Refusal
	rows      []wire.Row
}

func newOffice() *office {
	a := announced()
	return &office{status: signals.Status{
		Release: a.Release, Run: a.Run, Service: a.Service, Environment: a.Environment, Tier: a.Tier, PlanDigest: a.PlanDigest,
		Phase: a.Phase, Doing: a.Doing, Since: aStart, Approval: a.Approval, About: &a,
	}}
}

func (o *office) Release(context.Context, string) (signals.Status, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status, o.statusErr
}

func (o *office) List(context.Context, desk.Filter) ([]wire.Row, string, error) {
	return o.rows, "", nil
}

func (o *office) Decide(ctx context.Context, who auth.Identity, dec desk.Decision) (signals.Receipt, error) {
	o.mu.Lock()
	wait := o.wait
	o.decided, o.by = append(o.decided, dec), append(o.by, who)
	err := o.decideErr
	o.mu.Unlock()
	select {
	case <-ctx.Done():
		return signals.Receipt{}, ctx.Err()
	case <-time.After(wait):
	}
	if err != nil {
		return signals.Receipt{}, err
	}
	return signals.Receipt{Accepted: true, Message: "your approval counts for payments-leads", Missing: signals.Quorum{Groups: []signals.GroupQuorum{{Group: "risk", Count: 1}}}}, nil
}

func (o *office) LaneCommand(_ context.Context, who auth.Identity, c desk.LaneCommand) (signals.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commands, o.by = append(o.commands, c), append(o.by, who)
	if o.decideErr != nil {
		return signals.Receipt{}, o.decideErr
	}
	return signals.Receipt{Accepted: true, Message: "frozen"}, nil
}

func (o *office) Refuse(r desk.Refusal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = append(o.refused, r)
}

func (o *office) refusals() []desk.Refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.refused)
}

func (o *office) decisions() []desk.Decision {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.decided)
}

// startApp runs the app in the workspace.
func (w *workspace) startApp(t *testing.T, o *office, dir Directory, change ...func(*AppOptions)) *App {
	t.Helper()
	options := AppOptions{
		Token: "xoxb-emulator", SigningSecret: "emulator", APIURL: w.URL + "/api/", Teams: []string{"T0PAYMENTS"}, App: "A0WAYBILL",
		Gateway: aGateway, Desk: o, Directory: dir,
	}
	for _, c := range change {
		c(&options)
	}
	app, err := NewApp(options)
	require.NoError(t, err)
	w.app.mu.Lock()
	w.app.h = app
	w.app.mu.Unlock()
	return app
}
