// Package apiclient speaks the gateway's HTTP API. It knows nothing of Temporal.
package apiclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// Client calls one gateway. Its methods return *Error for what the gateway
// refused and an error wrapping ErrUnreachable if no gateway answered.
type Client struct {
	base  *url.URL
	token func(context.Context) (string, error)
	agent string
	http  *http.Client
}

// ErrUnreachable means that nothing that speaks the API answered.
var ErrUnreachable = errors.New("gateway can't be reached")

// Error is a refusal by the gateway.
type Error struct {
	wire.Problem
	after time.Duration // how long the gateway asks to wait
}

// Error gives the detail and each fault on a line of its own.
func (e *Error) Error() string {
	lines := []string{cmp.Or(e.Detail, e.Title)}
	for _, fault := range e.Errors {
		lines = append(lines, strings.TrimSpace(fault.Location+" "+fault.Message))
	}
	return strings.Join(lines, "\n  ")
}

// Bounds of a call: how long to wait for an answer beyond what was asked for,
// how much of an answer is read, how often a call is tried when no gateway
// answers or says to come back later, and how long is waited before that.
const (
	patience     = 20 * time.Second
	maxAnswer    = 16 << 20
	attempts     = 3
	pause        = 300 * time.Millisecond
	longestPause = 10 * time.Second
)

// New calls the gateway at base. token gives the bearer token for each call;
// version becomes part of the user agent.
func New(base, version string, token func(context.Context) (string, error)) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("gateway %q: want a URL such as https://waybill.example", base)
	}
	return &Client{base: u, token: token, agent: "waybill/" + version, http: &http.Client{
		// A redirect could take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Start asks for a release. request is its JSON, sent as it is; id may be "".
func (c *Client) Start(ctx context.Context, request []byte, id string) (wire.Started, error) {
	query := url.Values{}
	if id != "" {
		query.Set("id", id)
	}
	var out wire.Started
	err := c.send(ctx, http.MethodPost, "/v1/releases", query, request, "", &out)
	return out, err
}

// Release is where a release stands.
func (c *Client) Release(ctx context.Context, id string) (wire.Release, error) {
	var out wire.Release
	err := c.get(ctx, release(id, ""), nil, &out)
	return out, err
}

// Outcome waits up to wait (at most a minute) for a release's end.
func (c *Client) Outcome(ctx context.Context, id string, wait time.Duration) (wire.Ended, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+patience)
	defer cancel()
	var out wire.Ended
	err := c.get(ctx, release(id, "/outcome"), url.Values{"wait": {wait.String()}}, &out)
	return out, err
}

// Decide approves or denies, or takes an approval back.
func (c *Client) Decide(ctx context.Context, id string, d wire.Decision) (signals.Receipt, error) {
	return c.post(ctx, release(id, "/approvals"), d)
}

// Command commands a running release.
func (c *Client) Command(ctx context.Context, id string, command wire.Command) (signals.Receipt, error) {
	return c.post(ctx, release(id, "/commands"), command)
}

// CommandLane commands the lane of one service in one environment.
func (c *Client) CommandLane(ctx context.Context, environment, service string, command wire.LaneCommand) (signals.Receipt, error) {
	return c.post(ctx, lane(environment, service)+"/commands", command)
}

// Filter narrows a list; empty fields don't.
type Filter struct {
	Service, Environment, Phase, Outcome, After string
	Limit                                       int
}

// List is one page of releases.
func (c *Client) List(ctx context.Context, f Filter) (wire.List, error) {
	query := url.Values{"limit": {strconv.Itoa(f.Limit)}}
	for name, value := range map[string]string{
		"service": f.Service, "environment": f.Environment, "phase": f.Phase, "outcome": f.Outcome, "after": f.After,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var out wire.List
	err := c.get(ctx, "/v1/releases", query, &out)
	return out, err
}

// Lane is the state of one service's lane in one environment.
func (c *Client) Lane(ctx context.Context, environment, service string) (signals.LaneStatus, error) {
	var out signals.LaneStatus
	err := c.get(ctx, lane(environment, service), nil, &out)
	return out, err
}

// Whoami is who the gateway takes the caller for.
func (c *Client) Whoami(ctx context.Context) (wire.Whoami, error) {
	var out wire.Whoami
	err := c.get(ctx, "/v1/whoami", nil, &out)
	return out, err
}

// Login tells how to get a token. It needs none itself.
func (c *Client) Login(ctx context.Context) (wire.Login, error) {
	open := *c
	open.token = func(context.Context) (string, error) { return "", nil }
	var out wire.Login
	err := open.get(ctx, "/v1/auth-config", nil, &out)
	return out, err
}

func release(id, rest string) string { return "/v1/releases/" + url.PathEscape(id) + rest }

func lane(environment, service string) string {
	return "/v1/lanes/" + url.PathEscape(environment) + "/" + url.PathEscape(service)
}

// get reads; reading twice does no harm.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return again(ctx, func() error { return c.send(ctx, http.MethodGet, path, query, nil, "", out) })
}

// post sends a message under a key of its own, so that trying again can't make
// it count twice.
func (c *Client) post(ctx context.Context, path string, body any) (signals.Receipt, error) {
	var out signals.Receipt
	raw, err := json.Marshal(body)
	if err != nil {
		return out, fmt.Errorf("encode %s: %w", path, err)
	}
	key := rand.Text()
	err = again(ctx, func() error { return c.send(ctx, http.MethodPost, path, nil, raw, key, &out) })
	return out, err
}

// again calls until a gateway has answered, and has not said to come back later;
// but not for long.
func again(ctx context.Context, call func() error) error {
	var err error
	for try := range attempts {
		if err = call(); !errors.Is(err, ErrUnreachable) && !tooOften(err) {
			return err
		}
		wait := pause << try
		if refusal, ok := errors.AsType[*Error](err); ok {
			wait = refusal.after
		}
		if try == attempts-1 || wait > longestPause {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
	return err
}

func tooOften(err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && refusal.Status == http.StatusTooManyRequests
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, body []byte, key string, out any) error {
	token, err := c.token(ctx)
	if err != nil {
		return err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	target := c.base.String() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w at %s: its answer broke off: %w", ErrUnreachable, c.base, err)
	}
	if res.StatusCode/100 == 2 {
		if err := json.Unmarshal(raw, out); err != nil {
			return fmt.Errorf("%w at %s: the answer is not the gateway's: %w", ErrUnreachable, c.base, err)
		}
		return nil
	}
	refusal := &Error{}
	if json.Unmarshal(raw, &refusal.Problem) != nil || refusal.Status == 0 {
		refusal.Problem = wire.Problem{Status: res.StatusCode, Detail: "the gateway answered " + res.Status}
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		refusal.after = time.Duration(seconds) * time.Second
	}
	return refusal
}
