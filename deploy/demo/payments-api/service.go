package main

import (
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// versionHeader tells the caller which version answered.
const versionHeader = "Payments-Version"

// limit is the amount above which a payment is declined, which is an answer
// and not an error.
const limit = 950

// service is one instance of payments-api.
type service struct {
	cfg      config
	workers  chan struct{}
	draining atomic.Bool

	registry       *prometheus.Registry
	requests       *prometheus.CounterVec
	duration       prometheus.Histogram
	authorisations *prometheus.CounterVec
}

func newService(cfg config) *service {
	s := &service{cfg: cfg, workers: make(chan struct{}, cfg.Workers), registry: prometheus.NewRegistry()}
	version := prometheus.Labels{"version": cfg.Version}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payments_http_requests_total", Help: "Requests answered, by status code.", ConstLabels: version,
	}, []string{"code"})
	s.duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "payments_http_request_duration_seconds", Help: "Time to answer a request.", ConstLabels: version,
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	s.authorisations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payments_authorisations_total", Help: "Payment authorisations, by result.", ConstLabels: version,
	}, []string{"result"})
	inUse := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "payments_worker_pool_in_use", Help: "Authorisations under way.", ConstLabels: version,
	}, func() float64 { return float64(len(s.workers)) })
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "payments_worker_pool_size", Help: "Authorisations that can be under way at once.", ConstLabels: version,
	}, func() float64 { return float64(cap(s.workers)) })
	s.registry.MustRegister(s.requests, s.duration, s.authorisations, inUse, size,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A series that appears with its first event hides that event from rate().
	for _, code := range []int{http.StatusOK, http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		s.requests.WithLabelValues(strconv.Itoa(code))
	}
	for _, result := range []string{"approved", "declined", "failed"} {
		s.authorisations.WithLabelValues(result)
	}
	return s
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST /authorise", s.authorise)
	return mux
}

// payment is the body of a request to authorise.
type payment struct {
	Amount float64 `json:"amount"`
}

// answer is the body of the response.
type answer struct {
	Result  string `json:"result"` // approved, declined, failed, invalid
	Version string `json:"version"`
}

func (s *service) authorise(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	code, result := s.decide(r)
	if result != "invalid" {
		s.authorisations.WithLabelValues(result).Inc()
	}
	s.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	s.duration.Observe(time.Since(started).Seconds())

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(versionHeader, s.cfg.Version)
	if s.draining.Load() {
		// The caller takes its connection elsewhere before the shutdown.
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(answer{Result: result, Version: s.cfg.Version}); err != nil {
		slog.Debug("the caller is gone", "error", err)
	}
}

// decide takes a worker, spends the configured time and decides.
func (s *service) decide(r *http.Request) (code int, result string) {
	var p payment
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4<<10)).Decode(&p); err != nil || p.Amount <= 0 {
		return http.StatusBadRequest, "invalid"
	}
	select {
	case s.workers <- struct{}{}:
		defer func() { <-s.workers }()
	case <-r.Context().Done():
		return http.StatusServiceUnavailable, "failed"
	}
	select {
	case <-time.After(spread(s.cfg.Latency)):
	case <-r.Context().Done():
		return http.StatusServiceUnavailable, "failed"
	}
	switch {
	case rand.Float64() < s.cfg.ErrorRatio:
		return http.StatusInternalServerError, "failed"
	case p.Amount > limit:
		return http.StatusOK, "declined"
	}
	return http.StatusOK, "approved"
}

// spread draws a time around the median as services have it: log-normal, with
// a tail, cut at four times the median.
func spread(median time.Duration) time.Duration {
	factor := math.Exp(0.25 * rand.NormFloat64())
	return time.Duration(min(factor, 4) * float64(median))
}
