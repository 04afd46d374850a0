package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryRequestIsCountedOnce(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "payments.example", r.Host)
		switch served.Add(1) % 4 {
		case 0:
			panic(http.ErrAbortHandler) // the connection breaks
		case 1:
			w.WriteHeader(http.StatusBadGateway) // no version: answered on the way
		case 2:
			w.Header().Set(versionHeader, "v3")
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.Header().Set(versionHeader, "v1")
		}
	}))
	defer server.Close()

	g := newGenerator(settings{url: server.URL, host: "payments.example", rps: 2000, timeout: 20 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.run(ctx)
	}()
	require.Eventually(t, func() bool { return served.Load() >= 40 }, 20*time.Second, time.Millisecond)
	stop()
	<-ended

	sum := g.totals()
	require.EqualValues(t, served.Load(), sum.Sent)
	require.Equal(t, sum.Sent, sum.Answers["none"]["502"]+sum.Answers["v3"]["500"]+sum.Answers["v1"]["200"]+sum.Lost["connection"])
	require.Positive(t, sum.Answers["v3"]["500"])
	require.Positive(t, sum.Lost["connection"])
	require.Zero(t, sum.Skipped)
}

// An open loop does not wait: a target that answers nothing still gets its rate.
func TestASlowTargetIsNotSpared(t *testing.T) {
	release := make(chan struct{})
	var waiting atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		waiting.Add(1)
		<-release
	}))
	defer server.Close()
	g := newGenerator(settings{url: server.URL, rps: 500, timeout: 20 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.run(ctx)
	}()
	require.Eventually(t, func() bool { return waiting.Load() >= 30 }, 20*time.Second, time.Millisecond)
	stop()
	close(release)
	<-ended
	require.Equal(t, g.totals().Sent, g.totals().Answers["none"]["200"])
}

func TestSettingsListEveryFault(t *testing.T) {
	err := settings{rps: -1}.validate()
	for _, flag := range []string{"-url", "-rps", "-for", "-report", "-timeout"} {
		require.ErrorContains(t, err, flag)
	}
}
