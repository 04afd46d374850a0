package decide

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/auth"
)

// loginTime is how long a person may take at the identity provider.
const loginTime = 10 * time.Minute

// What sealed texts are for.
const (
	forLogin   = "login"
	forSession = "session"
	forForm    = "form"
)

const (
	loginCookie   = "waybill_login_"
	sessionCookie = "waybill_decide"
)

// pendingLogin is a login under way: what was demanded, and for which release.
type pendingLogin struct {
	Request auth.LoginRequest
	Release string
	Expires time.Time
}

// session is a login that was finished, good for decisions on one plan of one
// release for a short while.
type session struct {
	ID         string
	Identity   auth.Identity
	Release    string
	PlanDigest string
	Expires    time.Time
}

// form ties one sending of a page to the session that the page was made for. Its
// nonce becomes the decision's, so that a page decides once however often it is
// sent.
type form struct {
	Session string
	Nonce   string
}

// begin keeps a login in the browser until it comes back.
func (p *page) begin(w http.ResponseWriter, l pendingLogin) error {
	value, err := p.seal.seal(forLogin, l)
	if err != nil {
		return err
	}
	p.set(w, loginCookie+l.Request.State[:8], value, "/login", loginTime)
	return nil
}

// returned finds the login that state belongs to, and forgets it.
func (p *page) returned(w http.ResponseWriter, r *http.Request, state string) (pendingLogin, error) {
	var l pendingLogin
	if len(state) < 8 {
		return l, errors.New("the answer of the identity provider names no login")
	}
	cookie, err := r.Cookie(loginCookie + state[:8])
	if err != nil {
		return l, errors.New("this browser has begun no such login, or it took too long")
	}
	p.set(w, cookie.Name, "", "/login", -1)
	if err := p.seal.open(forLogin, cookie.Value, &l); err != nil {
		return l, err
	}
	if subtle.ConstantTimeCompare([]byte(l.Request.State), []byte(state)) != 1 {
		return l, errors.New("the answer of the identity provider belongs to another login")
	}
	if !p.Now().Before(l.Expires) {
		return l, errors.New("the login took too long")
	}
	return l, nil
}

func (p *page) keep(w http.ResponseWriter, s session) error {
	value, err := p.seal.seal(forSession, s)
	if err != nil {
		return err
	}
	p.set(w, sessionCookie, value, "/decide/"+s.Release, s.Expires.Sub(p.Now()))
	return nil
}

func (p *page) forget(w http.ResponseWriter, release string) {
	p.set(w, sessionCookie, "", "/decide/"+release, -1)
}

// errNoSession means that there was no login, or that it is over.
var errNoSession = errors.New("log in first; a login is good for a few minutes and for one release")

// session is the login that this request comes with. An error other than
// errNoSession means that somebody tampered.
func (p *page) session(r *http.Request, release string) (session, error) {
	var s session
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return s, errNoSession
	}
	if err := p.seal.open(forSession, cookie.Value, &s); err != nil {
		return s, err
	}
	if s.Release != release {
		return s, errors.New("the login was for another release")
	}
	if !p.Now().Before(s.Expires) {
		return s, errNoSession
	}
	return s, nil
}

// token is the hidden field of a page made for s.
func (p *page) token(s session) (string, error) {
	return p.seal.seal(forForm, form{Session: s.ID, Nonce: random()})
}

// nonce is that of the page that was sent, if it was made for s.
func (p *page) nonce(s session, token string) (string, error) {
	var f form
	if err := p.seal.open(forForm, token, &f); err != nil || f.Session != s.ID || f.Nonce == "" {
		return "", errors.New("the form was not this login's page; open the page and decide there")
	}
	return f.Nonce, nil
}

func (p *page) set(w http.ResponseWriter, name, value, path string, lives time.Duration) {
	age := int(lives.Seconds())
	if lives < 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // a local stack has no TLS; with https the cookie is secure
		Name: name, Value: value, Path: path, MaxAge: age,
		HttpOnly: true, Secure: strings.HasPrefix(p.PublicURL, "https://"), SameSite: http.SameSiteLaxMode,
	})
}
