package slackemu_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
)

const secret = "shared with the app"

// bench is a workspace with an app that is told of what people do.
type bench struct {
	t   *testing.T
	emu *slackemu.Server
	url string
	api *slack.Client
	act slackemu.Client
	app *app
}

// app records its callbacks after having verified their signature, and answers
// as the test says.
type app struct {
	t           *testing.T
	mu          sync.Mutex
	headers     []http.Header
	interaction func(slack.InteractionCallback) (int, any)
	command     func(slack.SlashCommand) (int, any)
	told        []slack.InteractionCallback
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	verifier, err := slack.NewSecretsVerifier(r.Header, secret)
	if err == nil {
		_, _ = verifier.Write(body)
		err = verifier.Ensure()
	}
	if err != nil {
		a.t.Errorf("a callback's signature: %v", err)
		return
	}
	form := r.Clone(r.Context())
	form.Body = io.NopCloser(&bodyReader{raw: body})
	a.mu.Lock()
	a.headers = append(a.headers, r.Header)
	a.mu.Unlock()
	var status int
	var answer any
	if r.URL.Path == "/commands" {
		command, err := slack.SlashCommandParse(form)
		if err != nil {
			a.t.Errorf("a command: %v", err)
		}
		status, answer = a.command(command)
	} else {
		callback, err := slack.InteractionCallbackParse(form)
		if err != nil {
			a.t.Errorf("an interaction: %v", err)
		}
		a.mu.Lock()
		a.told = append(a.told, callback)
		a.mu.Unlock()
		status, answer = a.interaction(callback)
	}
	switch said := answer.(type) {
	case nil:
		w.WriteHeader(status)
	case string:
		w.WriteHeader(status)
		_, _ = io.WriteString(w, said)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(said)
	}
}

func (a *app) deliveries() []http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]http.Header{}, a.headers...)
}

type bodyReader struct{ raw []byte }

func (b *bodyReader) Read(p []byte) (int, error) {
	if len(b.raw) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.raw)
	b.raw = b.raw[n:]
	return n, nil
}

// start brings a workspace up; options may be changed before.
func start(t *testing.T, change ...func(*slackemu.Options)) *bench {
	t.Helper()
	a := &app{t: t}
	callbacks := httptest.NewServer(a)
	t.Cleanup(callbacks.Close)
	o := slackemu.Options{SigningSecret: secret, Interactions: callbacks.URL + "/interactions", Commands: callbacks.URL + "/commands"}
	for _, c := range change {
		c(&o)
	}
	emu, err := slackemu.New(o)
	require.NoError(t, err)
	server := httptest.NewServer(emu)
	t.Cleanup(func() {
		require.NoError(t, emu.Close())
		server.Close()
	})
	return &bench{
		t: t, emu: emu, url: server.URL, app: a, act: slackemu.Client{URL: server.URL},
		api: slack.New("xoxb-emulator", slack.OptionAPIURL(server.URL+"/api/"), slack.OptionAppLevelToken("xapp-emulator")),
	}
}

func section(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, text, false, false), nil, nil)
}

func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// ask posts a message with the buttons Approve and Open.
func (b *bench) ask() (channel, ts string) {
	b.t.Helper()
	approve := slack.NewButtonBlockElement("approve", "r-1", plain("Approve")).WithStyle(slack.StylePrimary)
	open := slack.NewButtonBlockElement("open", "", plain("Open")).WithURL("https://gateway.example/decide/r-1")
	channel, ts, err := b.api.PostMessageContext(b.t.Context(), "#releases", slack.MsgOptionText("r-1 waits", false),
		slack.MsgOptionBlocks(section("*r-1* waits"), slack.NewActionBlock("decide", approve, open)))
	require.NoError(b.t, err)
	return channel, ts
}

// modal asks for a rationale.
func modal(title string) slack.ModalViewRequest {
	rationale := slack.NewPlainTextInputBlockElement(plain("Why"), "why").WithMultiline(true).WithMinLength(3)
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain(title), Submit: plain("Approve"), PrivateMetadata: "r-1",
		Blocks: slack.Blocks{BlockSet: []slack.Block{section("plan `abc`"), slack.NewInputBlock("rationale", plain("Rationale"), nil, rationale)}},
	}
}
