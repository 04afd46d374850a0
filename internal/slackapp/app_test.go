package slackapp

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// asked is a workspace with a release's message in it, the app, and its desk.
func asked(t *testing.T, dir Directory, change ...func(*AppOptions)) (*workspace, *office, signals.MessageRef) {
	t.Helper()
	w, o := startWorkspace(t, slackemu.Options{}), newOffice()
	w.startApp(t, o, dir, change...)
	at, err := w.messenger().Publish(t.Context(), published())
	require.NoError(t, err)
	return w, o, at
}

func (w *workspace) click(t *testing.T, user string, at signals.MessageRef, button string) slackemu.Seen {
	t.Helper()
	seen, err := w.Click(t.Context(), slackemu.Click{User: user, Channel: at.Channel, TS: at.ID, Button: button})
	require.NoError(t, err)
	return seen
}

func (w *workspace) submit(t *testing.T, seen slackemu.Seen, rationale string) slackemu.Seen {
	t.Helper()
	require.NotNil(t, seen.View)
	out, err := w.Submit(t.Context(), seen.View.ID, map[string]string{actionRationale: rationale})
	require.NoError(t, err)
	return out
}

func TestAnApprovalIsAClickAndAReason(t *testing.T) {
	w, o, at := asked(t, directory("release-lead"))
	seen := w.click(t, "release-lead", at, actionApprove)
	require.NotNil(t, seen.View)
	assert.Equal(t, "Approve release", seen.View.Title)
	assert.Contains(t, seen.View.Text, strings.Fields(signals.PlainDigest(aPlan))[0])
	assert.Contains(t, seen.View.Text, anOCI)

	seen = w.submit(t, seen, "  Read the diff, ran it in staging.\n")
	require.NotNil(t, seen.View)
	assert.Equal(t, "Recorded", seen.View.Title)
	assert.Contains(t, seen.View.Text, "1 of `risk`", "what is still missing")

	require.Len(t, o.decisions(), 1)
	got, who := o.decided[0], o.by[0]
	assert.Equal(t, desk.Decision{
		Release: aRelease, PlanDigest: aPlan, Decision: signals.Approve, Reason: "Read the diff, ran it in staging.", Nonce: got.Nonce,
	}, got)
	assert.Len(t, got.Nonce, 32)
	assert.Equal(t, "https://idp.example#id-release-lead", who.Subject.Key())
	assert.Equal(t, []string{"payments-leads"}, who.Subject.Groups)
	assert.Equal(t, "slack", who.Authn.Method)
	assert.Equal(t, "slack", who.Authn.Channel)
	assert.Equal(t, "T0PAYMENTS/"+slackemu.UserID("release-lead"), who.Authn.Account)
	assert.False(t, who.Authn.At.IsZero())
	assert.Empty(t, o.refusals())
	assert.Len(t, w.channel(t, "releases"), 1, "the gateway posts nothing; the worker edits the message")
}

func TestDenyAndDetails(t *testing.T) {
	w, o, at := asked(t, directory("risk-officer"))
	seen := w.submit(t, w.click(t, "risk-officer", at, actionDeny), "There is a freeze.")
	assert.Equal(t, "Recorded", seen.View.Title)
	require.Len(t, o.decisions(), 1)
	assert.Equal(t, signals.Deny, o.decided[0].Decision)

	seen = w.click(t, "risk-officer", at, actionDetails)
	assert.Equal(t, "Release in detail", seen.View.Title)
	assert.Contains(t, seen.View.Text, "registry.example/payments-api@"+anOCI)
	assert.Contains(t, seen.View.Text, "extended up to 2 times")
	assert.Empty(t, seen.View.Submit)
}

func TestAPendingCommandIsDecidedOnByItsID(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{}), newOffice()
	w.startApp(t, o, directory("risk-officer"))
	in := published()
	in.Announcement.Phase, in.Announcement.Approval.Missing = signals.Canary, signals.Quorum{}
	in.Announcement.Pending = []signals.PendingCommand{{ID: "n1", Command: signals.Skip, By: "on-call", Reason: "It is quiet.", At: aStart}}
	o.status.About = &in.Announcement
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	seen := w.click(t, "risk-officer", at, "Approve skip")
	assert.Equal(t, "Approve command", seen.View.Title)
	assert.Contains(t, seen.View.Text, "It is quiet.")
	w.submit(t, seen, "The traffic was seen.")
	require.Len(t, o.decisions(), 1)
	assert.Equal(t, "n1", o.decided[0].Command)
}

