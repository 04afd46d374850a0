package workflows

import (
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
)

// Register adds the workflows to a worker of the release queue. Release is
// pinned to no build: it may wait for days and is kept compatible by replay
// tests and workflow.GetVersion.
func Register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(Release, workflow.RegisterOptions{Name: signals.ReleaseWorkflow})
	r.RegisterWorkflowWithOptions(Lane, workflow.RegisterOptions{Name: signals.LaneWorkflow})
	r.RegisterWorkflowWithOptions(Announce, workflow.RegisterOptions{Name: signals.AnnounceWorkflow})
	r.RegisterWorkflowWithOptions(Journal, workflow.RegisterOptions{Name: signals.JournalWorkflow})
}
