package decide_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/decide"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/signals"
)

func TestMain(m *testing.M) {
	code := m.Run()
	apitest.StopTemporal()
	os.Exit(code)
}

// office is a gateway with its page and the local issuer.
type office struct {
	*apitest.Gateway
	t      *testing.T
	issuer *oidcissuer.Issuer
	// later moves the page's clock.
	later atomic.Int64
}

func (o *office) now() time.Time { return time.Now().Add(time.Duration(o.later.Load())) }

func newOffice(t *testing.T, acr ...string) *office {
	t.Helper()
	issuer, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	o := &office{t: t, issuer: issuer}
	o.Gateway = apitest.Start(t, apitest.Options{Issuer: issuer.URL, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Others: func(d *desk.Desk, at string) map[string]api.Other {
		login, err := auth.NewWebLogin(auth.WebConfig{
			Issuer: auth.Issuer{URL: issuer.URL}, ClientID: oidcissuer.WebClientID, ClientSecret: issuer.Secrets().Web,
			RedirectURL: at + decide.Callback, Scopes: []string{"openid", "profile", "email", "groups"},
		}, o.now)
		require.NoError(t, err)
		page, err := decide.New(decide.Options{
			Desk: d, Login: login, PublicURL: at, ACR: acr, MaxAge: 5 * time.Minute,
			Secrets: [][]byte{[]byte("a secret of this gateway")}, Now: o.now, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		return map[string]api.Other{"/decide/": {Handler: page}, decide.Callback: {Handler: page}}
	}})
	return o
}

const commit = "4f1c0d2e3b4a59687766554433221100ffeeddcc"

func (o *office) start(reason string) string {
	o.t.Helper()
	token, err := o.issuer.Token(o.t.Context(), "ci")
	require.NoError(o.t, err)
	tokens, err := auth.NewVerifier([]auth.Issuer{{URL: o.issuer.URL, Audience: oidcissuer.Audience}}, time.Now)
	require.NoError(o.t, err)
	ci, err := tokens.Verify(o.t.Context(), token)
	require.NoError(o.t, err)
	started, err := o.Desk.Start(o.t.Context(), ci, signals.Request{
		Service: "payments-api", Environment: "prod", Image: "registry.example/payments-api:v2", Commit: commit, Ticket: "CHG-1042", Reason: reason,
	}, "")
	require.NoError(o.t, err)
	return started.Release
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	*office
	client *http.Client
}

func (o *office) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(o.t, err)
	return &browser{o, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	code     int
	body     string
	location string
	header   http.Header
}

func (b *browser) send(method, target string, form url.Values, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.client.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return answer{res.StatusCode, string(body), res.Header.Get("Location"), res.Header}
}

// toIssuer opens a release's page and goes through the issuer's login; it returns
// where the issuer sends the browser back to.
func (b *browser) toIssuer(release, account string, mfa bool) string {
	b.t.Helper()
	first := b.send("GET", b.URL+"/decide/"+release, nil)
	require.Equal(b.t, http.StatusSeeOther, first.code, first.body)
	who := oidcissuer.Credentials{Account: account, Password: b.issuer.Password(account)}
	if mfa {
		var err error
		who.Code, err = b.issuer.Code(account)
		require.NoError(b.t, err)
	}
	back, err := oidcissuer.Authorize(b.t.Context(), first.location, who)
	require.NoError(b.t, err)
	return back.String()
}

// logIn opens a release's page as account.
func (b *browser) logIn(release, account string, mfa bool) answer {
	b.t.Helper()
	back := b.send("GET", b.toIssuer(release, account, mfa), nil)
	require.Equal(b.t, http.StatusSeeOther, back.code, back.body)
	require.Equal(b.t, "/decide/"+release, back.location)
	page := b.send("GET", b.URL+back.location, nil)
	require.Equal(b.t, http.StatusOK, page.code, page.body)
	return page
}

var hidden = regexp.MustCompile(`name="token" value="([^"]+)"`)

func token(t *testing.T, page string) string {
	t.Helper()
	found := hidden.FindStringSubmatch(page)
	require.NotNil(t, found, page)
	return found[1]
}

func (b *browser) decide(release, page, verb string, more ...string) answer {
	b.t.Helper()
	form := url.Values{"token": {token(b.t, page)}, "decision": {verb}, "reason": {"I have read it"}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return b.send("POST", b.URL+"/decide/"+release, form, "Sec-Fetch-Site", "same-origin")
}

func TestSomebodyDecidesAfterAFreshLogin(t *testing.T) {
	o := newOffice(t, oidcissuer.ACRMFA)
	release := o.start(apitest.ReasonStepUp)
	b := o.browser()
	page := b.logIn(release, "release-lead", true)
	for _, want := range []string{
		"registry.example/payments-api", signals.Digest([]byte("image")), commit, "CHG-1042", "412 tests", "5 %", "release-lead@payments.example",
		strings.Fields(signals.PlainDigest(apitest.PlanDigest))[3], "may not approve", oidcissuer.ACRMFA, "payments-api-prod-0",
	} {
		assert.Contains(t, strings.ToLower(page.body), strings.ToLower(want))
	}
	assert.NotContains(t, page.body, "<script")
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	assert.Equal(t, "no-store", page.header.Get("Cache-Control"))

	empty := b.decide(release, page.body, "approve", "reason", "  ")
	assert.Equal(t, http.StatusUnprocessableEntity, empty.code)
	assert.Contains(t, empty.body, "Give a reason")

	done := b.decide(release, empty.body, "approve")
	require.Equal(t, http.StatusOK, done.code, done.body)
	assert.Contains(t, done.body, "was counted")
	assert.Contains(t, done.body, "I have read it")
	ended, err := o.Desk.Outcome(t.Context(), release, 20*time.Second)
	require.NoError(t, err)
	assert.Equal(t, signals.Promoted, ended.Outcome.Kind)
	assert.Equal(t, o.issuer.URL+"#release-lead", ended.Outcome.By)

	// The login is used up, and the page that was sent is as well.
	again := b.decide(release, empty.body, "deny")
	assert.Equal(t, http.StatusForbidden, again.code)
}

func TestAPageThatIsSentTwiceDecidesOnce(t *testing.T) {
	o := newOffice(t)
	release := o.start("wait")
	command, err := o.Desk.Command(t.Context(), auth.Identity{Subject: signals.Subject{Issuer: "x", ID: "on-call", Groups: []string{apitest.Operators}}},
		desk.Command{Release: release, Command: signals.Skip, Reason: "known noise"})
	require.NoError(t, err)
	b := o.browser()
	page := b.logIn(release, "release-lead", false)
	assert.Contains(t, page.body, "known noise")
	jar := b.client.Jar
	copied, err := cookiejar.New(nil)
	require.NoError(t, err)
	at, err := url.Parse(o.URL + "/decide/" + release)
	require.NoError(t, err)
	copied.SetCookies(at, jar.Cookies(at))

	first := b.decide(release, page.body, "approve", "command", command.Pending)
	require.Equal(t, http.StatusOK, first.code, first.body)
	assert.Contains(t, first.body, "the command is approved")
	b.client.Jar = copied
	second := b.decide(release, page.body, "approve", "command", command.Pending)
	assert.Equal(t, http.StatusConflict, second.code)
	assert.Contains(t, second.body, "nonce was used before")
}

func TestWhoeverDidNotLogInWellEnoughDecidesNothing(t *testing.T) {
	o := newOffice(t, "urn:example:hardware-key")
	release := o.start("wait")
	weak := o.browser()
	refused := weak.send("GET", weak.toIssuer(release, "release-lead", false), nil)
	assert.Equal(t, http.StatusForbidden, refused.code)
	assert.Contains(t, refused.body, "hardware-key")
	assert.Equal(t, http.StatusSeeOther, weak.send("GET", o.URL+"/decide/"+release, nil).code, "still to log in")
	o.recorded("login", "hardware-key", release)

	o = newOffice(t)
	release = o.start("wait")
	slow := o.browser()
	back := slow.toIssuer(release, "release-lead", false)
	o.later.Store(int64(6 * time.Minute))
	refused = slow.send("GET", back, nil)
	assert.Equal(t, http.StatusForbidden, refused.code)
	assert.Contains(t, refused.body, "one of the last 5m0s")
	o.recorded("login", "one of the last", release)

	o.later.Store(0)
	b := o.browser()
	page := b.logIn(release, "release-lead", false)
	o.later.Store(int64(6 * time.Minute))
	late := b.decide(release, page.body, "approve")
	assert.Equal(t, http.StatusForbidden, late.code, "a login is good for a few minutes")
	assert.Contains(t, late.body, "Log in first")
}

func TestForgedFormsDecideNothing(t *testing.T) {
	o := newOffice(t)
	release, other := o.start("wait"), o.start("wait")
	b := o.browser()
	page := b.logIn(release, "release-lead", false).body
	foreign := o.browser().logIn(release, "risk-officer", false).body
	elsewhere := b.logIn(other, "release-lead", false).body
	form := func(token string) url.Values {
		return url.Values{"token": {token}, "decision": {"approve"}, "reason": {"x"}}
	}
	for name, try := range map[string]func() answer{
		"no token":               func() answer { return b.send("POST", o.URL+"/decide/"+release, form("")) },
		"made-up token":          func() answer { return b.send("POST", o.URL+"/decide/"+release, form("AAAA")) },
		"somebody else's token":  func() answer { return b.send("POST", o.URL+"/decide/"+release, form(token(t, foreign))) },
		"another release's form": func() answer { return b.send("POST", o.URL+"/decide/"+release, form(token(t, elsewhere))) },
		"another site's form": func() answer {
			return b.send("POST", o.URL+"/decide/"+release, form(token(t, page)), "Sec-Fetch-Site", "cross-site")
		},
		"no login": func() answer { return o.browser().send("POST", o.URL+"/decide/"+release, form(token(t, page))) },
		"another release's login": func() answer {
			at, err := url.Parse(o.URL + "/decide/" + other)
			require.NoError(t, err)
			cookie := b.client.Jar.Cookies(at)[0]
			return o.browser().send("POST", o.URL+"/decide/"+release, form(token(t, elsewhere)), "Cookie", cookie.Name+"="+cookie.Value)
		},
		"made-up login": func() answer {
			return o.browser().send("POST", o.URL+"/decide/"+release, form(token(t, page)), "Cookie", "waybill_decide=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		},
		"a form as a login": func() answer {
			return o.browser().send("POST", o.URL+"/decide/"+release, form(token(t, page)), "Cookie", "waybill_decide="+token(t, page))
		},
		"too long": func() answer {
			f := form(token(t, page))
			f.Set("reason", strings.Repeat("x", 20<<10))
			return b.send("POST", o.URL+"/decide/"+release, f)
		},
		"no such verb":  func() answer { return b.decide(release, page, "maybe") },
		"no such id":    func() answer { return b.send("GET", o.URL+"/decide/a%2Fb", nil) },
		"foreign state": func() answer { return b.send("GET", o.URL+decide.Callback+"?code=x&state=AAAAAAAAAAAAAAAA", nil) },
		"no state":      func() answer { return b.send("GET", o.URL+decide.Callback+"?code=x", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			got := try()
			assert.GreaterOrEqual(t, got.code, 400, got.body)
			assert.Less(t, got.code, 500, got.body)
			status, err := o.Desk.Release(t.Context(), release)
			require.NoError(t, err, "it still waits")
			assert.Empty(t, status.Approval.Given)
		})
	}
	o.recorded("approval", "not this login's page", release)
	o.recorded("approval", "another release", release)
	o.recorded("login", "has begun no such login", "")
	require.Equal(t, http.StatusOK, b.decide(release, page, "deny").code, "the real form still counts")
}

func TestAPlanThatChangedIsReadAgain(t *testing.T) {
	o := newOffice(t)
	release := o.start(apitest.ReasonReplan)
	b := o.browser()
	page := b.logIn(release, "release-lead", false)
	_, err := o.Desk.Command(t.Context(), auth.Identity{Subject: signals.Subject{Issuer: "x", ID: "on-call", Groups: []string{apitest.Operators}}},
		desk.Command{Release: release, Command: signals.Pause, Reason: "change it"})
	require.NoError(t, err)
	stale := b.decide(release, page.body, "approve")
	assert.Equal(t, http.StatusConflict, stale.code)
	assert.Contains(t, stale.body, "The plan has changed")
	o.recorded("approval", "not the "+apitest.PlanDigest, release)
	fresh := b.logIn(release, "release-lead", false)
	assert.Contains(t, fresh.body, strings.Fields(signals.PlainDigest(apitest.OtherPlan))[0])
	require.Equal(t, http.StatusOK, b.decide(release, fresh.body, "approve").code)
}

func TestTheReleaseHasTheLastWord(t *testing.T) {
	o := newOffice(t)
	release := o.start("wait")
	b := o.browser()
	page := b.logIn(release, "developer", false)
	refused := b.decide(release, page.body, "approve")
	assert.Equal(t, http.StatusForbidden, refused.code)
	assert.Contains(t, refused.body, "not in "+apitest.Approvers)
	assert.Contains(t, refused.body, "I have read it", "what was typed is kept")

	ended := o.start(apitest.ReasonPromote)
	_, err := o.Desk.Outcome(t.Context(), ended, 20*time.Second)
	require.NoError(t, err)
	over := o.browser()
	gone := over.send("GET", over.toIssuer(ended, "release-lead", false), nil)
	assert.Equal(t, http.StatusConflict, gone.code)
	assert.Contains(t, gone.body, "has ended")
	missing := o.browser()
	gone = missing.send("GET", missing.toIssuer("nothing", "release-lead", false), nil)
	assert.Equal(t, http.StatusNotFound, gone.code)
}

// recorded waits for a refusal in the journal.
func (o *office) recorded(what, reason, about string) {
	o.t.Helper()
	require.Eventually(o.t, func() bool {
		entries, err := o.Journal(o.t.Context())
		if err != nil {
			return false
		}
		for _, e := range entries {
			if e.What == what && e.About == about && e.Channel == "web" && strings.Contains(strings.Join(e.Reasons, " "), reason) {
				return true
			}
		}
		return false
	}, 20*time.Second, 100*time.Millisecond, "%s %q", what, reason)
}