func TestOneSubmissionIsOneDecisionHoweverOftenItIsDelivered(t *testing.T) {
	w, o, at := asked(t, directory("release-lead"))
	seen := w.click(t, "release-lead", at, actionApprove)
	o.statusErr = nil
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{Repeats: 3, RetryDelay: signals.Duration(time.Millisecond)}))
	w.submit(t, seen, "Read the diff.")
	require.Eventually(t, func() bool { return len(o.decisions()) == 4 }, 5*time.Second, 10*time.Millisecond)
	list := o.decisions()
	assert.False(t, list[0].Again)
	for _, again := range list[1:] {
		assert.True(t, again.Again, "Slack's retries are told from replays")
		assert.Equal(t, list[0].Nonce, again.Nonce)
	}

	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{}))
	w.submit(t, w.click(t, "release-lead", at, actionApprove), "Read the diff.")
	list = o.decisions()
	assert.NotEqual(t, list[0].Nonce, list[4].Nonce, "another modal is another decision")
}

func TestWhoMustBeRefusedIsToldWhyAndWrittenDown(t *testing.T) {
	gone := directory("release-lead")
	p := gone.byEmail["release-lead@payments.example"]
	p.Active = false
	gone.byEmail["release-lead@payments.example"] = p
	everybody := directory("release-lead", "risk-officer", "left-company")
	for name, tc := range map[string]struct {
		user string
		dir  Directory
		says string
	}{
		"guest":                    {"contractor", everybody, "a guest's"},
		"deactivated in Slack":     {"left-company", everybody, "deactivated in Slack"},
		"unconfirmed address":      {"unconfirmed", everybody, "not confirmed"},
		"bot":                      {"build-bot", everybody, "a bot's"},
		"in no directory":          {"release-lead", directory(), "nobody, or not exactly one person"},
		"deactivated in directory": {"release-lead", gone, "deactivated in the company's directory"},
	} {
		t.Run(name, func(t *testing.T) {
			w, o, at := asked(t, tc.dir)
			seen := w.click(t, tc.user, at, actionApprove)
			require.NotNil(t, seen.View, "the person is told")
			assert.Contains(t, seen.View.Text, tc.says)
			assert.Empty(t, seen.View.Submit)
			require.Len(t, o.refusals(), 1)
			r := o.refused[0]
			assert.Equal(t, whatMember, r.What)
			assert.Contains(t, strings.Join(r.Reasons, " "), tc.says)
			assert.Equal(t, "T0PAYMENTS/"+slackemu.UserID(tc.user), r.Claimed)
			assert.Equal(t, aRelease, r.About)
			assert.True(t, signals.ValidDigest(r.Message))
			assert.Empty(t, o.decisions())
		})
	}
}

func TestAMemberWhoIsRefusedMeanwhileDecidesNothing(t *testing.T) {
	late := time.Now()
	w, o, at := asked(t, directory("release-lead"), func(o *AppOptions) { o.Now = func() time.Time { return late } })
	seen := w.click(t, "release-lead", at, actionApprove)
	require.NoError(t, w.SetUser(t.Context(), slackemu.User{ID: slackemu.UserID("release-lead"), Name: "release-lead", Email: "release-lead@payments.example", Deactivated: true}))
	late = late.Add(memberFor + time.Second) // past what is remembered, within the signature's window
	seen = w.submit(t, seen, "Read the diff.")
	require.NotNil(t, seen.View)
	assert.Contains(t, seen.View.Errors[blockRationale], "deactivated in Slack")
	assert.Empty(t, o.decisions())
}

