package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestStopUndoesNewestFirst(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	pids := filepath.Join(dir, "pids")
	order := pids + ".order"
	require.NoError(t, s.Cleanup("first", mustArgv("test-note", order, "cleanup-first")))
	older := childPart("plain", pids, wrote(pids, 1))
	_, err := s.Start(t.Context(), older)
	require.NoError(t, err)
	require.NoError(t, s.Cleanup("second", mustArgv("test-note", order, "cleanup-second")))
	newer := childPart("other", pids, wrote(pids, 2))
	process, err := s.Start(t.Context(), newer)
	require.NoError(t, err)
	_, err = s.Start(t.Context(), newer)
	require.ErrorContains(t, err, "taken")
	require.Contains(t, lines(pids), strconv.Itoa(process.Pid()))

	require.NoError(t, s.Context().Err())
	require.NoError(t, s.Stop(t.Context()))
	require.ErrorIs(t, s.Context().Err(), context.Canceled)
	require.Equal(t, []string{"other", "cleanup-second", "plain", "cleanup-first"}, lines(order))
	requireGone(t, lines(pids))
	require.Error(t, s.Cleanup("late", []string{"true"}))
}

func TestStopKillsWhatIgnoresIt(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	pids := filepath.Join(dir, "pids")
	part := childPart("stubborn", pids, wrote(pids, 2))
	part.StopGrace = 50 * time.Millisecond
	_, err := s.Start(t.Context(), part)
	require.NoError(t, err)
	require.NoError(t, s.Stop(t.Context()))
	requireGone(t, lines(pids))
}

func TestFailedCleanupIsReportedAndTheRestRuns(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir)
	require.NoError(t, err)
	order := filepath.Join(dir, "order")
	require.NoError(t, s.Cleanup("good", mustArgv("test-note", order, "ran")))
	require.NoError(t, s.Cleanup("bad", []string{"false"}))
	require.ErrorContains(t, s.Stop(t.Context()), "cleanup bad")
	// The guard tried once more, so the good one ran twice.
	require.Equal(t, []string{"ran", "ran"}, lines(order))
}

func TestPartThatDiesEarlyIsAnErrorWithItsLog(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	pids := filepath.Join(dir, "pids")
	_, err := s.Start(t.Context(), childPart("broken", pids, func(context.Context) error { return errors.New("no") }))
	require.ErrorContains(t, err, "ended by itself: exit status 1")
	require.ErrorContains(t, err, "the shelf is empty")
}

func TestEndOfAReadyPartIsReported(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	failed := make(chan error, 1)
	s.OnExit(func(_ string, err error) { failed <- err })
	pids := filepath.Join(dir, "pids")
	process, err := s.Start(t.Context(), childPart("plain", pids, wrote(pids, 1)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(process.Pid(), syscall.SIGKILL))
	select {
	case err := <-failed:
		require.ErrorContains(t, err, "plain ended by itself: signal: killed")
	case <-time.After(20 * time.Second):
		t.Fatal("the end of a part was not reported")
	}
}

func TestPartThatDoesNotBecomeReadyIsStopped(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	pids := filepath.Join(dir, "pids")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := s.Start(ctx, childPart("plain", pids, func(context.Context) error { return errors.New("still warming up") }))
	require.ErrorContains(t, err, "still warming up")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireGone(t, lines(pids))
}

func TestMissingProgramIsAnError(t *testing.T) {
	s := newSupervisor(t, t.TempDir())
	_, err := s.Start(t.Context(), Part{Name: "ghost", Path: "/nowhere/ghost"})
	require.ErrorContains(t, err, "start ghost")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestKillAndRestart(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	s.OnExit(func(part string, err error) { t.Errorf("%s was reported: %v", part, err) })
	pids := filepath.Join(dir, "pids")
	process, err := s.Start(t.Context(), childPart("plain", pids, wrote(pids, 1)))
	require.NoError(t, err)
	first := process.Pid()

	require.NoError(t, process.Kill())
	requireGone(t, []string{strconv.Itoa(first)})
	require.NoError(t, process.Kill(), "killing twice is no error")
	process.part.Ready = wrote(pids, 2)
	require.NoError(t, process.Restart(t.Context()))
	require.NotEqual(t, first, process.Pid())
	process.part.Ready = wrote(pids, 3)
	require.NoError(t, process.Restart(t.Context()), "a running part is stopped first")
	require.Len(t, lines(pids), 3)
	require.Equal(t, []string{"plain"}, lines(pids+".order"), "the restart asked with SIGTERM")
}

func TestStoppedPartGivesItsNameBack(t *testing.T) {
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	s.OnExit(func(part string, err error) { t.Errorf("%s was reported: %v", part, err) })
	pids := filepath.Join(dir, "pids")
	process, err := s.Start(t.Context(), childPart("plain", pids, wrote(pids, 1)))
	require.NoError(t, err)
	require.NoError(t, process.Stop(t.Context()))
	require.Equal(t, []string{"plain"}, lines(pids+".order"), "it was asked with SIGTERM")
	requireGone(t, lines(pids))
	_, err = s.Start(t.Context(), childPart("plain", pids, wrote(pids, 2)))
	require.NoError(t, err)
}

func TestPartsDoNotInheritTheCallersSettings(t *testing.T) {
	t.Setenv("KUBECONFIG", "/home/somebody/.kube/config")
	dir := t.TempDir()
	s := newSupervisor(t, dir)
	s.OnExit(func(string, error) {}) // the child ends once it has written
	out := filepath.Join(dir, "env")
	part := childPart("env", out, nil)
	part.Env = []string{"GIVEN=yes"}
	_, err := s.Start(t.Context(), part)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(lines(out)) > 0 }, 20*time.Second, pollEvery)
	require.Contains(t, lines(out), "GIVEN=yes")
	require.Contains(t, lines(out), markOf(dir))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.NotContains(t, string(text), "KUBECONFIG")
}

func TestLedgerKeepsPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d"})).Draw(t, "names")
		var l ledger
		last := map[string]int{}
		var firsts []string
		for i, name := range names {
			if _, seen := last[name]; !seen {
				firsts = append(firsts, name)
			}
			last[name] = i + 1
			l = l.put(entry{Name: name, Pid: i + 1})
		}
		if len(l) != len(firsts) {
			t.Fatalf("%d entries for %d names", len(l), len(firsts))
		}
		for i, e := range l {
			if e.Name != firsts[i] || e.Pid != last[e.Name] {
				t.Fatalf("entry %d is %+v, want %s with pid %d", i, e, firsts[i], last[e.Name])
			}
		}
	})
}

func TestFreePortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := FreePort()
		require.NoError(t, err)
		require.False(t, seen[port], "port %d twice", port)
		seen[port] = true
	}
}
