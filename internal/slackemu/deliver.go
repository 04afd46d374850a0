package slackemu

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// answerTime is how long the app may take for the answer to a callback.
const answerTime = 3 * time.Second

// usualRetryDelay is the time between deliveries of the same callback.
const usualRetryDelay = 500 * time.Millisecond

// Kinds of callbacks, by their names in Socket Mode.
const (
	interactive   = "interactive"
	slashCommands = "slash_commands"
)

// callback is something that the app is told.
type callback struct {
	kind    string
	payload object
	// respond tells whether the app's answer may say something.
	respond bool
}

// errDown is what a person meets when Slack itself is cut off.
var errDown = errors.New("Slack is out of reach") //nolint:staticcheck // a name

// deliver tells the app and returns what it answers. The deliveries that Faults
// ask for follow: retries while it failed, repeats in the background. Once sent
// off, a callback does not care whether the person closes the window.
func (s *Server) deliver(c callback) (body []byte, attempts int, err error) {
	s.mu.Lock()
	f, down := s.faults.Faults, s.down()
	s.mu.Unlock()
	if down {
		return nil, 0, errDown
	}
	delay := f.RetryDelay.D()
	if delay == 0 {
		delay = usualRetryDelay
	}
	reason := ""
	for attempts = range f.Retries + 1 {
		if attempts > 0 && !sleep(s.ctx, delay) {
			break
		}
		body, err = s.send(s.ctx, c, attempts, reason)
		if err == nil {
			break
		}
		reason = reasonOf(err)
		s.opts.Log.Info("callback failed", "kind", c.kind, "attempt", attempts, "reason", reason, "error", err)
	}
	attempts++
	s.work.Go(func() {
		for n := range f.Repeats {
			if !sleep(s.ctx, delay) {
				return
			}
			_, again := s.send(s.ctx, c, attempts+n, "http_timeout")
			s.opts.Log.Debug("callback repeated", "kind", c.kind, "error", again)
		}
	})
	return body, attempts, err
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// statusError is an answer that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the app answered %d", int(e)) }

// reasonOf is Slack's word in X-Slack-Retry-Reason.
func reasonOf(err error) string {
	switch status := statusError(0); {
	case errors.As(err, &status):
		return "http_error"
	case errors.Is(err, context.DeadlineExceeded):
		return "http_timeout"
	}
	return "connection_failed"
}

// send makes one delivery, by HTTP or through a socket.
func (s *Server) send(ctx context.Context, c callback, attempt int, reason string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	s.mu.Lock()
	socket := s.socket
	s.mu.Unlock()
	if socket {
		return s.sendSocket(ctx, c, attempt, reason)
	}
	address, form := s.opts.Interactions, url.Values{}
	if c.kind == slashCommands {
		address = s.opts.Commands
		for name, value := range c.payload {
			form.Set(name, fmt.Sprint(value))
		}
	} else {
		payload, err := json.Marshal(c.payload)
		if err != nil {
			return nil, err
		}
		form.Set("payload", string(payload))
	}
	if address == "" {
		return nil, errors.New("the app has no request URL, and Socket Mode is off")
	}
	body := []byte(form.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	Sign(request.Header, s.opts.SigningSecret, time.Now(), body)
	if attempt > 0 {
		request.Header.Set("X-Slack-Retry-Num", strconv.Itoa(attempt))
		request.Header.Set("X-Slack-Retry-Reason", reason)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, statusError(response.StatusCode)
	}
	return answer, nil
}

// Sign puts Slack's signature of a request's body into its header.
func Sign(header http.Header, secret string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	header.Set("X-Slack-Request-Timestamp", stamp)
	header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
}
