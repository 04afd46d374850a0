// Package replaytests replays recorded histories against the workflow code of
// today. A history was recorded from a real run on a real server (make
// replay-record) and is never edited; a version's folder is kept as long as runs
// of that version may be open somewhere.
package replaytests

import (
	"compress/gzip"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/waybill-dev/waybill/signals"
	"github.com/waybill-dev/waybill/workflows"
)

// scenarios that must be there; a history that gets lost is noticed.
var scenarios = []string{
	"promoted", "rolled-back", "rejected", "denied", "expired",
	"aborted-baseline", "aborted-canary", "aborted-ramp", "aborted-bake", "lane",
	"approval-void", "operated", "break-glass", "lane-review", "journal",
}

func histories(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*/v*/*.json.gz")
	require.NoError(t, err)
	found := map[string][]string{}
	for _, f := range files {
		scenario := strings.Split(filepath.ToSlash(f), "/")[1]
		found[scenario] = append(found[scenario], f)
	}
	return found
}

func load(t *testing.T, file string) *historypb.History {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	history, err := client.HistoryFromJSON(z, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return history
}

func replay(t *testing.T, history *historypb.History, register func(worker.WorkflowReplayer)) error {
	t.Helper()
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{})
	require.NoError(t, err)
	register(replayer)
	started := history.Events[0].GetWorkflowExecutionStartedEventAttributes()
	return replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), history,
		worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{
			ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(),
		}})
}

func TestGoldenHistories(t *testing.T) {
	found := histories(t)
	for _, scenario := range scenarios {
		require.NotEmpty(t, found[scenario], "no history of scenario %q: record it with make replay-record", scenario)
		for _, file := range found[scenario] {
			t.Run(file, func(t *testing.T) {
				require.NoError(t, replay(t, load(t, file), func(r worker.WorkflowReplayer) { workflows.Register(r) }))
			})
		}
	}
}

// The negative fixture: a release that was changed without workflow.GetVersion.
// If this replays, the test above proves nothing.
func TestChangedWorkflowFailsReplay(t *testing.T) {
	changed := func(ctx workflow.Context, input converter.RawValue) (signals.Outcome, error) {
		if err := workflow.Sleep(ctx, time.Second); err != nil {
			return signals.Outcome{}, err
		}
		return workflows.Release(ctx, input)
	}
	for _, file := range histories(t)["promoted"] {
		err := replay(t, load(t, file), func(r worker.WorkflowReplayer) {
			r.RegisterWorkflowWithOptions(changed, workflow.RegisterOptions{Name: signals.ReleaseWorkflow})
		})
		require.ErrorContains(t, err, "TMPRL1100", "the code of Temporal's nondeterminism errors")
	}
}
