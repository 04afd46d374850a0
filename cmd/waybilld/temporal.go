package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	sdklog "go.temporal.io/sdk/log"
)

const (
	healthTimeout = 5 * time.Second
	healthPause   = 2 * time.Second
)

// newTemporal makes a client that connects when it is first used, so that the
// daemon can come up before the server does.
func newTemporal(c TemporalConfig, role string, metrics *prometheus.Registry, log *slog.Logger) (client.Client, error) {
	handler, err := sdkMetrics(metrics, log)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this process to Temporal: %w", err)
	}
	temporal, err := client.NewLazyClient(client.Options{
		HostPort: c.Address, Namespace: c.Namespace, MetricsHandler: handler, Logger: sdklog.NewStructuredLogger(log),
		Identity: fmt.Sprintf("waybilld-%s@%s-%d", role, host, os.Getpid()),
	})
	if err != nil {
		return nil, fmt.Errorf("temporal at %s: %w", c.Address, err)
	}
	return temporal, nil
}

// sdkMetrics puts the SDK's own metrics beside Waybill's.
func sdkMetrics(registry *prometheus.Registry, log *slog.Logger) (client.MetricsHandler, error) {
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo(), otelprom.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                metric.NewMeterProvider(metric.WithReader(exporter)).Meter("temporal-sdk-go"),
		UseMonotonicCounters: true,
		OnError:              func(err error) { log.Error("Temporal's metrics", "error", err) },
	}), nil
}

// reachable answers whether Temporal's frontend serves.
func reachable(ctx context.Context, temporal client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if _, err := temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("temporal can't be reached: %w", err)
	}
	return nil
}

// await waits until Temporal can be reached, or until ctx ends.
func await(ctx context.Context, temporal client.Client, address string, log *slog.Logger) error {
	for {
		err := reachable(ctx, temporal)
		if err == nil {
			return nil
		}
		log.Warn("waiting for Temporal", "address", address, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(healthPause):
		}
	}
}
