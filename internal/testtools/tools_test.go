package testtools

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRootFromAnyFolder(t *testing.T) {
	want, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, dir := range []string{".", "..", "../..", "../../deploy/tools"} {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			root, err := Root()
			require.NoError(t, err)
			require.Equal(t, want, root)
		})
	}
	t.Chdir(t.TempDir())
	_, err = Root()
	require.ErrorContains(t, err, "run inside a clone")
}

func TestToolsArePinned(t *testing.T) {
	path, err := Tool(t.Context(), "temporal")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "temporal")

	_, err = Tool(t.Context(), "hammer")
	require.ErrorContains(t, err, "no tool named 'hammer'")
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := FreePorts(t.Context(), 50)
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, port := range ports {
		require.Positive(t, port)
		require.False(t, seen[port], strconv.Itoa(port))
		seen[port] = true
	}
}
