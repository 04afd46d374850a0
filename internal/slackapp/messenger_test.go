package slackapp

import (
	"fmt"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

func TestAReleaseHasOneMessageThatIsEdited(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	m := w.messenger()
	in := published()
	at, err := m.Publish(t.Context(), in)
	require.NoError(t, err)
	first := w.channel(t, "releases")
	require.Len(t, first, 1)
	assert.ElementsMatch(t, []string{actionApprove, actionDeny, actionDetails}, first[0].Buttons)
	assert.Contains(t, first[0].Says, "payments-api → prod")
	assert.Contains(t, first[0].Says, anOCI)

	in.Message = at
	in.Announcement.Outcome = signals.Promoted
	again, err := m.Publish(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, at, again)
	after := w.channel(t, "releases")
	require.Len(t, after, 1, "it is edited, not posted a second time")
	assert.Contains(t, after[0].Says, "promoted")
	assert.Empty(t, after[0].Buttons, "after the end there is nothing to click")
}

func TestAMessageWhosePostingWasNotAcknowledgedIsFoundAgain(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	other := published()
	other.Announcement.Run = "another run of the same release"
	_, err := w.messenger().Publish(t.Context(), other)
	require.NoError(t, err)
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{LoseAnswers: 1, Methods: []string{"chat.postMessage"}}))

	_, err = w.messenger().Publish(t.Context(), published())
	require.Error(t, err)
	require.Len(t, w.channel(t, "releases"), 2, "it was posted all the same")
	at, err := w.messenger().Publish(t.Context(), published())
	require.NoError(t, err)
	list := w.channel(t, "releases")
	require.Len(t, list, 2)
	assert.Equal(t, list[1].TS, at.ID, "the one of this run")
}

func TestADeletedMessageIsPostedAnew(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	in := published()
	in.Message = signals.MessageRef{Channel: "C0RELEASES", ID: "1700000000.000100"}
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	list := w.channel(t, "releases")
	require.Len(t, list, 1)
	assert.Equal(t, list[0].TS, at.ID)
}

func TestRepliesAreToldOnceAndQuietOnesTogether(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	m := w.messenger()
	in := published(event("a", "policy allows it"), event("b", "verified <!channel> `x`"))
	at, err := m.Publish(t.Context(), in)
	require.NoError(t, err)
	thread := w.thread(t, at)
	require.Len(t, thread, 1, "two quiet events are one message")
	assert.Equal(t, "policy allows it\nverified &lt;!channel&gt; 'x'", thread[0].Text)

	loud := event("c", "risk-officer denied")
	loud.Loud = true
	in = published(append(in.Replies, loud, event("d", "it ends"))...)
	in.Message = at
	for range 3 {
		_, err = m.Publish(t.Context(), in)
		require.NoError(t, err)
	}
	thread = w.thread(t, at)
	require.Len(t, thread, 3, "what was told is not told again")
	assert.Equal(t, []string{"risk-officer denied", "it ends"}, []string{thread[1].Text, thread[2].Text})
	channel := w.channel(t, "releases")
	require.Len(t, channel, 2, "the loud one stands in the channel, too")
	assert.Equal(t, "risk-officer denied", channel[1].Text)
}

func TestAReplyWhosePostingWasNotAcknowledgedIsNotRepeated(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	in := published()
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	in = published(event("a", "one"), event("b", "two"))
	in.Message = at
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{LoseAnswers: 1, Methods: []string{"chat.postMessage"}}))
	_, err = w.messenger().Publish(t.Context(), in)
	require.Error(t, err)
	_, err = w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	require.Len(t, w.thread(t, at), 1)
}

func TestEscalationsAreAlarmsWithALink(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	late := event("reminder-2", "the approval expires in a minute")
	late.Escalate, late.Loud = true, true
	in := published(event("quiet", "nothing to see"), late)
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	in.Message = at
	_, err = w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
	alarms := w.channel(t, "on-call")
	require.Len(t, alarms, 1)
	assert.Contains(t, alarms[0].Text, "expires in a minute")
	assert.Contains(t, alarms[0].Text, "|open the release's message>")

	in.Notify.Escalation = "#nowhere"
	in.Replies = append(in.Replies, event("later", "it goes on"))
	_, err = w.messenger().Publish(t.Context(), in)
	require.ErrorContains(t, err, "#nowhere")
	thread := w.thread(t, at)
	assert.Equal(t, "it goes on", thread[len(thread)-1].Text, "a missing channel for alarms holds nothing else up")
}

func aChart() *signals.Chart {
	bound := 0.02
	c := &signals.Chart{Title: "error ratio", Unit: "ratio", Verdict: signals.Fail, Bound: &bound, Decided: aStart.Add(time.Minute)}
	for i := range 6 {
		at := aStart.Add(time.Duration(i) * 10 * time.Second)
		c.Stable = append(c.Stable, signals.ChartPoint{At: at, Value: 0.004})
		c.Canary = append(c.Canary, signals.ChartPoint{At: at, Value: 0.01 * float64(i)})
	}
	return c
}

