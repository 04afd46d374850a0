package decide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// Desk takes decisions.
type Desk interface {
	Release(ctx context.Context, release string) (signals.Status, error)
	Decide(ctx context.Context, who auth.Identity, d desk.Decision) (signals.Receipt, error)
	Refuse(r desk.Refusal)
}

// Login logs people in at the identity provider.
type Login interface {
	AuthURL(ctx context.Context, r auth.LoginRequest) (string, error)
	Exchange(ctx context.Context, code string, r auth.LoginRequest) (auth.Identity, error)
}

// Options is what the page is made of.
type Options struct {
	Desk      Desk
	Login     Login
	PublicURL string
	// ACR lists the kinds of login of which one is demanded, none for any; MaxAge
	// is how long ago it may have been.
	ACR    []string
	MaxAge time.Duration
	// Secrets seal sessions: the first is used, all of them are accepted. Gateways
	// that serve one URL share them.
	Secrets [][]byte
	Now     func() time.Time
	Log     *slog.Logger
}

// Callback is the path that the identity provider sends the browser back to.
const Callback = "/login/callback"

// Bounds of what is sent: the form, in bytes, and the reason, in characters.
const (
	maxForm   = 16 << 10
	maxReason = 2000
)

type page struct {
	Options
	seal   *sealer
	origin *http.CrossOriginProtection
}

