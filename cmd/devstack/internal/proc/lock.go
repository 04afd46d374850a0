package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning says that no stack holds the state directory.
var ErrNotRunning = errors.New("no stack is running from this state directory")

// handover is how long a new stack waits for the guard of a crashed one to
// finish its cleanup.
const handover = 90 * time.Second

// pollEvery is the pace of every wait in this package: short against the
// seconds that parts take, long against the cost of a look.
const pollEvery = 20 * time.Millisecond

func lockPath(stateDir string) string { return filepath.Join(stateDir, "stack.lock") }

// acquire takes the state directory for this process. The guard inherits the
// open file, so the lock outlives a crash until the cleanup is through.
func acquire(stateDir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(stateDir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the stack's lock: %w", err)
	}
	deadline := time.Now().Add(handover)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		pid, born := owner(stateDir)
		if pid != 0 && alive(pid, born) {
			_ = f.Close()
			return nil, fmt.Errorf("a stack already runs from %s (process %d): stop it first", stateDir, pid)
		}
		if time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("the cleanup of an earlier stack in %s has not ended after %s: see logs/guard.log there", stateDir, handover)
		}
		time.Sleep(pollEvery)
	}
	if err := f.Truncate(0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write the stack's lock: %w", err)
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), born(os.Getpid())), 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write the stack's lock: %w", err)
	}
	return f, nil
}

// owner reads which process took the lock last; pid 0 when nobody ever did.
func owner(stateDir string) (pid int, born string) {
	text, err := os.ReadFile(lockPath(stateDir))
	if err != nil {
		return 0, ""
	}
	head, tail, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err = strconv.Atoi(head)
	if err != nil {
		return 0, ""
	}
	return pid, tail
}

// locked reports whether a stack, or the guard of a crashed one, holds the
// state directory.
func locked(stateDir string) bool {
	f, err := os.OpenFile(lockPath(stateDir), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// StopRunning ends the stack that runs from stateDir in another process and
// waits until all of it is gone. It returns ErrNotRunning where there is none.
func StopRunning(ctx context.Context, stateDir string) error {
	if !locked(stateDir) {
		return ErrNotRunning
	}
	pid, born := owner(stateDir)
	if pid != 0 && alive(pid, born) {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the stack (process %d): %w", pid, err)
		}
	}
	for locked(stateDir) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the stack (process %d) has not ended: %w", pid, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
	return nil
}
