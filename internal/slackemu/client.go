package slackemu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client acts in a workspace as its people would, without a browser, and makes
// its faults.
type Client struct {
	// URL is the emulator's.
	URL string
	// HTTP is the client to use; nil for http.DefaultClient.
	HTTP *http.Client
}

// Click presses a button.
func (c Client) Click(ctx context.Context, click Click) (Seen, error) {
	var seen Seen
	err := c.call(ctx, http.MethodPost, "click", click, &seen)
	return seen, err
}

// Submit fills in and submits a modal.
func (c Client) Submit(ctx context.Context, view string, values map[string]string) (Seen, error) {
	var seen Seen
	err := c.call(ctx, http.MethodPost, "submit", Submission{View: view, Values: values}, &seen)
	return seen, err
}

// Type enters a command or a message.
func (c Client) Type(ctx context.Context, line Slash) (Seen, error) {
	var seen Seen
	err := c.call(ctx, http.MethodPost, "type", line, &seen)
	return seen, err
}

// Faults makes faults, in place of those before.
func (c Client) Faults(ctx context.Context, f Faults) error {
	return c.call(ctx, http.MethodPut, "faults", f, nil)
}

// SocketMode sends callbacks through sockets, or by HTTP again.
func (c Client) SocketMode(ctx context.Context, on bool) error {
	return c.call(ctx, http.MethodPut, "app", App{SocketMode: on}, nil)
}

// App tells how the app is reached.
func (c Client) App(ctx context.Context) (App, error) {
	var app App
	err := c.call(ctx, http.MethodGet, "app", nil, &app)
	return app, err
}

// Disconnect asks the app's sockets to connect anew.
func (c Client) Disconnect(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "disconnect", nil, nil)
}

// SetUser adds a user or changes one.
func (c Client) SetUser(ctx context.Context, u User) error {
	return c.call(ctx, http.MethodPut, "users", u, nil)
}

// Messages lists what a user ("" for anybody) reads in a channel, or in the
// thread below the message at thread.
func (c Client) Messages(ctx context.Context, channel, thread, user string) ([]Message, error) {
	var listed []Message
	query := url.Values{"channel": {channel}, "thread": {thread}, "user": {user}}
	err := c.call(ctx, http.MethodGet, "messages?"+query.Encode(), nil, &listed)
	return listed, err
}

func (c Client) call(ctx context.Context, method, what string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("slack emulator: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+"/emulator/"+what, body)
	if err != nil {
		return fmt.Errorf("slack emulator: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("slack emulator: %w", err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("slack emulator: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("slack emulator: %s answered %s: %s", what, response.Status, strings.TrimSpace(string(raw)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
