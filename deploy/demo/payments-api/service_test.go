package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestConfigListsEveryFault(t *testing.T) {
	_, err := configFrom(env(map[string]string{"ERROR_RATIO": "1.5", "LATENCY": "5", "WORKERS": "0", "DRAIN": "-1s"}))
	for _, name := range []string{"ERROR_RATIO", "LATENCY", "WORKERS", "DRAIN"} {
		require.ErrorContains(t, err, name)
	}
	_, err = configFrom(env(map[string]string{"ERROR_RATIO": "NaN"}))
	require.ErrorContains(t, err, "ERROR_RATIO")
	cfg, err := configFrom(env(map[string]string{"VERSION": "v3", "ERROR_RATIO": "0.3", "LATENCY": "400ms"}))
	require.NoError(t, err)
	require.Equal(t, "v3", cfg.Version)
	require.InDelta(t, 0.3, cfg.ErrorRatio, 0)
	require.Equal(t, 400*time.Millisecond, cfg.Latency)
}

func call(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w
}

func TestAuthoriseAnswersAndCounts(t *testing.T) {
	h := newService(config{Version: "v2", Workers: 2}).handler()
	require.Contains(t, call(t, h, "GET", "/metrics", "").Body.String(), `payments_http_requests_total{code="500",version="v2"} 0`)

	ok := call(t, h, "POST", "/authorise", `{"amount": 10}`)
	require.Equal(t, 200, ok.Code)
	require.Equal(t, "v2", ok.Header().Get(versionHeader))
	require.JSONEq(t, `{"result":"approved","version":"v2"}`, ok.Body.String())
	require.JSONEq(t, `{"result":"declined","version":"v2"}`, call(t, h, "POST", "/authorise", `{"amount": 951}`).Body.String())
	require.Equal(t, 400, call(t, h, "POST", "/authorise", `{"amount": "ten"}`).Code)
	require.Equal(t, 400, call(t, h, "POST", "/authorise", `{"amount": -1}`).Code)
	require.Equal(t, 405, call(t, h, "GET", "/authorise", "").Code)

	metrics := call(t, h, "GET", "/metrics", "").Body.String()
	for _, line := range []string{
		`payments_http_requests_total{code="200",version="v2"} 2`,
		`payments_http_requests_total{code="400",version="v2"} 2`,
		`payments_authorisations_total{result="approved",version="v2"} 1`,
		`payments_authorisations_total{result="declined",version="v2"} 1`,
		`payments_authorisations_total{result="failed",version="v2"} 0`,
		`payments_http_request_duration_seconds_count{version="v2"} 4`,
		`payments_worker_pool_in_use{version="v2"} 0`,
		`payments_worker_pool_size{version="v2"} 2`,
	} {
		require.Contains(t, metrics, line)
	}
}

func TestErrorRatioFailsItsShare(t *testing.T) {
	h := newService(config{Version: "v3", Workers: 1, ErrorRatio: 0.3}).handler()
	const calls = 2000
	failed := 0
	for range calls {
		if call(t, h, "POST", "/authorise", `{"amount": 10}`).Code == http.StatusInternalServerError {
			failed++
		}
	}
	// Six standard deviations of a binomial count either side.
	require.InDelta(t, 0.3*calls, failed, 6*20.5)
}

func TestNoRequestIsLostInAShutdown(t *testing.T) {
	stop, terminate := context.WithCancel(t.Context())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + listener.Addr().String()
	cfg := config{Version: "v1", Workers: 64, Latency: 20 * time.Millisecond, Drain: 300 * time.Millisecond}
	s := newService(cfg)
	ended := make(chan error, 1)
	go func() { ended <- serve(stop, listener, s, cfg) }()

	ready := func() int {
		r, err := http.Get(url + "/readyz")
		require.NoError(t, err)
		defer func() { _ = r.Body.Close() }()
		return r.StatusCode
	}
	require.Equal(t, http.StatusOK, ready())

	// Callers go on until they see that the instance is not ready, as a router
	// does, so that requests are under way when it shuts down.
	var answered atomic.Int64
	var callers sync.WaitGroup
	faults := make(chan error, 8)
	for range cap(faults) {
		callers.Go(func() {
			for i := 0; !s.draining.Load() || i < 3; i++ {
				r, err := http.Post(url+"/authorise", "application/json", strings.NewReader(`{"amount": 1}`))
				if err != nil {
					faults <- err
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
				if r.StatusCode != http.StatusOK {
					faults <- fmt.Errorf("answered %s", r.Status)
					return
				}
				answered.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 50 }, 20*time.Second, time.Millisecond)
	terminate()
	require.Eventually(t, func() bool { return s.draining.Load() }, 20*time.Second, time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, ready())
	callers.Wait()
	require.NoError(t, <-ended)
	close(faults)
	for err := range faults {
		require.NoError(t, err)
	}
}