func TestStrangersOfOtherWorkspacesAreNotAnswered(t *testing.T) {
	w, o, at := asked(t, directory("release-lead"))
	seen := w.click(t, "stranger", at, actionApprove)
	assert.NotEmpty(t, seen.Warning)
	assert.Nil(t, seen.View)
	require.NotEmpty(t, o.refusals())
	assert.Contains(t, o.refused[0].Reasons[0], `"T0PARTNER"`)
}

func TestWhoSomebodyIsMustBeKnown(t *testing.T) {
	w, o, at := asked(t, phonebook{err: errors.New("connection refused")})
	seen := w.click(t, "release-lead", at, actionApprove)
	require.NotNil(t, seen.View)
	assert.Contains(t, seen.View.Text, "Try again")
	assert.Empty(t, o.decisions())
	assert.Empty(t, o.refusals(), "a directory that is down is nobody's refusal")
}

func TestWhatTheReleaseSaysIsWhatThePersonSees(t *testing.T) {
	for name, tc := range map[string]struct {
		err         error
		title, says string
	}{
		"refused":       {&desk.Error{Kind: desk.ErrNotAllowed, Detail: "ci asked for this release and can't approve it"}, "", "can't approve it"},
		"no answer":     {&desk.Error{Kind: desk.ErrNoAnswer, Detail: "no worker"}, "", "Not counted yet"},
		"replayed":      {&desk.Error{Kind: desk.ErrReplayed, Detail: "nonce used"}, "Counted before", "nothing more to do"},
		"needs a login": {&desk.Error{Kind: desk.ErrStepUp, Detail: "risk wants a login"}, "Log in to decide", "risk wants a login"},
	} {
		t.Run(name, func(t *testing.T) {
			w, o, at := asked(t, directory("release-lead"))
			o.decideErr = tc.err
			seen := w.submit(t, w.click(t, "release-lead", at, actionApprove), "Read the diff.")
			require.NotNil(t, seen.View)
			if tc.title == "" {
				assert.Contains(t, seen.View.Errors[blockRationale], tc.says)
				return
			}
			assert.Equal(t, tc.title, seen.View.Title)
			assert.Contains(t, seen.View.Text, tc.says)
		})
	}
}

func TestNothingIsAcknowledgedThatWasNotTaken(t *testing.T) {
	w, o, at := asked(t, directory("release-lead"))
	o.wait = time.Minute
	seen := w.submit(t, w.click(t, "release-lead", at, actionApprove), "Read the diff.")
	require.Empty(t, seen.Warning, "the app answers in Slack's time")
	assert.Contains(t, seen.View.Errors[blockRationale], "Not counted yet")
	o.mu.Lock()
	o.wait = 0
	o.mu.Unlock()
	seen = w.submit(t, seen, "Read the diff.")
	assert.Equal(t, "Recorded", seen.View.Title)
	list := o.decisions()
	assert.Equal(t, list[0].Nonce, list[1].Nonce, "submitting it again can't count twice")
}

func TestAMessageOfAnotherPlanDecidesNothing(t *testing.T) {
	w, o, at := asked(t, directory("release-lead"))
	o.status.PlanDigest = signals.Digest([]byte("another plan"))
	seen := w.click(t, "release-lead", at, actionApprove)
	assert.Equal(t, "Out of date", seen.View.Title)
	o.status.PlanDigest, o.status.Run = aPlan, "another run"
	seen = w.click(t, "release-lead", at, actionApprove)
	assert.Equal(t, "Out of date", seen.View.Title)
	o.statusErr = &desk.Error{Kind: desk.ErrEnded, Detail: "release has ended (promoted)"}
	seen = w.click(t, "release-lead", at, actionApprove)
	assert.Contains(t, seen.View.Text, "has ended")
}

