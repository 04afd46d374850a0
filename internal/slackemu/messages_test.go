package slackemu_test

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
)

func TestMessagesAreKeptEditedAndFound(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	meta := slack.SlackMetadata{EventType: "waybill_release", EventPayload: map[string]any{"release": "r-1"}}
	channel, ts, err := b.api.PostMessageContext(ctx, "#releases", slack.MsgOptionText("waits", false), slack.MsgOptionMetadata(meta))
	require.NoError(t, err)
	require.Equal(t, "C0RELEASES", channel)

	_, _, _, err = b.api.UpdateMessageContext(ctx, channel, ts, slack.MsgOptionText("promoted", false))
	require.NoError(t, err)
	_, _, _, err = b.api.UpdateMessageContext(ctx, "releases", ts, slack.MsgOptionText("x", false))
	require.ErrorContains(t, err, "channel_not_found", "chat.update takes ids only")
	_, _, _, err = b.api.UpdateMessageContext(ctx, channel, "1.000000", slack.MsgOptionText("x", false))
	require.ErrorContains(t, err, "message_not_found")

	_, reply, err := b.api.PostMessageContext(ctx, channel, slack.MsgOptionTS(ts), slack.MsgOptionText("quiet", false))
	require.NoError(t, err)
	_, loud, err := b.api.PostMessageContext(ctx, channel, slack.MsgOptionTS(ts), slack.MsgOptionText("loud", false), slack.MsgOptionBroadcast())
	require.NoError(t, err)

	history, err := b.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel, IncludeAllMetadata: true})
	require.NoError(t, err)
	require.Len(t, history.Messages, 2, "the quiet reply is in the thread only")
	require.Equal(t, "loud", history.Messages[0].Text)
	require.Equal(t, "thread_broadcast", history.Messages[0].SubType)
	first := history.Messages[1]
	require.Equal(t, "promoted", first.Text)
	require.NotNil(t, first.Edited)
	require.Equal(t, meta, first.Metadata, "metadata outlives an edit that does not name it")
	require.Equal(t, 2, first.ReplyCount)
	require.Equal(t, loud, first.LatestReply)

	plainHistory, err := b.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel})
	require.NoError(t, err)
	require.Empty(t, plainHistory.Messages[1].Metadata.EventType, "metadata comes only when asked for")

	thread, more, cursor, err := b.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: ts, Limit: 2})
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, []string{ts, reply}, []string{thread[0].Timestamp, thread[1].Timestamp})
	thread, more, _, err = b.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: ts, Limit: 2, Cursor: cursor})
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, loud, thread[0].Timestamp)

	since, err := b.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel, Oldest: ts})
	require.NoError(t, err)
	require.Len(t, since.Messages, 1)

	link, err := b.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: channel, Ts: loud})
	require.NoError(t, err)
	require.Equal(t, b.url+"/client/C0RELEASES?thread="+ts+"#m"+loud, link)
}

func TestWhatSlackRefuses(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	post := func(channel string, options ...slack.MsgOption) error {
		_, _, err := b.api.PostMessageContext(ctx, channel, options...)
		return err
	}
	text := slack.MsgOptionText("x", false)
	require.ErrorContains(t, post("#nowhere", text), "channel_not_found")
	require.ErrorContains(t, post("#general", text), "not_in_channel")
	require.ErrorContains(t, post("#releases"), "no_text")
	require.ErrorContains(t, post("#releases", slack.MsgOptionText(strings.Repeat("x", 40_001), false)), "msg_too_long")
	_, _, _, err := b.api.JoinConversationContext(ctx, "C0GENERAL")
	require.NoError(t, err)
	require.NoError(t, post("#general", text))

	many := make([]slack.Block, 51)
	for i := range many {
		many[i] = slack.NewDividerBlock()
	}
	for what, blocks := range map[string][]slack.Block{
		"no more than 50 items": many,
		"150 characters":        {slack.NewHeaderBlock(plain(strings.Repeat("x", 151)))},
		"plain_text":            {slack.NewHeaderBlock(slack.NewTextBlockObject(slack.MarkdownType, "x", false, false))},
		"3000 characters":       {section(strings.Repeat("x", 3001))},
		"more than 0":           {section("")},
		"75 characters":         {slack.NewActionBlock("", slack.NewButtonBlockElement("a", "v", plain(strings.Repeat("x", 76))))},
		"want 1 to 25":          {slack.NewActionBlock("")},
		"duplicate block_id":    {slack.NewContextBlock("one", *plain("x")), slack.NewContextBlock("one", *plain("x"))},
		"alt_text":              {slack.NewImageBlock("https://x.example/a.png", "", "", nil)},
		"invalid slack file":    {slack.NewImageBlockSlackFile(&slack.SlackFileObject{ID: "F1"}, "chart", "", nil)},
	} {
		err := post("#releases", slack.MsgOptionBlocks(blocks...))
		require.ErrorContains(t, err, "invalid_blocks", what)
		var refused slack.SlackErrorResponse
		require.ErrorAs(t, err, &refused)
		require.Contains(t, strings.Join(refused.ResponseMetadata.Messages, "\n"), what)
	}

	stranger := slack.New("xoxb-wrong", slack.OptionAPIURL(b.url+"/api/"))
	_, err = stranger.AuthTestContext(ctx)
	require.ErrorContains(t, err, "invalid_auth")
	_, err = slack.New("xapp-emulator", slack.OptionAPIURL(b.url+"/api/")).AuthTestContext(ctx)
	require.ErrorContains(t, err, "not_allowed_token_type")

	narrow := start(t, func(o *slackemu.Options) { o.Scopes = []string{"chat:write", "users:read"} })
	_, err = narrow.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: "C0RELEASES"})
	require.ErrorContains(t, err, "missing_scope")
	who, err := narrow.api.GetUserInfoContext(ctx, "U0RELEASELEAD")
	require.NoError(t, err)
	require.Empty(t, who.Profile.Email, "e-mail addresses need a scope of their own")
}

