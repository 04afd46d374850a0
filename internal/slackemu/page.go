package slackemu

import (
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"css": func() template.CSS { return template.CSS(pageCSS) }, //nolint:gosec // our own
		"js":  func() template.JS { return template.JS(pageJS) },    //nolint:gosec // our own
	}).Parse(pageHTML))
)

// asCookie names who the browser's user is.
const asCookie = "slack-emulator-user"

// pages serves what people see. A page of somebody else's can't act here in
// their name.
func (s *Server) pages() {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/client/"+s.opts.Channels[0].ID, http.StatusFound)
	})
	pages.HandleFunc("GET /client/{channel}", s.showPage)
	pages.HandleFunc("POST /client/{channel}/as", s.becomes)
	pages.HandleFunc("POST /client/{channel}/click", s.clicks)
	pages.HandleFunc("POST /client/{channel}/type", s.types)
	pages.HandleFunc("POST /client/{channel}/dismiss", s.dismisses)
	pages.HandleFunc("POST /client/{channel}/view/{view}/submit", s.submits)
	pages.HandleFunc("POST /client/{channel}/view/{view}/close", s.closes)
	s.mux.Handle("/", http.NewCrossOriginProtection().Handler(pages))
}

// me is who the browser's user is: the first in the list until they choose.
func (s *Server) me(r *http.Request) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cookie, err := r.Cookie(asCookie); err == nil {
		if u := s.user(cookie.Value); u != nil {
			return *u
		}
	}
	return s.users[0]
}

