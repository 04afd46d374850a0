package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// pulseEvery is how often a pulse beats; a quarter of the shortest heartbeat
// timeout that activities are given.
const pulseEvery = 2 * time.Second

// pulse heartbeats the details shown last, so that one slow call in between does
// not look like a dead worker, and its beats don't wipe the details.
type pulse struct {
	record  func(details any)
	mu      sync.Mutex
	details any
}

// startPulse beats until the returned function is called or ctx ends.
func startPulse(ctx context.Context) (p *pulse, stop func()) {
	p = &pulse{record: func(details any) {
		if details == nil {
			activity.RecordHeartbeat(ctx)
			return
		}
		activity.RecordHeartbeat(ctx, details)
	}}
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(pulseEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				p.beat()
			}
		}
	}()
	return p, sync.OnceFunc(func() { close(done) })
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record(p.details)
}

// show heartbeats details now and from now on.
func (p *pulse) show(details any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.details = details
	p.record(details)
}
