package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// versionHeader is how payments-api says which version answered.
const versionHeader = "Payments-Version"

// inFlight bounds the requests under way. At the bound, requests are counted as
// skipped instead of piling up: the numbers then say that the load was too much
// for this generator or its target.
const inFlight = 2000

// totals is what a line of output holds. Answers counts by version, then by
// status code; Lost by the kind of error that left a request without answer.
type totals struct {
	Time    time.Time                 `json:"time"`
	Sent    int                       `json:"sent"`
	Answers map[string]map[string]int `json:"answers"`
	Lost    map[string]int            `json:"lost"`
	Skipped int                       `json:"skipped"`
}

type generator struct {
	settings settings
	client   *http.Client
	slots    chan struct{}

	mu  sync.Mutex
	sum totals
}

func newGenerator(s settings) *generator {
	return &generator{
		settings: s,
		client: &http.Client{
			Timeout: s.timeout,
			Transport: &http.Transport{
				MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight, IdleConnTimeout: 30 * time.Second,
			},
		},
		slots: make(chan struct{}, inFlight),
		sum:   totals{Answers: map[string]map[string]int{}, Lost: map[string]int{}},
	}
}

// run starts requests on schedule until ctx ends and then waits for answers.
// The schedule is counted from the start, so that a late tick is made up for.
func (g *generator) run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	start := time.Now()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(float64(i) / g.settings.rps * float64(time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case g.slots <- struct{}{}:
			under.Go(func() {
				defer func() { <-g.slots }()
				g.send(context.WithoutCancel(ctx))
			})
		default:
			g.count(func(t *totals) { t.Skipped++ })
		}
	}
}

func (g *generator) count(add func(*totals)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	add(&g.sum)
}

func (g *generator) totals() totals {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.sum
	out.Time = time.Now().UTC()
	out.Lost = maps.Clone(g.sum.Lost)
	out.Answers = map[string]map[string]int{}
	for version, codes := range g.sum.Answers {
		out.Answers[version] = maps.Clone(codes)
	}
	return out
}

func (g *generator) send(ctx context.Context) {
	g.count(func(t *totals) { t.Sent++ })
	body := fmt.Sprintf(`{"amount": %.2f}`, 1+999*rand.Float64())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.settings.url, strings.NewReader(body))
	if err != nil {
		g.count(func(t *totals) { t.Lost["request"]++ })
		return
	}
	// Without this, a POST that fails on a connection just closed would be sent
	// again by the client, and the loss would not be seen.
	request.GetBody = nil
	request.Header.Set("Content-Type", "application/json")
	if g.settings.host != "" {
		request.Host = g.settings.host
	}
	response, err := g.client.Do(request)
	if err != nil {
		g.count(func(t *totals) { t.Lost["connection"]++ })
		return
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	if err != nil {
		g.count(func(t *totals) { t.Lost["body"]++ })
		return
	}
	version := response.Header.Get(versionHeader)
	if version == "" {
		version = "none" // answered on the way, by the gateway
	}
	g.count(func(t *totals) {
		if t.Answers[version] == nil {
			t.Answers[version] = map[string]int{}
		}
		t.Answers[version][strconv.Itoa(response.StatusCode)]++
	})
}