func TestStepUpLeadsToThePage(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{}), newOffice()
	w.startApp(t, o, directory("risk-officer"))
	in := published()
	in.Announcement.Approval.Missing.Groups = []signals.GroupQuorum{{Group: "risk", Count: 1, StepUp: stepUp()}}
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	seen := w.click(t, "risk-officer", at, actionOpen)
	assert.Equal(t, aGateway+"/decide/"+aRelease, seen.URL)
	assert.Empty(t, seen.Warning)

	// An older message still has the button.
	old, err := w.messenger().Publish(t.Context(), func() signals.PublishInput {
		in := published()
		in.Announcement.Run = "0195-run"
		in.Announcement.Release = aRelease + "-2"
		return in
	}())
	require.NoError(t, err)
	o.status.About = &in.Announcement
	seen = w.click(t, "risk-officer", old, actionApprove)
	assert.Equal(t, "Log in to decide", seen.View.Title)
	assert.Empty(t, o.decisions())
	assert.Empty(t, o.refusals())
}

func TestSlashCommands(t *testing.T) {
	w, o, _ := asked(t, directory("release-lead"))
	o.rows = []wire.Row{
		{Release: aRelease, Service: "payments-api", Environment: "prod", Phase: signals.Approving, State: wire.Running, StartedAt: aStart},
		{Release: "r-1", Service: "payments-api", Environment: "staging", Outcome: signals.Promoted, State: wire.Completed, StartedAt: aStart},
		{Release: "r-0", Service: "payments-api", Environment: "staging", State: wire.Failed, StartedAt: aStart},
	}
	say := func(user, text string) string {
		seen, err := w.Type(t.Context(), slackemu.Slash{User: user, Channel: "releases", Text: text})
		require.NoError(t, err)
		require.Empty(t, seen.Warning)
		return strings.Join(seen.Messages, "\n")
	}
	assert.Contains(t, say("release-lead", "/waybill"), "freeze SERVICE ENVIRONMENT")
	list := say("release-lead", "/waybill list payments-api")
	assert.Contains(t, list, aRelease)
	assert.Contains(t, list, "promoted")
	assert.Contains(t, list, "Failed")
	assert.Contains(t, say("release-lead", "/waybill status "+aRelease), "Still needed: 1 of `payments-leads` and 1 of `risk`")
	assert.Contains(t, say("release-lead", "/waybill frobnicate"), "there is no command")
	assert.Contains(t, say("contractor", "/waybill list"), "a guest's")

	assert.Contains(t, say("release-lead", "/waybill freeze payments-api prod for 2h the audit looks at it"), "frozen")
	require.Len(t, o.commands, 1)
	c := o.commands[0]
	assert.Equal(t, desk.LaneCommand{
		Environment: "prod", Service: "payments-api", Command: signals.Freeze, Reason: "the audit looks at it", Nonce: c.Nonce, Until: c.Until,
	}, c)
	assert.WithinRange(t, c.Until, time.Now().Add(time.Hour), time.Now().Add(3*time.Hour))
	assert.Equal(t, "slack", o.by[0].Authn.Method)
	say("release-lead", "/waybill unfreeze payments-api prod the audit is over")
	require.Len(t, o.commands, 2)
	assert.Equal(t, signals.Unfreeze, o.commands[1].Command)
	o.decideErr = &desk.Error{Kind: desk.ErrNotAllowed, Detail: "release-lead may not freeze lanes"}
	assert.Contains(t, say("release-lead", "/waybill freeze payments-api prod because"), "may not freeze")
}

