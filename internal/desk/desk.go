package desk

import (
	"context"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// Temporal is what a desk needs of a Temporal client.
type Temporal interface {
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
	GetWorkflow(ctx context.Context, id, run string) client.WorkflowRun
	DescribeWorkflowExecution(ctx context.Context, id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
	QueryWorkflow(ctx context.Context, id, run, query string, args ...any) (converter.EncodedValue, error)
	UpdateWorkflow(ctx context.Context, options client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
	NewWithStartWorkflowOperation(options client.StartWorkflowOptions, workflow any, args ...any) client.WithStartWorkflowOperation
	UpdateWithStartWorkflow(ctx context.Context, options client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error)
	SignalWithStartWorkflow(ctx context.Context, id, signal string, arg any, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
	ListWorkflow(ctx context.Context, request *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
}

// Signer signs statements as DSSE envelopes.
type Signer interface {
	Sign(payloadType string, payload any) (signals.Envelope, error)
}

// Options is what a desk is made of.
type Options struct {
	Temporal  Temporal
	Namespace string // of Temporal, for lists
	Signer    Signer
	Operators []string // groups whose members may command any release and lane
	// Enrich adds what the directory knows to an identity that a login proved;
	// nil if there is no directory.
	Enrich  func(context.Context, auth.Identity) (auth.Identity, error)
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Bounds of the calls to Temporal. A query waits for a worker; an answer that
// takes longer than a person would wait is no answer.
const (
	callTimeout   = 5 * time.Second
	updateTimeout = 10 * time.Second
)

// answeredNonces is how many answered nonces are remembered, to tell a replay
// from a retry. What falls out is still refused by the release, or answered by
// Temporal with the first result.
const answeredNonces = 100_000

// Desk takes requests, decisions and commands. It is safe for concurrent use.
type Desk struct {
	Options
	answered *lru.Cache[string, struct{}]
	journal  *journal
}

// New opens a desk. Close it to hand over the refusals that are still held.
func New(o Options) *Desk {
	answered, err := lru.New[string, struct{}](answeredNonces)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &Desk{Options: o, answered: answered, journal: openJournal(o)}
}

// Close hands over the refusals that are still held, until ctx ends.
func (d *Desk) Close(ctx context.Context) error { return d.journal.close(ctx) }
