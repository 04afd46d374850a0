// Package promql asks Prometheus for one number at a time. Whatever is not
// exactly one finite number is an error that says what was found instead, so
// that missing telemetry is never mistaken for a good answer.
package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// queryTimeout bounds a query whose context has no nearer deadline.
const queryTimeout = 10 * time.Second

// Client queries one Prometheus, or anything with its HTTP API. It is meant to
// be built once and shared.
type Client struct {
	api     v1.API
	address string
}

// New builds the client for the server at address, for example
// "http://127.0.0.1:9090".
func New(address string) (*Client, error) {
	c, err := api.NewClient(api.Config{Address: address, RoundTripper: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}})
	if err != nil {
		return nil, fmt.Errorf("prometheus at %q: %w", address, err)
	}
	return &Client{api: v1.NewAPI(c), address: address}, nil
}

// Query evaluates an instant query at the server's present and returns its one
// finite value. It gives up when ctx ends, after 10 seconds at the latest.
func (c *Client) Query(ctx context.Context, query string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	// No time is sent: the server's clock decides, or skew would hide the newest samples.
	value, _, _, err := c.api.Query(ctx, query, time.Time{})
	if err != nil {
		return 0, c.explain(err)
	}
	return single(value)
}

func (c *Client) explain(err error) error {
	var reported *v1.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("prometheus at %s did not answer in time: %w", c.address, context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &reported):
		return fmt.Errorf("prometheus at %s refuses the query (%s): %s", c.address, reported.Type, strings.TrimSpace(reported.Msg))
	}
	return fmt.Errorf("prometheus at %s can't be reached: %w", c.address, err)
}

// single takes the one finite number out of a result.
func single(value model.Value) (float64, error) {
	var got float64
	switch v := value.(type) {
	case *model.Scalar:
		got = float64(v.Value)
	case model.Vector:
		switch {
		case len(v) == 0:
			return 0, errors.New("no series: the query matches nothing, or its series went stale")
		case len(v) > 1:
			return 0, fmt.Errorf("%d series where one is wanted, for example %s and %s: aggregate the query", len(v), v[0].Metric, v[1].Metric)
		case v[0].Histogram != nil:
			return 0, errors.New("the value is a histogram: take a quantile or a count of it")
		}
		got = float64(v[0].Value)
	default:
		return 0, fmt.Errorf("the query gives a %s, want one number", value.Type())
	}
	if math.IsNaN(got) || math.IsInf(got, 0) {
		return 0, fmt.Errorf("the value is %v, as of a division by zero", got)
	}
	return got, nil
}