// forged sends what no Slack sent: a good click, changed in one way.
func TestThreat1ForgedRequestsAreRefused(t *testing.T) {
	const good = `{"type":"block_actions","api_app_id":"A0WAYBILL","team":{"id":"T0PAYMENTS"},"user":{"id":"U0RELEASELEAD","team_id":"T0PAYMENTS"},"trigger_id":"1.2","actions":[{"action_id":"waybill_open"}]}`
	now := time.Now()
	for name, tc := range map[string]struct {
		payload string
		secret  string
		at      time.Time
		change  func(*http.Request)
		status  int
		says    string
	}{
		"good":               {status: 200},
		"other secret":       {secret: "guessed", status: 401, says: "not by the app's signing secret"},
		"not signed":         {change: func(r *http.Request) { r.Header.Del(headerSignature) }, status: 401, says: "not signed"},
		"signed twice":       {change: func(r *http.Request) { r.Header.Add(headerSignature, "v0=00") }, status: 401, says: "signed twice"},
		"version 1":          {change: func(r *http.Request) { r.Header.Set(headerSignature, "v1"+r.Header.Get(headerSignature)[2:]) }, status: 401, says: "version 0"},
		"signature cut":      {change: func(r *http.Request) { r.Header.Set(headerSignature, r.Header.Get(headerSignature)[:20]) }, status: 401, says: "version 0"},
		"too old":            {at: now.Add(-window - 2*time.Second), status: 401, says: "away from now"},
		"from the future":    {at: now.Add(window + 2*time.Second), status: 401, says: "away from now"},
		"time changed":       {change: func(r *http.Request) { r.Header.Set(headerTime, strconv.FormatInt(now.Unix()+1, 10)) }, status: 401, says: "signing secret"},
		"time no number":     {change: func(r *http.Request) { r.Header.Set(headerTime, "0x10") }, status: 401, says: "number of seconds"},
		"body changed":       {change: func(r *http.Request) { r.Body = http.NoBody }, status: 401, says: "signing secret"},
		"other app":          {payload: strings.Replace(good, "A0WAYBILL", "A0OTHER", 1), status: 403, says: "app \"A0OTHER\""},
		"other workspace":    {payload: strings.Replace(good, "T0PAYMENTS", "T0PARTNER", 1), status: 403, says: "workspace \"T0PARTNER\""},
		"stranger":           {payload: strings.Replace(good, `"team_id":"T0PAYMENTS"`, `"team_id":"T0PARTNER"`, 1), status: 403, says: "its user is a member"},
		"organisation":       {payload: strings.Replace(good, `"team":{"id":"T0PAYMENTS"}`, `"team":null,"is_enterprise_install":true`, 1), status: 403, says: "whole organisation"},
		"no user":            {payload: strings.Replace(good, "U0RELEASELEAD", "", 1), status: 400, says: "no user"},
		"odd user":           {payload: strings.Replace(good, "U0RELEASELEAD", "../x", 1), status: 400, says: "not an id"},
		"no JSON":            {payload: "hello", status: 400, says: "not JSON"},
		"other interaction":  {payload: strings.Replace(good, "block_actions", "shortcut", 1), status: 400, says: "not taken"},
		"unknown button":     {payload: strings.Replace(good, "waybill_open", "rm_rf", 1), status: 400, says: "no button"},
		"button about what?": {payload: strings.Replace(good, "waybill_open", actionApprove, 1), status: 400, says: "about can't be read"},
		"too large":          {payload: strings.Repeat("x", maxBody+1), status: 413, says: "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice()
			w := startWorkspace(t, slackemu.Options{})
			app := w.startApp(t, o, directory("release-lead"), func(o *AppOptions) { o.Now = func() time.Time { return now } })
			payload, secret, at := tc.payload, tc.secret, tc.at
			if payload == "" {
				payload = good
			}
			if secret == "" {
				secret = "emulator"
			}
			if at.IsZero() {
				at = now
			}
			body := []byte(url.Values{"payload": {payload}}.Encode())
			r := httptest.NewRequest(http.MethodPost, "/slack/interactions", bytes.NewReader(body))
			slackemu.Sign(r.Header, secret, at, body)
			if tc.change != nil {
				tc.change(r)
			}
			answer := httptest.NewRecorder()
			app.ServeHTTP(answer, r)
			assert.Equal(t, tc.status, answer.Code)
			if tc.says == "" {
				assert.Empty(t, o.refusals())
				return
			}
			require.Len(t, o.refusals(), 1, "every refusal is written down")
			assert.Equal(t, whatRequest, o.refused[0].What)
			assert.Contains(t, strings.Join(o.refused[0].Reasons, " "), tc.says)
			assert.NotEmpty(t, o.refused[0].Message)
			assert.Equal(t, "192.0.2.1", o.refused[0].Remote)
			assert.Empty(t, o.decisions())
		})
	}
}

func TestAnAppSaysWhatItNeeds(t *testing.T) {
	_, err := NewApp(AppOptions{})
	for _, needs := range []string{"botToken", "signingSecret", "teams", "app is needed", "public URL", "directory"} {
		require.ErrorContains(t, err, needs)
	}
}