func TestUsersAreWhoTheyAre(t *testing.T) {
	b := start(t)
	ctx := t.Context()
	who := func(name string) *slack.User {
		u, err := b.api.GetUserInfoContext(ctx, slackemu.UserID(name))
		require.NoError(t, err)
		return u
	}
	lead := who("release-lead")
	require.Equal(t, "release-lead@payments.example", lead.Profile.Email)
	require.True(t, lead.IsEmailConfirmed)
	require.Equal(t, "T0PAYMENTS", lead.TeamID)
	require.True(t, who("contractor").IsRestricted)
	require.True(t, who("left-company").Deleted)
	require.False(t, who("unconfirmed").IsEmailConfirmed)
	require.True(t, who("build-bot").IsBot)
	require.True(t, who("stranger").IsStranger)
	require.Equal(t, "T0PARTNER", who("stranger").TeamID)
	_, err := b.api.GetUserInfoContext(ctx, "U0NOBODY")
	require.ErrorContains(t, err, "user_not_found")

	found, err := b.api.GetUserByEmailContext(ctx, "Release-Lead@payments.example")
	require.NoError(t, err)
	require.Equal(t, lead.ID, found.ID)
	require.NoError(t, b.act.SetUser(ctx, slackemu.User{ID: lead.ID, Name: lead.Name, Email: lead.Profile.Email, Deactivated: true}))
	require.True(t, who("release-lead").Deleted)
}

func TestFilesAreSharedInThreads(t *testing.T) {
	b := start(t)
	channel, ts := b.ask()
	png := []byte("\x89PNG not really")
	shared, err := b.api.UploadFileContext(t.Context(), slack.UploadFileParameters{
		Filename: "chart.png", FileSize: len(png), Reader: bytes.NewReader(png), Title: "error-ratio", Channel: channel, ThreadTimestamp: ts,
	})
	require.NoError(t, err)
	thread, err := b.act.Messages(t.Context(), "#releases", ts, "")
	require.NoError(t, err)
	require.Len(t, thread, 2)
	require.Len(t, thread[1].Files, 1)
	response, err := http.Get(thread[1].Files[0])
	require.NoError(t, err)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, png, got)
	require.Equal(t, "image/png", response.Header.Get("Content-Type"))

	_, _, err = b.api.PostMessageContext(t.Context(), channel, slack.MsgOptionBlocks(
		slack.NewImageBlockSlackFile(&slack.SlackFileObject{ID: shared.ID}, "chart", "", nil)))
	require.NoError(t, err)
}

func TestARestartKeepsMessages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slack.json")
	keep := func(o *slackemu.Options) { o.File = file }
	b := start(t, keep)
	channel, ts := b.ask()
	_, err := b.api.UploadFileContext(t.Context(), slack.UploadFileParameters{
		Filename: "chart.png", FileSize: 3, Content: "png", Channel: channel, ThreadTimestamp: ts,
	})
	require.NoError(t, err)
	require.NoError(t, b.emu.Close())

	again := start(t, keep)
	thread, err := again.act.Messages(t.Context(), "releases", ts, "")
	require.NoError(t, err)
	response, err := http.Get(strings.Replace(thread[1].Files[0], b.url, again.url, 1))
	require.NoError(t, err)
	defer response.Body.Close()
	kept, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, "png", string(kept))
	_, _, _, err = again.api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText("later", false))
	require.NoError(t, err)
	_, newer := again.ask()
	require.Greater(t, newer, ts)
}
