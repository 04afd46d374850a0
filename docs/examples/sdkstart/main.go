// Command sdkstart starts a release with Temporal's Go SDK and the types in
// signals, waits for its outcome and exits with the outcome's status:
//
//	go run ./docs/examples/sdkstart --address 127.0.0.1:7233 \
//	  --image registry.example/payments-api@sha256:… --commit $(git rev-parse HEAD) --ticket CHG-1042
//
// A release that is started past the gateway has no proven requester. Policies
// may ask for more approvers then, or refuse it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

func main() {
	var r signals.Request
	address := flag.String("address", "127.0.0.1:7233", "Temporal's frontend")
	namespace := flag.String("namespace", "default", "Temporal's namespace")
	flag.StringVar(&r.Service, "service", "payments-api", "service, as in the catalog")
	flag.StringVar(&r.Environment, "environment", "staging", "environment, as in the catalog")
	flag.StringVar(&r.Image, "image", "", "image, with its digest")
	flag.StringVar(&r.Commit, "commit", "", "full Git commit id")
	flag.StringVar(&r.Ticket, "ticket", "", "change ticket")
	flag.Parse()

	c, err := client.Dial(client.Options{HostPort: *address, Namespace: *namespace})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(7)
	}
	outcome, err := release(context.Background(), c, r)
	c.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(signals.ExitFailed)
	}
	fmt.Println(outcome.Release, outcome.Kind)
	os.Exit(outcome.Kind.ExitCode())
}

// release starts one release and waits until it has ended. An error means that
// it could not be started, or that its workflow failed: the environment then
// needs a person. Every other end is an Outcome.
func release(ctx context.Context, c client.Client, r signals.Request) (signals.Outcome, error) {
	var outcome signals.Outcome
	// The release checks this too; here it costs no round trip.
	if err := r.Validate(); err != nil {
		return outcome, err
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:        signals.ReleaseID(r.Service, r.Environment, time.Now().UTC().Format("20060102-150405.000")),
		TaskQueue: signals.ReleaseQueue,
		// Never join a release that somebody else has started under this id, and
		// never use an id again: its papers are kept under it.
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			signals.AttrService.ValueSet(r.Service),
			signals.AttrEnvironment.ValueSet(r.Environment),
		),
		StaticSummary: r.Service + " → " + r.Environment,
	}, signals.ReleaseWorkflow, r)
	if err != nil {
		return outcome, fmt.Errorf("start the release: %w", err)
	}
	fmt.Println("started", run.GetID())
	if err := run.Get(ctx, &outcome); err != nil {
		return outcome, fmt.Errorf("release %s: %w", run.GetID(), err)
	}
	return outcome, nil
}