// back returns to the page that a form was on.
func back(w http.ResponseWriter, r *http.Request) {
	to := url.URL{Path: "/client/" + r.PathValue("channel")}
	if thread := r.PostFormValue("thread"); thread != "" {
		to.RawQuery = url.Values{"thread": {thread}}.Encode()
	}
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// notice tells the user something on top of the page, until their next act.
func (s *Server) notice(user, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices[user] = text
}

// outcome notices what went wrong with an act, if anything did.
func (s *Server) outcome(user string, seen Seen, err error) {
	if err != nil {
		seen.Warning = err.Error()
	}
	s.notice(user, seen.Warning)
}

func (s *Server) becomes(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // served without TLS, on loopback
		Name: asCookie, Value: r.PostFormValue("user"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	back(w, r)
}

func (s *Server) clicks(w http.ResponseWriter, r *http.Request) {
	me := s.me(r)
	seen, err := s.Press(r.Context(), Click{
		User: me.ID, Channel: r.PathValue("channel"), TS: r.PostFormValue("ts"), View: r.PostFormValue("view"),
		Block: r.PostFormValue("block"), Button: r.PostFormValue("action"),
	})
	s.outcome(me.ID, seen, err)
	if address, bad := url.Parse(seen.URL); seen.URL != "" && bad == nil && strings.HasPrefix(address.Scheme, "http") {
		http.Redirect(w, r, seen.URL, http.StatusSeeOther)
		return
	}
	back(w, r)
}

func (s *Server) types(w http.ResponseWriter, r *http.Request) {
	me := s.me(r)
	if text := strings.TrimSpace(r.PostFormValue("text")); text != "" {
		seen, err := s.Type(Slash{User: me.ID, Channel: r.PathValue("channel"), Text: text})
		s.outcome(me.ID, seen, err)
	}
	back(w, r)
}

// dismisses takes a message for one's own eyes away.
func (s *Server) dismisses(w http.ResponseWriter, r *http.Request) {
	me := s.me(r)
	s.mu.Lock()
	if where := s.world.byID(r.PathValue("channel")); where != nil {
		for _, m := range where.Messages {
			if m.TS == r.PostFormValue("ts") && m.Only == me.ID {
				where.remove(m.TS)
				s.touch()
				break
			}
		}
	}
	s.mu.Unlock()
	back(w, r)
}

func (s *Server) submits(w http.ResponseWriter, r *http.Request) {
	me := s.me(r)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	entered := map[string][]string{}
	for name, values := range r.PostForm {
		if action, ok := strings.CutPrefix(name, "input:"); ok {
			entered[action] = values
		}
	}
	seen, err := s.Fill(r.PathValue("view"), entered)
	if err == nil {
		seen.Warning = "" // the modal itself says so
	}
	s.outcome(me.ID, seen, err)
	back(w, r)
}

func (s *Server) closes(w http.ResponseWriter, r *http.Request) {
	s.Dismiss(r.PathValue("view"))
	back(w, r)
}

func (s *Server) showPage(w http.ResponseWriter, r *http.Request) {
	me := s.me(r)
	data, ok := s.pageFor(me, r.PathValue("channel"), r.FormValue("thread"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; img-src * data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
	if err := page.Execute(w, data); err != nil {
		s.opts.Log.Error("page not written", "error", err)
	}
}

// pageFor collects what a user sees of a channel, and of one of its threads.
func (s *Server) pageFor(me User, channel, thread string) (pageView, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where := s.world.byName(channel)
	if where == nil || where.IM != "" && where.IM != me.ID {
		return pageView{}, false
	}
	p := pageView{Me: me, Channel: where.ID, Name: s.nameOf(where), Thread: thread, Domain: s.opts.Domain, Notice: s.notices[me.ID]}
	for _, u := range s.users {
		if !u.Bot {
			p.People = append(p.People, u)
		}
	}
	for _, c := range s.world.Conversations {
		if c.IM == "" || c.IM == me.ID {
			p.Channels = append(p.Channels, channelView{ID: c.ID, Name: s.nameOf(c), Here: c == where})
		}
	}
	for _, m := range where.visible("", me.ID) {
		p.Messages = append(p.Messages, s.messageView(where, m, ""))
	}
	if thread != "" {
		for _, m := range where.visible(thread, me.ID) {
			p.Replies = append(p.Replies, s.messageView(where, m, thread))
		}
	}
	if v := s.topView(me.ID); v != nil {
		p.Modal = s.modalView(v)
	}
	return p, true
}

func (s *Server) nameOf(c *conversation) string {
	if c.IM != "" {
		return "Waybill"
	}
	return "# " + c.Name
}

// name is what mentions of a user or channel show.
func (s *Server) name(id string) string {
	if u := s.user(id); u != nil {
		return u.Name
	}
	if c := s.world.byID(id); c != nil {
		return c.Name
	}
	if id == s.opts.BotUser {
		return "waybill"
	}
	return id
}

func (s *Server) messageView(c *conversation, m *message, thread string) messageView {
	v := messageView{
		Channel: c.ID, TS: m.TS, Thread: thread, Author: s.name(m.User), App: m.BotID != "", Only: m.Only != "",
		Edited: m.Edited != nil, Replies: m.ReplyCount, Time: at(m.TS).Format("15:04"), When: at(m.TS).Format(time.RFC1123),
		Broadcast: m.Broadcast && thread == "", Parent: m.ThreadTS,
	}
	if m.ReplyCount > 0 {
		v.LastReply = at(m.LatestReply).Format("15:04")
	}
	if v.App {
		v.Author = "Waybill"
	}
	v.Initial = strings.ToUpper(v.Author[:1])
	if len(m.Blocks.BlockSet) > 0 {
		v.Blocks = s.blockViews(m.Blocks)
	} else {
		v.Text = mrkdwn(m.Text, s.name)
	}
	for _, f := range m.Files {
		v.Files = append(v.Files, fileView{Title: f.Title, URL: "/files-pri/" + f.ID + "/" + url.PathEscape(f.Name), Image: strings.HasPrefix(f.Mimetype, "image/")})
	}
	return v
}

func (s *Server) modalView(v *view) *modalView {
	shown := &modalView{ID: v.ID, Title: plainHTML(v.Title.Text), Close: "Cancel", Lost: v.lost, Blocks: s.blockViews(v.Blocks)}
	if v.Close != nil {
		shown.Close = v.Close.Text
	}
	if v.Submit != nil {
		shown.Submit = v.Submit.Text
	}
	for i, block := range v.Blocks.BlockSet {
		input, ok := block.(*slack.InputBlock)
		if !ok {
			continue
		}
		in := shown.Blocks[i].Input
		in.Fault = v.faults[input.BlockID]
		values := initial(input.Element)
		if entered, ok := v.entered[in.Action]; ok {
			values = entered
		}
		in.fill(values)
	}
	return shown
}
