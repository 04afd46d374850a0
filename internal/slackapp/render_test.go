package slackapp

import (
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

var update = flag.Bool("update", false, "write the golden files anew")

func asJSON(t require.TestingT, v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(v))
	return b.String()
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, file := asJSON(t, v), filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "go test ./internal/slackapp -update writes it anew; read the difference first")
}

func stepUp() *signals.StepUp { return &signals.StepUp{MaxAge: signals.Duration(5 * time.Minute)} }

func variants() map[string]signals.Announcement {
	asked := announced()
	mixed := announced()
	mixed.Approval.Needed.Groups[1].StepUp = stepUp()
	mixed.Approval.Missing = signals.Quorum{Groups: mixed.Approval.Needed.Groups[1:]}
	mixed.Approval.Needed.Groups[0].StepUp = nil
	mixed.Approval.Given = []signals.ApprovalView{
		{Decision: signals.Approve, By: "on-call", Void: "left the group payments-leads", Place: "payments-leads", Reason: "looks fine", At: aStart},
		{Decision: signals.Approve, By: "release-lead", Place: "payments-leads", Reason: "Read the diff.\nRan it in staging.", At: aStart.Add(time.Minute)},
	}
	both := announced()
	both.Approval.Missing.Groups[1].StepUp = stepUp()
	running := announced()
	running.Phase, running.Doing, running.Weight = signals.Canary, "watches the canary", 5
	running.Approval.Missing = signals.Quorum{}
	running.Pending = []signals.PendingCommand{{ID: "n1", Command: signals.Skip, By: "on-call", Reason: "The window is quiet.", At: aStart}}
	running.Paused = "on-call: the database is being looked at"
	emergency := announced()
	emergency.BreakGlass = "Refunds are paid out twice."
	ended := announced()
	ended.Phase, ended.Outcome, ended.Reasons = signals.Settled, signals.RolledBack, []string{"error ratio: canary 5 % against 0.4 %"}
	ended.Approval.Missing = signals.Quorum{}
	ended.Next = []signals.NextAction{{Who: "on-call", What: "read the papers", Command: "waybill evidence report " + aRelease}}
	bare := signals.Announcement{Release: "r-1", Service: "payments-api", Environment: "staging", Phase: signals.Intake, Doing: "resolves the request"}
	return map[string]signals.Announcement{
		"asked": asked, "step-up": mixed, "both": both, "running": running, "break-glass": emergency, "ended": ended, "bare": bare,
	}
}

func TestMessagesLookAsTheyShould(t *testing.T) {
	for name, a := range variants() {
		t.Run(name, func(t *testing.T) {
			golden(t, "message-"+name, map[string]any{"text": summary(a), "blocks": message(a, aGateway)})
		})
	}
}

func TestModalsLookAsTheyShould(t *testing.T) {
	v := variants()
	about := subject{Decision: signals.Approve}.of(v["both"])
	golden(t, "modal-approve", decideModal(v["both"], about, aGateway))
	about.Decision = signals.Deny
	golden(t, "modal-deny", decideModal(v["break-glass"], about, aGateway))
	golden(t, "modal-command", decideModal(v["running"], subject{Decision: signals.Approve, Command: "n1"}.of(v["running"]), aGateway))
	golden(t, "modal-details", detailsModal(v["step-up"]))
	golden(t, "modal-receipt", receiptModal(about, signals.Receipt{Accepted: true, Message: "counted", Missing: announced().Approval.Missing}))
}

func TestButtonsFollowTheState(t *testing.T) {
	v := variants()
	for name, want := range map[string][]string{
		"asked":       {actionApprove, actionDeny, actionDetails},
		"step-up":     {actionOpen, actionWithdraw, actionDetails},
		"both":        {actionApprove, actionDeny, actionOpen, actionDetails},
		"running":     {actionApprove, actionDeny, actionDetails},
		"break-glass": {actionApprove, actionDeny, actionDetails},
		"ended":       nil,
		"bare":        {actionDetails},
	} {
		var got []string
		for _, b := range message(v[name], aGateway) {
			if row, ok := b.(*slack.ActionBlock); ok {
				for _, e := range row.Elements.ElementSet {
					button := e.(*slack.ButtonBlockElement)
					got = append(got, button.ActionID)
					if button.ActionID == actionOpen {
						assert.Equal(t, aGateway+"/decide/"+aRelease, button.URL)
						assert.Contains(t, button.Text.Text, "risk")
					}
				}
			}
		}
		assert.Equal(t, want, got, name)
	}
}

