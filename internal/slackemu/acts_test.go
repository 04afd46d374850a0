package slackemu_test

import (
	"net/http"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
)

// opening lets the app answer clicks with a modal, and submissions as submit
// says.
func (b *bench) opening(submit func(slack.InteractionCallback) any) {
	b.app.interaction = func(c slack.InteractionCallback) (int, any) {
		if c.Type == slack.InteractionTypeViewSubmission {
			return http.StatusOK, submit(c)
		}
		_, err := b.api.OpenViewContext(b.t.Context(), c.TriggerID, modal("Approve r-1"))
		if err != nil {
			b.t.Errorf("open the modal: %v", err)
		}
		return http.StatusOK, nil
	}
}

func TestAClickOpensAModalWhoseSubmissionIsAnswered(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	channel, ts := b.ask()
	var answer any
	b.opening(func(slack.InteractionCallback) any { return answer })

	seen, err := b.act.Click(ctx, slackemu.Click{User: "release-lead", Channel: channel, TS: ts, Button: "approve"})
	require.NoError(t, err)
	require.Equal(t, "Approve r-1", seen.View.Title)
	require.Equal(t, []string{"why"}, seen.View.Inputs)
	click := b.app.told[0]
	require.Equal(t, "U0RELEASELEAD", click.User.ID)
	require.Equal(t, "T0PAYMENTS", click.Team.ID)
	require.Equal(t, "A0WAYBILL", click.APIAppID)
	require.Equal(t, ts, click.Message.Timestamp)
	require.Equal(t, channel, click.Channel.ID)
	require.Equal(t, "r-1", click.ActionCallback.BlockActions[0].Value)
	_, err = b.api.OpenViewContext(ctx, click.TriggerID, modal("Again"))
	require.ErrorContains(t, err, "exchanged_trigger_id")
	_, err = b.api.OpenViewContext(ctx, "1.2.3", modal("Again"))
	require.ErrorContains(t, err, "invalid_trigger_id")

	view := seen.View.ID
	seen, err = b.act.Submit(ctx, view, map[string]string{"why": ""})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"rationale": "This field is required"}, seen.View.Errors, "Slack's client does not send this off")
	require.Len(t, b.app.told, 1)

	answer = slack.NewErrorsViewSubmissionResponse(map[string]string{"rationale": "you wrote the change"})
	seen, err = b.act.Submit(ctx, view, map[string]string{"why": "read it"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"rationale": "you wrote the change"}, seen.View.Errors)
	submitted := b.app.told[1]
	require.Equal(t, "read it", submitted.View.State.Values["rationale"]["why"].Value)
	require.Equal(t, "r-1", submitted.View.PrivateMetadata)
	require.Equal(t, view, submitted.View.ID)
	require.NotEmpty(t, submitted.View.Hash)

	receipt := slack.ModalViewRequest{Type: slack.VTModal, Title: plain("Counted"), Blocks: slack.Blocks{BlockSet: []slack.Block{section("1 of 2")}}}
	answer = slack.NewUpdateViewSubmissionResponse(&receipt)
	seen, err = b.act.Submit(ctx, view, map[string]string{"why": "read it"})
	require.NoError(t, err)
	require.Equal(t, "Counted", seen.View.Title)
	require.Equal(t, view, seen.View.ID)
	require.Equal(t, "1 of 2", seen.View.Text)

	answer = slack.NewErrorsViewSubmissionResponse(map[string]string{"no-such-block": "x"})
	seen, err = b.act.Submit(ctx, view, nil)
	require.NoError(t, err)
	require.Contains(t, seen.Warning, "trouble connecting")

	answer = slack.NewClearViewSubmissionResponse()
	seen, err = b.act.Submit(ctx, view, nil)
	require.NoError(t, err)
	require.Nil(t, seen.View)
}

func TestModalsHaveLimitsToo(t *testing.T) {
	b := start(t)
	channel, ts := b.ask()
	b.app.interaction = func(c slack.InteractionCallback) (int, any) {
		long := modal("A title that no modal has room for")
		_, err := b.api.OpenViewContext(t.Context(), c.TriggerID, long)
		require.ErrorContains(t, err, "invalid_arguments")
		mute := modal("No submit")
		mute.Submit = nil
		_, err = b.api.OpenViewContext(t.Context(), c.TriggerID, mute)
		require.ErrorContains(t, err, "invalid_arguments")
		opened, err := b.api.OpenViewContext(t.Context(), c.TriggerID, modal("Fine"))
		require.NoError(t, err)
		_, err = b.api.UpdateViewContext(t.Context(), modal("Stale"), "", "0.1", opened.ID)
		require.ErrorContains(t, err, "hash_conflict")
		_, err = b.api.UpdateViewContext(t.Context(), modal("Fresh"), "", opened.Hash, opened.ID)
		require.NoError(t, err)
		return http.StatusOK, nil
	}
	seen, err := b.act.Click(t.Context(), slackemu.Click{User: "on-call", Channel: channel, TS: ts, Button: "approve"})
	require.NoError(t, err)
	require.Equal(t, "Fresh", seen.View.Title)
}

func TestALinkButtonLeadsOutAndIsToldToo(t *testing.T) {
	b := start(t)
	channel, ts := b.ask()
	told := make(chan string, 1)
	b.app.interaction = func(c slack.InteractionCallback) (int, any) {
		told <- c.ActionCallback.BlockActions[0].ActionID
		return http.StatusOK, nil
	}
	seen, err := b.act.Click(t.Context(), slackemu.Click{User: "risk-officer", Channel: channel, TS: ts, Button: "Open"})
	require.NoError(t, err)
	require.Equal(t, "https://gateway.example/decide/r-1", seen.URL)
	require.Equal(t, "open", <-told)
}

func TestCommandsAnswerAtOnceOrLater(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	var later string
	b.app.command = func(c slack.SlashCommand) (int, any) {
		require.Equal(t, "/waybill", c.Command)
		require.Equal(t, "U0ONCALL", c.UserID)
		later = c.ResponseURL
		if c.Text == "list" {
			return http.StatusOK, "no release runs"
		}
		return http.StatusOK, slack.Msg{ResponseType: slack.ResponseTypeInChannel, Text: "frozen"}
	}
	seen, err := b.act.Type(ctx, slackemu.Slash{User: "on-call", Channel: "#releases", Text: "/waybill list"})
	require.NoError(t, err)
	require.Equal(t, []string{"no release runs"}, seen.Messages)
	_, _, err = b.api.PostMessageContext(ctx, "", slack.MsgOptionResponseURL(later, slack.ResponseTypeEphemeral), slack.MsgOptionText("later", false))
	require.NoError(t, err)
	_, err = b.act.Type(ctx, slackemu.Slash{User: "on-call", Channel: "#releases", Text: "/waybill freeze"})
	require.NoError(t, err)

	mine, err := b.act.Messages(ctx, "#releases", "", "on-call")
	require.NoError(t, err)
	others, err := b.act.Messages(ctx, "#releases", "", "developer")
	require.NoError(t, err)
	require.Len(t, mine, 3)
	require.Len(t, others, 1)
	require.Equal(t, "frozen", others[0].Text)

	b.app.command = func(slack.SlashCommand) (int, any) { return http.StatusInternalServerError, nil }
	seen, err = b.act.Type(ctx, slackemu.Slash{User: "on-call", Channel: "#releases", Text: "/waybill list"})
	require.NoError(t, err)
	require.Contains(t, seen.Warning, "dispatch_failed")
}
