package slackemu

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody is what a call may send.
const maxBody = 4 << 20

type object = map[string]any

// fault is a refusal as Slack words it: a code, and for blocks and arguments
// what was wrong with them.
type fault struct {
	code     string
	messages []string
	more     object
}

// Error is the code.
func (f *fault) Error() string { return strings.Join(append([]string{f.code}, f.messages...), ": ") }

func refuse(code string, messages ...string) error { return &fault{code: code, messages: messages} }

// call is one use of a method; args holds texts, and JSON for what is more.
type call struct {
	method string
	args   url.Values
}

func (c call) arg(name string) string { return c.args.Get(name) }

func (c call) flag(name string) bool { return c.arg(name) == "true" || c.arg(name) == "1" }

// method is one of the Web API: the scope that it needs ("" for none), whether
// it changes anything, and what it does with the lock held.
type method struct {
	scope string
	write bool
	app   bool // wants the app token
	do    func(*Server, call) (object, error)
}

// methods are those that the emulator has.
func methods() map[string]method {
	return map[string]method{
		"auth.test":                    {do: (*Server).authTest},
		"chat.postMessage":             {scope: "chat:write", write: true, do: (*Server).postMessage},
		"chat.postEphemeral":           {scope: "chat:write", write: true, do: (*Server).postEphemeral},
		"chat.update":                  {scope: "chat:write", write: true, do: (*Server).updateMessage},
		"chat.delete":                  {scope: "chat:write", write: true, do: (*Server).deleteMessage},
		"chat.getPermalink":            {do: (*Server).permalink},
		"conversations.list":           {scope: "channels:read", do: (*Server).listConversations},
		"conversations.info":           {scope: "channels:read", do: (*Server).conversationInfo},
		"conversations.join":           {scope: "channels:join", write: true, do: (*Server).joinConversation},
		"conversations.history":        {scope: "channels:history", do: (*Server).history},
		"conversations.replies":        {scope: "channels:history", do: (*Server).replies},
		"users.info":                   {scope: "users:read", do: (*Server).userInfo},
		"users.list":                   {scope: "users:read", do: (*Server).listUsers},
		"users.lookupByEmail":          {scope: "users:read.email", do: (*Server).lookupByEmail},
		"views.open":                   {write: true, do: (*Server).openView},
		"views.push":                   {write: true, do: (*Server).pushView},
		"views.update":                 {write: true, do: (*Server).updateView},
		"files.getUploadURLExternal":   {scope: "files:write", do: (*Server).getUploadURL},
		"files.completeUploadExternal": {scope: "files:write", write: true, do: (*Server).completeUpload},
		"files.info":                   {scope: "files:read", do: (*Server).fileInfo},
		"apps.connections.open":        {app: true, do: (*Server).openConnection},
	}
}

// allScopes are the bot scopes that any method wants, with those of commands.
func allScopes() []string {
	scopes := map[string]bool{"commands": true}
	for _, m := range methods() {
		if m.scope != "" {
			scopes[m.scope] = true
		}
	}
	return slices.Sorted(maps.Keys(scopes))
}

// serveAPI answers one call, unless a fault comes between.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("method")
	lose, done := s.meddle(w, r, name)
	if done {
		return
	}
	answer, err := s.answer(r, name)
	if problem := (*fault)(nil); errors.As(err, &problem) {
		answer = object{"ok": false, "error": problem.code}
		maps.Copy(answer, problem.more)
		if len(problem.messages) > 0 {
			answer["response_metadata"] = object{"messages": problem.messages}
		}
	} else if err != nil {
		answer = object{"ok": false, "error": "internal_error", "response_metadata": object{"messages": []string{err.Error()}}}
	}
	s.opts.Log.Debug("call", "method", name, "ok", answer["ok"], "error", answer["error"])
	if lose {
		cut(w)
		return
	}
	w.Header().Set("X-OAuth-Scopes", strings.Join(s.opts.Scopes, ","))
	writeJSON(w, http.StatusOK, answer)
}

// answer reads the call, checks who calls, and does what the method does.
func (s *Server) answer(r *http.Request, name string) (object, error) {
	args, err := arguments(r)
	if err != nil {
		return nil, err
	}
	m, known := methods()[name]
	if !known {
		return nil, &fault{code: "unknown_method", more: object{"req_method": name}}
	}
	token := args.Get("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	if err := s.authenticate(token, m); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := s.faults.Errors[name]; code != "" {
		return nil, refuse(code)
	}
	answer, err := m.do(s, call{method: name, args: args})
	if err != nil {
		return nil, err
	}
	answer["ok"] = true
	if m.write {
		s.touch()
	}
	return answer, nil
}

func (s *Server) authenticate(token string, m method) error {
	wanted, other := s.opts.BotToken, s.opts.AppToken
	if m.app {
		wanted, other = other, wanted
	}
	switch {
	case token == "":
		return refuse("not_authed")
	case token == other:
		return refuse("not_allowed_token_type")
	case token != wanted:
		return refuse("invalid_auth")
	case m.scope != "" && !slices.Contains(s.opts.Scopes, m.scope):
		return &fault{code: "missing_scope", more: object{"needed": m.scope, "provided": strings.Join(s.opts.Scopes, ",")}}
	}
	return nil
}

// arguments reads a call in any of the forms that Slack takes.
func arguments(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		if err := r.ParseForm(); err != nil {
			return nil, refuse("invalid_form_data")
		}
		return r.Form, nil
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, refuse("request_timeout")
	}
	if len(raw) == 0 {
		return url.Values{}, nil
	}
	return fields(raw)
}

// fields reads a JSON object into the form that calls have: texts as they are,
// all else as JSON, and nothing for null.
func fields(raw []byte) (url.Values, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, refuse("invalid_json")
	}
	args := url.Values{}
	for name, value := range parts {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		if string(value) != "null" {
			args.Set(name, text)
		}
	}
	return args, nil
}

func (s *Server) authTest(call) (object, error) {
	return object{
		"url": "https://" + s.opts.Domain + ".slack.com/", "team": s.opts.Domain, "user": "waybill",
		"team_id": s.opts.TeamID, "user_id": s.opts.BotUser, "bot_id": s.opts.BotID, "is_enterprise_install": false,
	}, nil
}