// hostile is text that somebody might try.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			"", "<!channel> <!here> <@U0RISKOFFICER>", "<https://evil.example|CHG-1042>", "```", "`*approved*`", "> quoted", "&lt;!channel&gt;",
			"ok\n*approved* by `risk-officer`", "\u202Egnp.exe\u2066", "a\u200Bb\u2028c", strings.Repeat("&", 4000), strings.Repeat("🚀", 3000),
			strings.Repeat("long line\n", 500), "@channel #general https://evil.example", "\xff\xfe", "|>pipe", strings.Repeat("ж", 2500),
		}),
	)
}

func anyAnnouncement(t *rapid.T) signals.Announcement {
	text := hostile()
	draw := func(name string) string { return text.Draw(t, name) }
	list := rapid.SliceOfN(text, 0, 30)
	a := signals.Announcement{
		Release: rapid.StringMatching(`[A-Za-z0-9][-._A-Za-z0-9]{0,126}`).Draw(t, "release"), Run: rapid.StringMatching(`[-0-9a-f]{36}`).Draw(t, "run"),
		Service: draw("service"), Environment: draw("environment"), Tier: rapid.IntRange(0, 2).Draw(t, "tier"), Owner: draw("owner"),
		Runbook: draw("runbook"), Artifact: signals.Artifact{Repository: draw("repository"), Tag: draw("tag"), Digest: anOCI},
		Commit: draw("commit"), Compare: draw("compare"), Ticket: draw("ticket"), Reason: draw("reason"), Requester: draw("requester"),
		BreakGlass: draw("breakGlass"), PlanDigest: aPlan, Tests: draw("tests"), Scans: draw("scans"), Policy: list.Draw(t, "policy"),
		Radius: list.Draw(t, "radius"), LKG: draw("lkg"), LKGRelease: draw("lkgRelease"), LKGCommit: draw("lkgCommit"),
		Phase: rapid.SampledFrom(signals.Phases()).Draw(t, "phase"), Doing: draw("doing"), Paused: draw("paused"),
		Weight: rapid.Int32Range(0, 100).Draw(t, "weight"), Outcome: rapid.SampledFrom([]signals.OutcomeKind{"", "", signals.Promoted, signals.Denied}).Draw(t, "outcome"),
		Reasons: list.Draw(t, "reasons"),
	}
	for range rapid.IntRange(0, 20).Draw(t, "many") {
		a.Steps = append(a.Steps, signals.Step{Phase: signals.Ramp, Weight: 7, Window: watched(time.Hour, 1)})
		a.Excluded = append(a.Excluded, signals.Exclusion{Identity: draw("excluded"), As: draw("as")})
		a.Approval.Given = append(a.Approval.Given, signals.ApprovalView{Decision: signals.Approve, By: draw("by"), Void: draw("void"), Place: draw("place"), Reason: draw("why"), At: aStart})
		a.Pending = append(a.Pending, signals.PendingCommand{ID: "0123456789abcdef0123456789abcdef", Command: signals.Skip, By: draw("by"), Reason: draw("why"), At: aStart})
		a.Next = append(a.Next, signals.NextAction{Who: draw("who"), What: draw("what"), Command: draw("command")})
		group := signals.GroupQuorum{Group: draw("group"), Count: 1}
		if rapid.Bool().Draw(t, "stepUp") {
			group.StepUp = stepUp()
		}
		a.Approval.Needed.Groups = append(a.Approval.Needed.Groups, group)
	}
	a.Approval.Missing, a.Approval.Expires = a.Approval.Needed, aStart
	return a
}

// mark is all that the app itself writes between angle brackets: dates, and links
// to pages of the web.
var bracket = regexp.MustCompile(`^<(!date\^\d+\^[^<>|]*\|[^<>]*|https?://[^<>| ]+\|[^<>|]*)>`)

