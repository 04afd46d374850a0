package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	papers "github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// releasesChannel is where the demo's catalog has its releases told.
const releasesChannel = "releases"

// The buttons of a release's message.
const (
	buttonApprove = "waybill_approve"
	buttonDeny    = "waybill_deny"
)

// workspace is the stack's Slack, in which tests act as its people.
func workspace() slackemu.Client { return slackemu.Client{URL: stack.Slack, HTTP: apiClient} }

// messageOf waits for the release's message in Slack to be as wanted.
func messageOf(tb testing.TB, release, what string, wanted func(slackemu.Message) bool) slackemu.Message {
	tb.Helper()
	var last slackemu.Message
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		for _, m := range messages(tb, releasesChannel, "") {
			if m.Thread == "" && m.Event["release"] == release {
				last = m
				if wanted(m) {
					return m
				}
			}
		}
	}
	require.Fail(tb, "no such message in Slack", "release %s, waiting for %s; last seen:\n%s", release, what, last.Says)
	return last
}

// messages are what people read in a channel, or in a thread of it.
func messages(tb testing.TB, channel, thread string) []slackemu.Message {
	tb.Helper()
	list, err := workspace().Messages(tb.Context(), channel, thread, "")
	require.NoError(tb, err)
	return list
}

func asksToDecide(m slackemu.Message) bool { return slices.Contains(m.Buttons, buttonApprove) }

// click presses a button of a release's message as a member.
func click(tb testing.TB, member, release, button string) slackemu.Seen {
	tb.Helper()
	m := messageOf(tb, release, "button "+button, func(m slackemu.Message) bool { return slices.Contains(m.Buttons, button) })
	seen, err := workspace().Click(tb.Context(), slackemu.Click{User: member, Channel: m.Channel, TS: m.TS, Button: button})
	require.NoError(tb, err)
	return seen
}

// decideInSlack goes the whole way of a member: button, modal, rationale.
func decideInSlack(tb testing.TB, member, release, button, rationale string) slackemu.Seen {
	tb.Helper()
	opened := click(tb, member, release, button)
	require.NotNil(tb, opened.View, "no modal opened: %s %v", opened.Warning, opened.Messages)
	seen, err := workspace().Submit(tb.Context(), opened.View.ID, map[string]string{"rationale": rationale})
	require.NoError(tb, err)
	return seen
}

// said is everything that a member saw after an action.
func said(s slackemu.Seen) string {
	text := s.Warning + "\n" + strings.Join(s.Messages, "\n")
	if s.View != nil {
		text += "\n" + s.View.Text + fmt.Sprint(s.View.Errors)
	}
	return text
}

// postToSlackEndpoint sends the gateway a request as Slack would, signed by
// secret at a time.
func postToSlackEndpoint(tb testing.TB, path, body, secret string, at time.Time) int {
	tb.Helper()
	stamp := strconv.FormatInt(at.Unix(), 10)
	return postSigned(tb, path, body, stamp, signatureOf(secret, body, at))
}

// signatureOf is Slack's over a body at a time.
func signatureOf(secret, body string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%d:%s", at.Unix(), body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

func postSigned(tb testing.TB, path, body, stamp, signature string) int {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, stack.Gateway+path, strings.NewReader(body))
	require.NoError(tb, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-Slack-Request-Timestamp", stamp)
	request.Header.Set("X-Slack-Signature", signature)
	response, err := apiClient.Do(request)
	require.NoError(tb, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(tb, err)
	return response.StatusCode
}

// signingSecret is what the stack's Slack and the gateway share.
func signingSecret(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "keys", "slack-signing-secret"))
	require.NoError(tb, err)
	return strings.TrimSpace(string(text))
}

// submission is the body of a modal's submission, as Slack would send it.
func submission(tb testing.TB, member, view string, about map[string]string, rationale string) string {
	tb.Helper()
	metadata, err := json.Marshal(about)
	require.NoError(tb, err)
	payload, err := json.Marshal(map[string]any{
		"type": "view_submission", "api_app_id": "A0WAYBILL",
		"team": map[string]string{"id": "T0PAYMENTS"},
		"user": map[string]string{"id": slackemu.UserID(member), "team_id": "T0PAYMENTS"},
		"view": map[string]any{
			"id": view, "hash": "1.abc", "callback_id": "waybill_decide", "private_metadata": string(metadata),
			"state": map[string]any{"values": map[string]any{"rationale": map[string]any{"text": map[string]string{"type": "plain_text_input", "value": rationale}}}},
		},
	})
	require.NoError(tb, err)
	return url.Values{"payload": {string(payload)}}.Encode()
}

// predicates reads the records of a kind under a prefix of the bucket.
func predicates[T any](tb testing.TB, prefix string, kind signals.RecordKind) []T {
	tb.Helper()
	bucket := bucketAs(tb, "auditor")
	var found []T
	pages := s3.NewListObjectsV2Paginator(bucket, &s3.ListObjectsV2Input{Bucket: aws.String(stack.Bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(tb.Context())
		require.NoError(tb, err)
		for _, o := range page.Contents {
			if !strings.Contains(aws.ToString(o.Key), "-"+string(kind)+"-") {
				continue
			}
			object, err := bucket.GetObject(tb.Context(), &s3.GetObjectInput{Bucket: &stack.Bucket, Key: o.Key})
			require.NoError(tb, err)
			var body bytes.Buffer
			_, err = body.ReadFrom(object.Body)
			require.NoError(tb, errors.Join(err, object.Body.Close()))
			_, payload, err := papers.Unseal(body.Bytes())
			require.NoError(tb, err)
			statement, _, err := papers.ParseStatement(payload)
			require.NoError(tb, err)
			var p T
			require.NoError(tb, statement.Into(&p))
			found = append(found, p)
		}
	}
	return found
}

// refusedByRelease waits for a refusal in the release's own papers that says so.
func refusedByRelease(tb testing.TB, environment, release, says string) signals.RefusalPredicate {
	tb.Helper()
	return eventually(tb, "a refusal record of release "+release+" that says "+says, func() (signals.RefusalPredicate, bool) {
		for _, p := range predicates[signals.RefusalPredicate](tb, "v1/"+environment+"/payments-api/"+release+"/", signals.RecordRefusal) {
			if strings.Contains(strings.Join(p.Reasons, "; "), says) {
				return p, true
			}
		}
		return signals.RefusalPredicate{}, false
	})
}

// refusedByGateway waits for a refusal in the journal that says so and came
// after a time.
func refusedByGateway(tb testing.TB, says string, after time.Time) signals.RefusalStatement {
	tb.Helper()
	prefix := "v1/" + signals.JournalEnvironment + "/" + signals.JournalService + "/"
	return eventually(tb, "a refusal in the journal that says "+says, func() (signals.RefusalStatement, bool) {
		for _, p := range predicates[signals.JournalRefusalPredicate](tb, prefix, signals.RecordRefusal) {
			if !p.Statement.IssuedAt.Before(after) && strings.Contains(strings.Join(p.Statement.Reasons, "; "), says) {
				return p.Statement, true
			}
		}
		return signals.RefusalStatement{}, false
	})
}

// eventually asks until there is an answer.
func eventually[T any](tb testing.TB, what string, ask func() (T, bool)) T {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(300 * time.Millisecond) {
		got, ok := ask()
		if ok {
			return got
		}
		require.True(tb, time.Now().Before(deadline), "there is no %s", what)
	}
}
