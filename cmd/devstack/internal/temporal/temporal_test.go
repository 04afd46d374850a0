package temporal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/repo"
	"github.com/waybill-dev/waybill/signals"
)

func TestMain(m *testing.M) {
	proc.Reexec()
	os.Exit(m.Run())
}

func TestWorkflowsOutliveARestart(t *testing.T) {
	root, err := repo.Root()
	require.NoError(t, err)
	require.NoError(t, repo.Install(t.Context(), root, "temporal"))
	dir := t.TempDir()
	s := Server{Tools: repo.Tools(root), Data: filepath.Join(dir, "temporal.db")}
	for _, port := range []*int{&s.Port, &s.UI, &s.Stats} {
		*port, err = proc.FreePort()
		require.NoError(t, err)
	}
	for _, life := range []string{"first", "second"} {
		sup, err := proc.New(dir)
		require.NoError(t, err)
		_, err = sup.Start(t.Context(), s.Part())
		require.NoError(t, err, life)
		c, err := s.Dial(t.Context())
		require.NoError(t, err)
		if life == "first" {
			_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "r-1", TaskQueue: signals.ReleaseQueue}, signals.ReleaseWorkflow)
			require.NoError(t, err)
		} else {
			_, err = c.DescribeWorkflowExecution(t.Context(), "r-1", "")
			require.NoError(t, err)
		}
		c.Close()
		require.NoError(t, sup.Stop(t.Context()))
	}
}
