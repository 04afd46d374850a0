package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startStack runs a stack in a process of its own and returns it once its
// three processes (a part, a part that ignores SIGTERM, a detached one) run.
func startStack(t *testing.T, dir, how string) *exec.Cmd {
	t.Helper()
	argv := mustArgv("test-stack", dir, how)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(lines(filepath.Join(dir, "pids"))) == 3 }, 20*time.Second, pollEvery)
	return cmd
}

func TestNothingOutlivesAKilledStack(t *testing.T) {
	for _, how := range []string{"ready", "never-ready"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			cmd := startStack(t, dir, how)
			pids := lines(filepath.Join(dir, "pids"))

			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()

			// The state directory is free again once the guard is through.
			s := newSupervisor(t, dir)
			require.Equal(t, []string{"cleaned"}, lines(filepath.Join(dir, "cleaned")))
			requireGone(t, pids)
			require.Empty(t, marked(markOf(s.stateDir)))
		})
	}
}

func TestStopRunningEndsAnotherProcessesStack(t *testing.T) {
	dir := t.TempDir()
	require.ErrorIs(t, StopRunning(t.Context(), dir), ErrNotRunning)
	cmd := startStack(t, dir, "ready")
	pids := lines(filepath.Join(dir, "pids"))
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()

	_, err := New(dir)
	require.ErrorContains(t, err, "a stack already runs from")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, StopRunning(ctx, dir))

	require.NoError(t, <-waited)
	requireGone(t, pids)
	require.Equal(t, []string{"cleaned"}, lines(filepath.Join(dir, "cleaned")))
	require.ErrorIs(t, StopRunning(t.Context(), dir), ErrNotRunning)
}

func TestGuardRefusesToBecomeAStack(t *testing.T) {
	t.Setenv(guardMark, "1")
	_, err := New(t.TempDir())
	require.ErrorContains(t, err, "Reexec")
}

func TestLossOfTheGuardIsReported(t *testing.T) {
	s, err := New(t.TempDir())
	require.NoError(t, err)
	failed := make(chan string, 1)
	s.OnExit(func(part string, _ error) { failed <- part })
	require.NoError(t, syscall.Kill(s.guard.cmd.Process.Pid, syscall.SIGKILL))
	select {
	case part := <-failed:
		require.Equal(t, "guard", part)
	case <-time.After(20 * time.Second):
		t.Fatal("nobody noticed that the guard is gone")
	}
	require.Error(t, s.Stop(t.Context()))
}
