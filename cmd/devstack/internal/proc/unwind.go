package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// cleanupTimeout bounds one cleanup command.
	cleanupTimeout = 30 * time.Second
	// killTimeout bounds the wait for a process after SIGKILL; only one stuck
	// in the kernel outlives it.
	killTimeout = 5 * time.Second
)

// entry is one thing to undo: a process to end or a command to run.
type entry struct {
	Name  string        `json:"name"`
	Pid   int           `json:"pid,omitempty"`
	Born  string        `json:"born,omitempty"`
	Grace time.Duration `json:"grace,omitempty"`
	Argv  []string      `json:"argv,omitempty"`
}

// ledger lists what there is to undo, oldest first. The supervisor and its
// guard hold the same one.
type ledger []entry

// put adds an entry, or replaces the one of that name where it stands: a part
// that was started again keeps its place in the stop order.
func (l ledger) put(e entry) ledger {
	for i := range l {
		if l[i].Name == e.Name {
			l[i] = e
			return l
		}
	}
	return append(l, e)
}

// unwind undoes all entries, newest first, then kills what carries the mark.
// It goes on past errors and returns all of them. The end of ctx ends the
// patience with processes, not the unwinding.
func (l ledger) unwind(ctx context.Context, mark string) error {
	var errs []error
	for _, e := range slices.Backward(l) {
		var err error
		if e.Argv == nil {
			err = terminate(ctx, e)
		} else {
			err = runCleanup(ctx, e.Argv)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", e.Name, err)
			slog.Error("cleanup failed", "part", e.Name, "err", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, sweep(mark))...)
}

// terminate ends a process and its group: SIGTERM, the grace, SIGKILL.
func terminate(ctx context.Context, e entry) error {
	if !alive(e.Pid, e.Born) {
		return nil
	}
	_ = syscall.Kill(-e.Pid, syscall.SIGTERM)
	if waitGone(ctx, e, e.Grace) {
		// What the part started and left behind in its group goes with it.
		_ = syscall.Kill(-e.Pid, syscall.SIGKILL)
		return nil
	}
	_ = syscall.Kill(-e.Pid, syscall.SIGKILL)
	if !waitGone(context.WithoutCancel(ctx), e, killTimeout) {
		return fmt.Errorf("process %d is still there %s after SIGKILL", e.Pid, killTimeout)
	}
	return nil
}

func waitGone(ctx context.Context, e entry, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	for alive(e.Pid, e.Born) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollEvery)
	}
	return true
}

// runCleanup runs one command to its end, even when the caller's patience is
// over: what it removes would stay behind otherwise.
func runCleanup(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweep kills the marked processes that detached themselves from their part.
func sweep(mark string) error {
	deadline := time.Now().Add(killTimeout)
	for {
		left := marked(mark)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the stack outlive SIGKILL", left)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pollEvery)
	}
}
