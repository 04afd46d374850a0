package slackemu

import (
	"encoding/json"
	"net/http"
)

// control serves what tests and tools use in place of a browser. Slack has
// nothing of the kind.
func (s *Server) control() {
	s.mux.HandleFunc("GET /emulator/healthz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, object{"ok": true}) })
	handle(s, "POST /emulator/click", func(r *http.Request, c Click) (any, error) { return s.Press(r.Context(), c) })
	handle(s, "POST /emulator/submit", func(_ *http.Request, in Submission) (any, error) {
		entered := map[string][]string{}
		for name, value := range in.Values {
			entered[name] = []string{value}
		}
		return s.Fill(in.View, entered)
	})
	handle(s, "POST /emulator/type", func(_ *http.Request, in Slash) (any, error) { return s.Type(in) })
	handle(s, "PUT /emulator/faults", func(_ *http.Request, in Faults) (any, error) {
		s.SetFaults(in)
		return object{"ok": true}, nil
	})
	handle(s, "PUT /emulator/app", func(_ *http.Request, in App) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.socket = in.SocketMode
		return App{SocketMode: s.socket, Sockets: len(s.sockets)}, nil
	})
	handle(s, "GET /emulator/app", func(*http.Request, struct{}) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return App{SocketMode: s.socket, Sockets: len(s.sockets)}, nil
	})
	handle(s, "POST /emulator/disconnect", func(*http.Request, struct{}) (any, error) {
		s.Disconnect("refresh_requested")
		return object{"ok": true}, nil
	})
	handle(s, "PUT /emulator/users", func(_ *http.Request, in User) (any, error) {
		s.SetUser(in)
		return in, nil
	})
	handle(s, "GET /emulator/users", func(*http.Request, struct{}) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return append([]User{}, s.users...), nil
	})
	handle(s, "GET /emulator/messages", func(r *http.Request, _ struct{}) (any, error) {
		return s.Messages(r.FormValue("channel"), r.FormValue("thread"), r.FormValue("user"))
	})
}

// Submission is a modal filled in: Values by action id or block id.
type Submission struct {
	View   string            `json:"view"`
	Values map[string]string `json:"values"`
}

// App is how the app is reached, and how many sockets it has open.
type App struct {
	SocketMode bool `json:"socketMode"`
	Sockets    int  `json:"sockets"`
}

// Message is one as people read it.
type Message struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Thread  string `json:"thread,omitempty"`
	User    string `json:"user"`
	Text    string `json:"text"`
	// Says is the whole content, blocks included, a line each.
	Says    string   `json:"says"`
	Buttons []string `json:"buttons,omitempty"` // action ids
	Files   []string `json:"files,omitempty"`   // where they are served
	Edited  bool     `json:"edited,omitempty"`
	Only    string   `json:"only,omitempty"`
	Replies int      `json:"replies,omitempty"`
	// Event is metadata's event_payload.
	Event map[string]any `json:"event,omitempty"`
}

// SetUser adds a user, or changes the one with the id.
func (s *Server) SetUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.touch()
	if u.ID == "" {
		u.ID = UserID(u.Name)
	}
	for i := range s.users {
		if s.users[i].ID == u.ID {
			s.users[i] = u
			return
		}
	}
	s.users = append(s.users, u)
}

// Messages lists what a user (or anybody, if "") reads in a channel, or in one
// of its threads, oldest first.
func (s *Server) Messages(channel, thread, user string) ([]Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where := s.world.byName(channel)
	if where == nil {
		return nil, refuse("channel_not_found")
	}
	listed := []Message{}
	for _, m := range where.visible(thread, s.idOf(user)) {
		out := Message{
			Channel: where.ID, TS: m.TS, User: m.User, Text: m.Text, Says: m.plain(), Edited: m.Edited != nil, Only: m.Only, Replies: m.ReplyCount,
		}
		if m.reply() {
			out.Thread = m.ThreadTS
		}
		for _, c := range controls(m.Blocks) {
			if c.Button != nil {
				out.Buttons = append(out.Buttons, c.ActionID)
			}
		}
		for _, f := range m.Files {
			out.Files = append(out.Files, f.URLPrivate)
		}
		if m.Metadata != nil {
			out.Event = m.Metadata.EventPayload
		}
		listed = append(listed, out)
	}
	return listed, nil
}

func (s *Server) idOf(name string) string {
	if u := s.user(name); u != nil {
		return u.ID
	}
	return name
}

// visible are the messages that a user sees in the channel, or in a thread.
func (c *conversation) visible(thread, user string) []*message {
	var all []*message
	for _, m := range c.Messages {
		here := thread == "" && (!m.reply() || m.Broadcast) || thread != "" && (m.TS == thread || m.ThreadTS == thread)
		if here && (m.Only == "" || m.Only == user) {
			all = append(all, m)
		}
	}
	return all
}

// handle serves a control that takes and gives JSON.
func handle[In any](s *Server, pattern string, do func(*http.Request, In) (any, error)) {
	serve := func(w http.ResponseWriter, r *http.Request) {
		var in In
		if r.Method != http.MethodGet && r.ContentLength != 0 {
			decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&in); err != nil {
				writeJSON(w, http.StatusBadRequest, object{"error": err.Error()})
				return
			}
		}
		out, err := do(r, in)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, object{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, out)
	}
	s.mux.Handle(pattern, http.NewCrossOriginProtection().Handler(http.HandlerFunc(serve)))
}
