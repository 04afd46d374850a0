package apitest

import (
	"sync"
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// shared is the worker of all gateways of a package, and the keys that releases
// pin when they start: those of the gateway that was started last. It lives from
// test to test, because the server may hand a task to a worker that has just gone.
var shared struct {
	mu     sync.Mutex
	worker worker.Worker
	keys   []signals.PublicKey
}

func pin(keys []signals.PublicKey) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.keys = keys
}

// pinned are the keys of now, for good in this workflow's history.
func pinned(ctx workflow.Context) ([]signals.PublicKey, error) {
	var keys []signals.PublicKey
	err := workflow.SideEffect(ctx, func(workflow.Context) any {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return shared.keys
	}).Get(&keys)
	return keys, err
}

// StartWorker lets releases run again after StopWorker.
func (g *Gateway) StartWorker(tb testing.TB) {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.worker != nil {
		return
	}
	w := worker.New(g.Temporal, signals.ReleaseQueue, worker.Options{})
	register(w)
	if err := w.Start(); err != nil {
		tb.Fatal(err)
	}
	shared.worker = w
}

// StopWorker leaves releases without anybody who could answer for them.
func (g *Gateway) StopWorker() { stopWorker() }

func stopWorker() {
	shared.mu.Lock()
	w := shared.worker
	shared.worker = nil
	shared.mu.Unlock()
	if w != nil {
		w.Stop()
	}
}