// sane fails for anything that Slack would refuse, or take for a mention or a
// link that the app didn't mean.
func sane(t *rapid.T, blocks []slack.Block) {
	require.LessOrEqual(t, len(blocks), maxBlocks)
	check := func(text *slack.TextBlockObject, limit int) {
		require.NoError(t, text.Validate())
		require.LessOrEqual(t, size(text.Text), limit)
		require.NotContains(t, text.Text, "\u202e")
		if text.Type != slack.MarkdownType {
			return
		}
		require.True(t, text.Verbatim, "Slack makes no links and mentions of its own")
		rest := text.Text
		for {
			i := strings.IndexAny(rest, "<>")
			if i < 0 {
				break
			}
			if rest[i] == '>' {
				require.True(t, i == 0 || rest[i-1] == '\n', "a bare > marks a quotation only: %q", rest)
				rest = rest[i+1:]
				continue
			}
			found := bracket.FindString(rest[i:])
			require.NotEmpty(t, found, "%q", rest[i:])
			// What follows keeps its place in the line.
			rest = "\x00" + rest[i+len(found):]
		}
		require.Zero(t, strings.Count(text.Text, "`")%2, "code ends where it began: %q", text.Text)
	}
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			check(b.Text, maxHeader)
		case *slack.SectionBlock:
			require.LessOrEqual(t, len(b.Fields), 10)
			if b.Text != nil {
				check(b.Text, 3000)
			}
			for _, f := range b.Fields {
				check(f, 2000)
			}
		case *slack.ContextBlock:
			require.LessOrEqual(t, len(b.ContextElements.Elements), 10)
			for _, e := range b.ContextElements.Elements {
				check(e.(*slack.TextBlockObject), 3000)
			}
		case *slack.ActionBlock:
			require.LessOrEqual(t, len(b.Elements.ElementSet), 25)
			for _, e := range b.Elements.ElementSet {
				button := e.(*slack.ButtonBlockElement)
				check(button.Text, 75)
				require.LessOrEqual(t, len(button.Value), 2000)
				require.LessOrEqual(t, len(button.URL), 3000)
			}
		case *slack.InputBlock:
			check(b.Label, 2000)
			check(b.Hint, 2000)
		default:
			t.Fatalf("block %T is not known here", b)
		}
	}
}

func TestWhateverIsAnnouncedSlackTakesAndNobodyIsFooled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAnnouncement(t)
		blocks := message(a, aGateway)
		sane(t, blocks)
		require.LessOrEqual(t, len(clickBody(t, a, blocks)), maxBody, "a click brings the whole message back")
		about := subject{Decision: signals.Approve, Command: rapid.SampledFrom([]string{"", "0123456789abcdef0123456789abcdef"}).Draw(t, "command")}.of(a)
		for _, view := range []*slack.ModalViewRequest{
			decideModal(a, about, aGateway), detailsModal(a), sorryModal(a.Doing, a.Doing),
			receiptModal(about, signals.Receipt{Message: a.Doing, Missing: a.Approval.Missing}),
		} {
			require.LessOrEqual(t, size(view.Title.Text), 24)
			require.LessOrEqual(t, len(view.PrivateMetadata), 3000)
			sane(t, view.Blocks.BlockSet)
		}
		require.Less(t, len(submitBody(t, decideModal(a, about, aGateway))), maxBody, "and a modal brings itself")
	})
}

// clickBody is about what Slack sends for a click on a message: it writes what is
// not ASCII as \uXXXX, and sends all as a form.
func clickBody(t *rapid.T, a signals.Announcement, blocks []slack.Block) string {
	return "payload=" + url.QueryEscape(strconv.QuoteToASCII(asCompactJSON(t, map[string]any{
		"type": typeActions, "message": map[string]any{"text": summary(a), "blocks": blocks, "metadata": mark(signals.PublishInput{Announcement: a})},
		"actions": []map[string]string{{"action_id": actionApprove, "value": subject{}.of(a).text()}},
	})))
}

func submitBody(t *rapid.T, view *slack.ModalViewRequest) string {
	return "payload=" + url.QueryEscape(strconv.QuoteToASCII(asCompactJSON(t, map[string]any{
		"type": typeSubmission, "view": view, "state": strings.Repeat("x", maxRationale),
	})))
}

func asCompactJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestTextsAreCutAtWholeCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, limit := hostile().Draw(t, "s"), rapid.IntRange(1, 200).Draw(t, "limit")
		cut := plain(s, limit)
		require.LessOrEqual(t, size(cut), limit)
		require.True(t, utf8.ValidString(cut))
		require.NotContains(t, cut, "\n")
		require.LessOrEqual(t, size(fit(limit+20, strings.Split(s, "\n")...)), limit+20+10)
	})
}

func TestOnlyPagesOfTheWebAreLinked(t *testing.T) {
	assert.Equal(t, "<https://git.example/a?b=1&amp;c=2|see it>", link("https://git.example/a?b=1&c=2", "see it"))
	for _, address := range []string{"", "javascript:alert(1)", "//evil.example", "https://", "slack://channel", "https:evil.example"} {
		assert.Equal(t, "see it", link(address, "see it"), address)
	}
	assert.Equal(t, "<https://git.example/%7Ca|x/y>", link("https://git.example/|a", "x|y"))
}