// New builds the handler of /decide/{release} and of Callback.
func New(o Options) (http.Handler, error) {
	seal, err := newSealer(o.Secrets)
	if err != nil {
		return nil, err
	}
	p := &page{Options: o, seal: seal, origin: http.NewCrossOriginProtection()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /decide/{release}", p.show)
	mux.HandleFunc("POST /decide/{release}", p.decide)
	mux.HandleFunc("GET "+Callback, p.callback)
	return headers(mux), nil
}

// headers keep the page out of frames and caches, and anything foreign out of it.
func headers(next http.Handler) http.Handler {
	policy := "default-src 'none'; style-src '" + styleHash + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// show shows what ships to whoever has just logged in, and sends everybody else
// to log in. Before that nothing is told about the release, not even whether it
// exists.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	release := r.PathValue("release")
	if !signals.ValidReleaseID(release) {
		p.message(w, http.StatusNotFound, "No such release", "A release's id has letters, digits, dots, dashes and underscores only.", "")
		return
	}
	s, err := p.session(r, release)
	if err != nil {
		p.logIn(w, r, release)
		return
	}
	status, err := p.Desk.Release(r.Context(), release)
	if err != nil {
		p.fault(w, err, release)
		return
	}
	if status.PlanDigest != s.PlanDigest {
		p.forget(w, release)
		p.message(w, http.StatusConflict, "The plan has changed", "It changed after you logged in. Log in again to read the one that holds now.", release)
		return
	}
	p.render(w, http.StatusOK, s, status, draft{})
}

func (p *page) logIn(w http.ResponseWriter, r *http.Request, release string) {
	request := auth.NewLoginRequest(p.ACR, p.MaxAge)
	target, err := p.Login.AuthURL(r.Context(), request)
	if err == nil {
		err = p.begin(w, pendingLogin{Request: request, Release: release, Expires: p.Now().Add(loginTime)})
	}
	if err != nil {
		p.Log.ErrorContext(r.Context(), "a login can't begin", "error", err)
		p.message(w, http.StatusServiceUnavailable, "You can't log in now", "The identity provider can’t be reached. Try again in a moment.", release)
		return
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// callback finishes a login, and binds it to the plan that the release has now.
func (p *page) callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	login, err := p.returned(w, r, query.Get("state"))
	if err != nil {
		p.refuse(r, "login", "", nil, err)
		p.message(w, http.StatusBadRequest, "The login can't be used", sentence(err), "")
		return
	}
	if refusal := query.Get("error"); refusal != "" {
		p.message(w, http.StatusForbidden, "You are not logged in", "The identity provider says: "+refusal+" "+query.Get("error_description"), login.Release)
		return
	}
	who, err := p.Login.Exchange(r.Context(), query.Get("code"), login.Request)
	if errors.Is(err, auth.ErrIssuer) {
		p.message(w, http.StatusServiceUnavailable, "You can't log in now", "The identity provider can’t be reached. Try again in a moment.", login.Release)
		return
	}
	if err != nil {
		p.refuse(r, "login", login.Release, nil, err)
		p.message(w, http.StatusForbidden, "The login is not good enough", sentence(err), login.Release)
		return
	}
	who.Authn.Channel = "web"
	status, err := p.Desk.Release(r.Context(), login.Release)
	if err != nil {
		p.fault(w, err, login.Release)
		return
	}
	s := session{
		ID: random(), Identity: who, Release: login.Release, PlanDigest: status.PlanDigest, Expires: who.Authn.At.Add(p.MaxAge),
	}
	if err := p.keep(w, s); err != nil {
		p.fault(w, err, login.Release)
		return
	}
	http.Redirect(w, r, "/decide/"+url.PathEscape(login.Release), http.StatusSeeOther)
}

// draft is what somebody has filled in, and what was wrong with it. It is about
// the release, or about the pending command that Command names.
type draft struct{ Command, Reason, Fault string }

// decide takes the form.
func (p *page) decide(w http.ResponseWriter, r *http.Request) {
	release := r.PathValue("release")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.message(w, http.StatusBadRequest, "The form can't be read", "It is longer than it can be, or broken. Open the page again.", release)
		return
	}
	s, err := p.session(r, release)
	if err != nil {
		if !errors.Is(err, errNoSession) {
			p.refuse(r, signals.ApprovalMessage, release, nil, err)
		}
		p.message(w, http.StatusForbidden, "You are not logged in", sentence(err), release)
		return
	}
	nonce, err := p.nonce(s, r.PostForm.Get("token"))
	if err == nil {
		err = p.origin.Check(r)
	}
	if err != nil {
		p.refuse(r, signals.ApprovalMessage, release, &s.Identity.Subject, err)
		p.message(w, http.StatusForbidden, "Nothing was decided", sentence(err), release)
		return
	}
	decision := desk.Decision{
		Release: release, PlanDigest: s.PlanDigest, Decision: signals.Decision(r.PostForm.Get("decision")),
		Reason: strings.TrimSpace(r.PostForm.Get("reason")), Command: r.PostForm.Get("command"), Nonce: nonce,
	}
	filled := draft{Command: decision.Command, Reason: decision.Reason}
	switch {
	case !slices.Contains([]signals.Decision{signals.Approve, signals.Deny, signals.Withdraw}, decision.Decision):
		filled.Fault = "Choose one of the buttons."
	case decision.Reason == "":
		filled.Fault = "Give a reason; it becomes part of your signature."
	case len([]rune(decision.Reason)) > maxReason:
		filled.Fault = fmt.Sprintf("The reason is longer than %d characters.", maxReason)
	}
	if filled.Fault != "" {
		p.again(w, r, s, http.StatusUnprocessableEntity, filled)
		return
	}
	receipt, err := p.Desk.Decide(r.Context(), s.Identity, decision)
	if err != nil {
		filled.Fault = sentence(errors.New(desk.Explain(err)))
		p.again(w, r, s, statusOf(err), filled)
		return
	}
	p.forget(w, release)
	p.done(w, s, decision, receipt)
}

// again shows the page once more, with what was filled in and why it did not do.
func (p *page) again(w http.ResponseWriter, r *http.Request, s session, code int, d draft) {
	status, err := p.Desk.Release(r.Context(), s.Release)
	if err != nil {
		p.message(w, code, "Nothing was decided", d.Fault, s.Release)
		return
	}
	if status.PlanDigest != s.PlanDigest {
		p.forget(w, s.Release)
		p.message(w, http.StatusConflict, "The plan has changed", "Nothing was decided. Log in again to read the plan that holds now.", s.Release)
		return
	}
	p.render(w, code, s, status, d)
}

func (p *page) refuse(r *http.Request, what, release string, who *signals.Subject, err error) {
	p.Desk.Refuse(desk.Refusal{
		What: what, Channel: "web", Reasons: []string{err.Error()}, Subject: who, Remote: r.RemoteAddr, About: release,
	})
}

// fault shows what kept the desk from answering.
func (p *page) fault(w http.ResponseWriter, err error, release string) {
	title := "This can't be shown now"
	switch {
	case errors.Is(err, desk.ErrNotFound):
		title = "No such release"
	case errors.Is(err, desk.ErrEnded):
		title = "The release has ended"
	}
	p.message(w, statusOf(err), title, sentence(errors.New(desk.Explain(err))), release)
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, desk.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, desk.ErrNotAllowed), errors.Is(err, desk.ErrStepUp):
		return http.StatusForbidden
	case errors.Is(err, desk.ErrConflict), errors.Is(err, desk.ErrEnded), errors.Is(err, desk.ErrReplayed):
		return http.StatusConflict
	case errors.Is(err, desk.ErrInvalid):
		return http.StatusUnprocessableEntity
	}
	return http.StatusServiceUnavailable
}

// sentence makes an error's text one to read: with a capital and a full stop.
func sentence(err error) string {
	text := []rune(err.Error())
	if len(text) == 0 {
		return ""
	}
	return strings.TrimRight(strings.ToUpper(string(text[0]))+string(text[1:]), ".") + "."
}
