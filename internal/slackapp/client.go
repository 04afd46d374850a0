package slackapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// callTimeout bounds each call to Slack. Whoever called tries again.
const callTimeout = 10 * time.Second

// Pauses that Slack asks for are waited out in place if they are short, so that
// an update of many calls gets on under a limit; longer ones are the caller's.
const (
	shortPause = 2 * time.Second
	mostPauses = 3 // for one call
)

// shortPauses tells the client which refusals to wait out.
type shortPauses struct{ slack.RetryHandler }

// ShouldRetry reports whether the pause is short enough, and how long it is.
func (s shortPauses) ShouldRetry(state *slack.RetryState, request *http.Request, response *http.Response, err error) (bool, time.Duration) {
	again, pause := s.RetryHandler.ShouldRetry(state, request, response, err)
	return again && pause <= shortPause, pause
}

// newClient speaks to Slack's Web API at apiURL, Slack's own if that is empty.
func newClient(token, appToken, apiURL string, more ...slack.Option) *slack.Client {
	options := append([]slack.Option{slack.OptionHTTPClient(&http.Client{Timeout: callTimeout})}, more...)
	if appToken != "" {
		options = append(options, slack.OptionAppLevelToken(appToken))
	}
	if apiURL != "" {
		options = append(options, slack.OptionAPIURL(strings.TrimSuffix(apiURL, "/")+"/"))
	}
	return slack.New(token, options...)
}

// Error is a call to Slack that failed.
type Error struct {
	// Method is Slack's method, On what it was called on, such as a channel.
	Method, On string
	// Code is Slack's error code, "" if there was no answer.
	Code  string
	after time.Duration
	cause error
}

// Error says what failed, on what, and what to do about it.
func (e *Error) Error() string {
	text := "Slack: " + e.Method
	if e.On != "" {
		text += " on " + e.On
	}
	text += ": " + e.cause.Error()
	if hint := remedies[e.Code]; hint != "" {
		text += "; " + hint
	}
	if scopes := scopes[e.Method]; e.Code == "missing_scope" && len(scopes) > 0 {
		text += " (" + strings.Join(scopes, ", ") + ")"
	}
	return text
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.cause }

// RetryAfter is how long Slack asks to be left alone, 0 if it doesn't.
func (e *Error) RetryAfter() time.Duration { return e.after }

// Permanent reports whether trying again helps only after a person has changed
// something in Slack or in the configuration.
func (e *Error) Permanent() bool { return remedies[e.Code] != "" }

// remedies tell what a person has to do about errors that stay.
var remedies = map[string]string{ //nolint:gosec // words about tokens, and none of them
	"channel_not_found":           "there is no such channel, or it is private and the app is not in it; invite the app with /invite, or mend notify.channel in the catalog",
	"not_in_channel":              "invite the app into the channel with /invite",
	"is_archived":                 "the channel is archived; name another one in the catalog",
	"restricted_action":           "the workspace lets only some members post there; allow the app to",
	"invalid_auth":                "the bot token is refused; install the app and put its token into the configuration",
	"not_authed":                  "no bot token is configured",
	"token_revoked":               "the bot token was revoked; install the app again and configure the new token",
	"token_expired":               "the bot token has expired; configure the new one",
	"account_inactive":            "the app was removed from the workspace; install it again",
	"missing_scope":               "the app lacks a scope; update it from deploy/slack/manifest.yaml and install it again",
	"not_allowed_token_type":      "this takes a bot token (xoxb-…); for Socket Mode an app-level token (xapp-…) as well",
	"access_denied":               "the app may not do this; ask the workspace's administrators",
	"edit_window_closed":          "the workspace forbids editing messages of this age; allow the app to",
	"file_uploads_disabled":       "the workspace allows no files",
	"file_upload_size_restricted": "the workspace allows no files of this size",
	"invalid_blocks":              "Slack refuses the message's layout; this is a defect of Waybill",
	"msg_too_long":                "Slack refuses the message's length; this is a defect of Waybill",
}

// patient has a client wait short pauses out. It is for those whom nobody waits
// for: a click must be answered within three seconds.
func patient() slack.Option {
	config := slack.RetryConfig{MaxRetries: mostPauses, RetryAfterDuration: time.Minute, RetryAfterJitter: 200 * time.Millisecond}
	config.Handlers = []slack.RetryHandler{shortPauses{slack.NewRateLimitErrorRetryHandler(config)}}
	return slack.OptionRetryConfig(config)
}

// waitOut does over what Slack refused for a short while, where the client can't:
// it sends no upload a second time.
func waitOut(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		limited, ok := errors.AsType[*Error](err)
		if !ok || limited.after <= 0 || limited.after > shortPause || attempt > mostPauses {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(limited.after):
		}
	}
}

// fault wraps an error of the Slack client with what was attempted on what.
func fault(method, on string, err error) error {
	if err == nil {
		return nil
	}
	out := &Error{Method: method, On: on, cause: err}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		out.Code, out.after = "ratelimited", limited.RetryAfter
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		out.Code = answer.Err
		if answer.Err == "ratelimited" {
			out.after = time.Second
		}
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		out.Code = fmt.Sprintf("http_%d", status.Code)
	}
	return out
}

// hasCode reports whether err is Slack's answer of that code.
func hasCode(err error, code string) bool {
	failed, ok := errors.AsType[*Error](err)
	return ok && failed.Code == code
}