func TestAVerdictComesWithItsChartOnce(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	verdict := event("canary-5", "canary 5 %: error ratio fails")
	verdict.Chart = aChart()
	in := published(event("before", "the window begins"), verdict, event("after", "rolling back"))
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{LoseAnswers: 1, Methods: []string{"files.completeUploadExternal"}}))
	_, err := w.messenger().Publish(t.Context(), in)
	require.Error(t, err)
	at, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)

	thread := w.thread(t, at)
	require.Len(t, thread, 3)
	assert.Equal(t, []string{"the window begins", "canary 5 %: error ratio fails", "rolling back"}, []string{thread[0].Text, thread[1].Text, thread[2].Text})
	require.Len(t, thread[1].Files, 1)
	response, err := http.Get(thread[1].Files[0])
	require.NoError(t, err)
	defer response.Body.Close()
	image, err := png.Decode(response.Body)
	require.NoError(t, err)
	assert.Greater(t, image.Bounds().Dx(), 600)
}

func TestWordsAreToldWithoutAChartThatSlackRefuses(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	verdict := event("canary-5", "canary 5 %: pass")
	verdict.Chart = aChart()
	in := published(verdict)
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{Errors: map[string]string{"files.getUploadURLExternal": "file_uploads_disabled"}}))
	for range 2 {
		at, err := w.messenger().Publish(t.Context(), in)
		require.NoError(t, err)
		thread := w.thread(t, at)
		require.Len(t, thread, 1)
		assert.Equal(t, "canary 5 %: pass", thread[0].Text)
	}
}

func TestChartsOfAllKindsOfReadingsCanBeDrawn(t *testing.T) {
	for name, change := range map[string]func(*signals.Chart){
		"no canary": func(c *signals.Chart) { c.Canary = nil },
		"nothing":   func(c *signals.Chart) { c.Canary, c.Stable, c.Bound = nil, nil, nil },
		"one point": func(c *signals.Chart) { c.Canary, c.Stable = c.Canary[:1], c.Stable[:1] },
		"all zero":  func(c *signals.Chart) { c.Canary, c.Bound = c.Canary[:1], nil; c.Stable = nil },
		"negative":  func(c *signals.Chart) { c.Canary[0].Value = -3 },
		"long":      func(c *signals.Chart) { c.Title = strings.Repeat("x", 4000) },
	} {
		t.Run(name, func(t *testing.T) {
			c := aChart()
			change(c)
			b, err := draw(*c)
			require.NoError(t, err)
			_, err = png.Decode(strings.NewReader(string(b)))
			require.NoError(t, err)
		})
	}
}

func TestErrorsSayWhereAndWhatToDo(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{Scopes: []string{"chat:write", "channels:read", "channels:history"}})
	for name, tc := range map[string]struct {
		change func(*signals.PublishInput, *Options)
		faults slackemu.Faults
		says   []string
	}{
		"not in the channel": {
			change: func(in *signals.PublishInput, _ *Options) { in.Notify.Channel = "#general" },
			says:   []string{"#general", "not_in_channel", "/invite"},
		},
		"no such channel": {
			change: func(in *signals.PublishInput, _ *Options) { in.Notify.Channel = "#nowhere" },
			says:   []string{"#nowhere", "channel_not_found", "catalog"},
		},
		"bad token": {
			change: func(_ *signals.PublishInput, o *Options) { o.Token = "xoxb-other" },
			says:   []string{"invalid_auth", "install the app"},
		},
		"scope missing": {
			faults: slackemu.Faults{Errors: map[string]string{"conversations.history": "missing_scope"}},
			says:   []string{"#releases", "missing_scope", "channels:history, groups:history", "manifest.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, o := published(), Options{Token: "xoxb-emulator", APIURL: w.URL + "/api"}
			if tc.change != nil {
				tc.change(&in, &o)
			}
			require.NoError(t, w.Faults(t.Context(), tc.faults))
			_, err := New(o).Publish(t.Context(), in)
			for _, says := range tc.says {
				require.ErrorContains(t, err, says)
			}
			var failed *Error
			require.ErrorAs(t, err, &failed)
			assert.True(t, failed.Permanent())
			assert.Zero(t, failed.RetryAfter())
		})
	}
}

// TestAShortPauseIsWaitedOut has Slack refuse each fifth call: were every refusal
// to end the attempt, each attempt would end at the same call, for ever.
func TestAShortPauseIsWaitedOut(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{RateLimitEvery: 5, RetryAfter: 1}))
	in := published()
	bound := 0.1
	for i := range 4 {
		in.Replies = append(in.Replies, signals.Reply{
			Event: fmt.Sprintf("verdict/%d", i), Text: "passed", At: time.Now(),
			Chart: &signals.Chart{Title: "error-ratio", Verdict: signals.Pass, Bound: &bound, Stable: []signals.ChartPoint{{At: time.Now(), Value: 0.01}}},
		})
	}
	_, err := w.messenger().Publish(t.Context(), in)
	require.NoError(t, err)
}

func TestALimitedRateTellsWhenToTryAgain(t *testing.T) {
	w := startWorkspace(t, slackemu.Options{})
	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{RateLimitEvery: 1, RetryAfter: 7, Methods: []string{"chat.postMessage"}}))
	_, err := w.messenger().Publish(t.Context(), published())
	var limited interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &limited)
	assert.Equal(t, 7*time.Second, limited.RetryAfter())

	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{Down: signals.Duration(time.Minute), Answering: true}))
	_, err = w.messenger().Publish(t.Context(), published())
	var failed *Error
	require.ErrorAs(t, err, &failed)
	assert.False(t, failed.Permanent(), "a Slack that is down comes back by itself")
}
