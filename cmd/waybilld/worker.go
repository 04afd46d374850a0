package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"
)

const (
	// workerStop is how long activities under way may take to end on a stop. All
	// of them can be begun again by another worker, so this only spares work.
	workerStop = 5 * time.Second
	// cachedWorkflows bounds the memory of the release role: a release that
	// waits for approval longer than others is replayed when it wakes up.
	cachedWorkflows = 2000
)

// Activities at once, by queue. A lane watches its holder with one long
// activity of the release queue, and each window is one of a deploy queue.
const (
	releaseActivities = 1000
	deployActivities  = 200
	notaryActivities  = 50
	notifyActivities  = 20
)

// queue is a worker in the making: what it polls and what it registers.
type queue struct {
	name       string
	activities int
	register   func(worker.Registry)
}

// runWorker runs the roles until ctx ends. It waits for Temporal, and is ready
// once every queue is polled and Temporal can be reached.
func runWorker(ctx context.Context, c Config, roles []Role, log *slog.Logger) error {
	metrics := newMetrics()
	temporal, err := newTemporal(c.Temporal, join(roles), metrics, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	parts := &parts{config: c, temporal: temporal, metrics: metrics, log: log}
	queues, err := parts.queues(ctx, roles)
	if err != nil {
		return err
	}
	worker.SetStickyWorkflowCacheSize(cachedWorkflows)

	var polling atomic.Bool
	ready := func(ctx context.Context) error {
		if !polling.Load() {
			return fmt.Errorf("the queues are not polled yet")
		}
		return reachable(ctx, temporal)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, "metrics", c.Listen, operations(metrics, ready), log) })
	group.Go(func() error {
		if err := await(ctx, temporal, c.Temporal.Address, log); err != nil {
			return nil //nolint:nilerr // the process was stopped before Temporal came up
		}
		return poll(ctx, temporal, queues, &polling, log)
	})
	return group.Wait()
}

// beatAtMost bounds how long the SDK holds a heartbeat back. It is how fresh the
// live view of a watched window is, and how soon an abort reaches its activity.
const beatAtMost = time.Second

// poll works on the queues until ctx ends or a worker gives up.
func poll(ctx context.Context, temporal client.Client, queues []queue, polling *atomic.Bool, log *slog.Logger) error {
	fatal := make(chan error, len(queues))
	var started []worker.Worker
	defer func() {
		stop := errgroup.Group{}
		for _, w := range slices.Backward(started) {
			stop.Go(func() error { w.Stop(); return nil })
		}
		_ = stop.Wait()
	}()
	for _, q := range queues {
		w := worker.New(temporal, q.name, worker.Options{
			MaxConcurrentActivityExecutionSize: q.activities,
			WorkerStopTimeout:                  workerStop,
			MaxHeartbeatThrottleInterval:       beatAtMost,
			OnFatalError:                       func(err error) { fatal <- fmt.Errorf("worker of queue %s: %w", q.name, err) },
		})
		q.register(w)
		if err := w.Start(); err != nil {
			return fmt.Errorf("worker of queue %s: %w", q.name, err)
		}
		started = append(started, w)
		log.Info("polling", "queue", q.name)
	}
	polling.Store(true)
	select {
	case err := <-fatal:
		return err
	case <-ctx.Done():
		polling.Store(false)
		log.Info("stopping")
		return nil
	}
}
