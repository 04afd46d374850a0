package slackapp

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/signals"
)

// FuzzPayload reads what claims to be an interaction. Nothing may make the
// reader panic, and whatever it takes must be in the bounds that the rest relies
// on.
func FuzzPayload(f *testing.F) {
	click := `{"type":"block_actions","api_app_id":"A1","team":{"id":"T1"},"user":{"id":"U1","team_id":"T1"},"trigger_id":"1.2.3",` +
		`"actions":[{"action_id":"waybill_approve","block_id":"b","value":"{\"release\":\"r-1\",\"run\":\"x\",\"planDigest\":\"` + aPlan + `\"}"}]}`
	submit := `{"type":"view_submission","api_app_id":"A1","team":{"id":"T1"},"user":{"id":"U1"},"view":{"id":"V1","hash":"1.x","callback_id":"waybill_decide",` +
		`"private_metadata":"{\"release\":\"r-1\",\"run\":\"x\",\"planDigest\":\"` + aPlan + `\",\"decision\":\"approve\"}","state":{"values":{"rationale":{"text":{"type":"plain_text_input","value":"it is fine"}}}}}}`
	for _, s := range []string{
		click, submit, strings.Replace(submit, `"state":{`, `"state":null,"x":{`, 1), `{"type":"view_closed","user":{"id":"U1"}}`,
		`{"type":"block_actions","team":null,"user":null,"actions":null}`, `null`, `[]`, `{"type":7}`, "", strings.Repeat("[", 100),
	} {
		f.Add([]byte(url.Values{"payload": {s}}.Encode()))
		f.Add([]byte(s))
	}
	f.Add([]byte("payload=1&payload=2"))
	f.Add([]byte("payload=%zz;"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, read := range []func([]byte) (input, error){interactionForm, readInteraction, commandForm, readCommand} {
			in, err := read(body)
			if err != nil {
				if err.Error() == "" {
					t.Fatal("a refusal says why")
				}
				continue
			}
			within(t, in)
		}
	})
}

func within(t *testing.T, in input) {
	t.Helper()
	if !slackID.MatchString(in.User) || in.Team != "" && !slackID.MatchString(in.Team) || in.App != "" && !slackID.MatchString(in.App) {
		t.Fatalf("ids of another form were taken: %+v", in)
	}
	for _, s := range []string{in.Trigger, in.View.ID, in.View.Hash, in.View.Metadata, in.View.Rationale, in.Action.ID, in.Action.Value} {
		if !utf8.ValidString(s) || len(s) > utf8.UTFMax*maxRationale {
			t.Fatalf("text out of bounds was taken: %.100q", s)
		}
	}
	if about := in.about(); about != (subject{}) {
		if !signals.ValidReleaseID(about.Release) || about.PlanDigest != "" && !signals.ValidDigest(about.PlanDigest) {
			t.Fatalf("a button about nothing was taken: %+v", about)
		}
		again, err := readSubject(about.text())
		if err != nil || again != about {
			t.Fatalf("%+v came back as %+v: %v", about, again, err)
		}
	}
}

// FuzzCommand reads what somebody typed after /waybill.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"", "help", "list", "list payments-api", "status payments-api-prod-1", "freeze payments-api prod for 2h the audit looks at it",
		"freeze payments-api prod for the audit", "unfreeze payments-api prod it is over", "FREEZE a b for -1h x", "freeze a b for 9999999h x",
		"freeze a b for 2x why", "freeze a", "status ../x", "list Ü", "freeze a b \xff\xfe\xfd", "freeze a b for 1h", "\u2028list",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine(text)
		if err != nil {
			if err.Error() == "" || l != (line{}) {
				t.Fatalf("a refusal gives nothing but why: %+v %v", l, err)
			}
			return
		}
		switch l.Verb {
		case "help":
		case "list":
			if l.Service != "" && !signals.ValidName(l.Service) {
				t.Fatalf("service %q was taken", l.Service)
			}
		case "status":
			if !signals.ValidReleaseID(l.Release) {
				t.Fatalf("release %q was taken", l.Release)
			}
		case "freeze", "unfreeze":
			if !signals.ValidName(l.Service) || !signals.ValidName(l.Environment) || l.For < 0 || l.For > longestFreeze ||
				size(l.Reason) < minRationale || size(l.Reason) > maxRationale || !utf8.ValidString(l.Reason) {
				t.Fatalf("taken: %+v", l)
			}
			if l.Verb == "unfreeze" && l.For != 0 {
				t.Fatal("only a freeze ends by itself")
			}
		default:
			t.Fatalf("verb %q was taken", l.Verb)
		}
	})
}
