package slackemu_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

func TestFaultsOfTheAPI(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	text := slack.MsgOptionText("x", false)
	count := func() int {
		all, err := b.act.Messages(ctx, "#releases", "", "")
		require.NoError(t, err)
		return len(all)
	}

	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{RateLimitEvery: 2, RetryAfter: 7}))
	_, _, err := b.api.PostMessageContext(ctx, "#releases", text)
	require.NoError(t, err)
	_, _, err = b.api.PostMessageContext(ctx, "#releases", text)
	var limited *slack.RateLimitedError
	require.ErrorAs(t, err, &limited)
	require.Equal(t, 7*time.Second, limited.RetryAfter)
	require.Equal(t, 1, count(), "a call over the limit does nothing")

	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{LoseAnswers: 1, Methods: []string{"chat.postMessage"}}))
	_, err = b.api.AuthTestContext(ctx)
	require.NoError(t, err)
	_, _, err = b.api.PostMessageContext(ctx, "#releases", text)
	require.Error(t, err)
	require.Equal(t, 2, count(), "the message is there although nobody was told")
	_, _, err = b.api.PostMessageContext(ctx, "#releases", text)
	require.NoError(t, err)

	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{Errors: map[string]string{"chat.postMessage": "is_archived"}}))
	_, _, err = b.api.PostMessageContext(ctx, "#releases", text)
	require.ErrorContains(t, err, "is_archived")

	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{Down: signals.Duration(time.Hour), Answering: true}))
	_, _, err = b.api.PostMessageContext(ctx, "#releases", text)
	var status slack.StatusCodeError
	require.ErrorAs(t, err, &status)
	require.Equal(t, http.StatusServiceUnavailable, status.Code)
	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{Down: signals.Duration(time.Hour)}))
	_, err = b.api.AuthTestContext(ctx)
	require.Error(t, err)
	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{}))
	_, err = b.api.AuthTestContext(ctx)
	require.NoError(t, err)
}

func TestCallbacksAreDeliveredAgain(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	channel, ts := b.ask()
	click := slackemu.Click{User: "release-lead", Channel: channel, TS: ts, Button: "approve"}
	b.app.interaction = func(slack.InteractionCallback) (int, any) { return http.StatusBadGateway, nil }
	seen, err := b.act.Click(ctx, click)
	require.NoError(t, err)
	require.Contains(t, seen.Warning, "didn't respond")
	require.Len(t, b.app.deliveries(), 1)

	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{Retries: 2, RetryDelay: signals.Duration(time.Millisecond)}))
	seen, err = b.act.Click(ctx, click)
	require.NoError(t, err)
	require.Equal(t, 3, seen.Deliveries)
	tries := b.app.deliveries()[1:]
	require.Len(t, tries, 3)
	require.Empty(t, tries[0].Get("X-Slack-Retry-Num"))
	require.Equal(t, "1", tries[1].Get("X-Slack-Retry-Num"))
	require.Equal(t, "2", tries[2].Get("X-Slack-Retry-Num"))
	require.Equal(t, "http_error", tries[2].Get("X-Slack-Retry-Reason"))

	b.opening(func(slack.InteractionCallback) any { return nil })
	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{}))
	seen, err = b.act.Click(ctx, click)
	require.NoError(t, err)
	before := len(b.app.deliveries())
	require.NoError(t, b.act.Faults(ctx, slackemu.Faults{Repeats: 2, RetryDelay: signals.Duration(time.Millisecond)}))
	seen, err = b.act.Submit(ctx, seen.View.ID, map[string]string{"why": "read it"})
	require.NoError(t, err)
	require.Nil(t, seen.View)
	require.Eventually(t, func() bool { return len(b.app.deliveries()) == before+3 }, 30*time.Second, 10*time.Millisecond)
	b.app.mu.Lock()
	defer b.app.mu.Unlock()
	last := b.app.told[len(b.app.told)-1]
	require.Equal(t, b.app.told[len(b.app.told)-3].View.Hash, last.View.Hash, "a repetition is the same submission")
}

func TestSocketMode(t *testing.T) {
	b := start(t, func(o *slackemu.Options) { o.SocketMode = true })
	ctx := t.Context()
	channel, ts := b.ask()
	click := slackemu.Click{User: "release-lead", Channel: channel, TS: ts, Button: "approve"}
	seen, err := b.act.Click(ctx, click)
	require.NoError(t, err)
	require.Contains(t, seen.Warning, "didn't respond", "no socket is open yet")

	client := socketmode.New(b.api)
	go func() { _ = client.RunContext(ctx) }()
	connected := make(chan struct{}, 10)
	go func() {
		for event := range client.Events {
			switch event.Type {
			case socketmode.EventTypeHello:
				connected <- struct{}{}
			case socketmode.EventTypeInteractive:
				callback, ok := event.Data.(slack.InteractionCallback)
				if !ok {
					t.Errorf("an envelope of %T", event.Data)
					continue
				}
				if callback.Type == slack.InteractionTypeViewSubmission {
					_ = client.Ack(*event.Request, slack.NewErrorsViewSubmissionResponse(map[string]string{"rationale": "too short"}))
					continue
				}
				if _, err := b.api.OpenViewContext(ctx, callback.TriggerID, modal("By socket")); err != nil {
					t.Errorf("open the modal: %v", err)
				}
				_ = client.Ack(*event.Request)
			case socketmode.EventTypeSlashCommand:
				_ = client.Ack(*event.Request, map[string]any{"text": "by socket"})
			}
		}
	}()
	<-connected
	seen, err = b.act.Click(ctx, click)
	require.NoError(t, err)
	require.Equal(t, "By socket", seen.View.Title)
	seen, err = b.act.Submit(ctx, seen.View.ID, map[string]string{"why": "read it"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"rationale": "too short"}, seen.View.Errors)
	seen, err = b.act.Type(ctx, slackemu.Slash{User: "on-call", Channel: "#releases", Text: "/waybill list"})
	require.NoError(t, err)
	require.Equal(t, []string{"by socket"}, seen.Messages)

	require.NoError(t, b.act.Disconnect(ctx))
	<-connected
	require.Eventually(t, func() bool {
		app, err := b.act.App(ctx)
		return err == nil && app.Sockets == 1
	}, 30*time.Second, 20*time.Millisecond, "the old socket goes when the new one has come")
	seen, err = b.act.Click(ctx, click)
	require.NoError(t, err)
	require.Equal(t, "By socket", seen.View.Title)
}
