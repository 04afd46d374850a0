package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The guard is this program once more, in a session of its own. It reads the
// supervisor's ledger from a pipe whose other end only the supervisor holds:
// however the supervisor ends, the kernel closes that end, and the guard
// undoes what is still on the ledger.

// message is one line of the pipe to the guard.
type message struct {
	Put  *entry `json:"put,omitempty"`
	Done bool   `json:"done,omitempty"`
}

var _ = RegisterHelper("stack", func(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: guard stack STATE_DIR (started by the stack, not by hand)")
	}
	if _, err := os.NewFile(guardUp, "up").Write([]byte{1}); err != nil {
		return fmt.Errorf("tell the stack that its guard is up: %w", err)
	}
	return watch(os.NewFile(guardPipe, "supervisor"), args[0])
})

// The files that the guard inherits, by their numbers in it.
const (
	guardPipe = 3
	_         // the lock, held and never used
	guardUp   = 5
)

// guardMark is set for the guard alone. A program that starts a Supervisor
// without having called Reexec would start itself again and again.
const guardMark = "WAYBILL_GUARD"

// watch keeps the ledger until the pipe ends and unwinds it unless the
// supervisor said that it has done so.
func watch(pipe io.Reader, stateDir string) error {
	// Whoever wants the stack to end tells the stack; the guard ends after it.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var l ledger
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // a line cut short by the supervisor's death says nothing
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			slog.Error("unreadable line from the stack", "err", err)
			continue
		}
		if m.Done {
			return nil
		}
		if m.Put != nil {
			l = l.put(*m.Put)
		}
	}
	slog.Warn("the stack ended without stopping its parts: stopping them", "entries", len(l))
	return l.unwind(context.Background(), markOf(stateDir))
}

// guard is the supervisor's end.
type guard struct {
	mu   sync.Mutex
	cmd  *exec.Cmd
	pipe *os.File
	gone chan struct{}
}

// startGuard starts the guard process; lock is handed on to it so that the
// state directory stays taken until it has ended.
func startGuard(stateDir string, lock *os.File) (*guard, error) {
	argv, err := HelperArgv("stack", stateDir)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the guard's pipe: %w", err)
	}
	defer func() { _ = read.Close() }()
	up, upWrite, err := os.Pipe()
	if err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("make the guard's pipe: %w", err)
	}
	defer func() { _ = up.Close() }()
	log, err := os.OpenFile(filepath.Join(stateDir, "logs", "guard.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the folder is the caller's
	if err != nil {
		_, _ = write.Close(), upWrite.Close()
		return nil, fmt.Errorf("open the guard's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...) //nolint:gosec // it is this program
	cmd.Env = append(baseEnv(), guardMark+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{read, lock, upWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = upWrite.Close()
	if err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	g := &guard{cmd: cmd, pipe: write, gone: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(g.gone)
	}()
	_ = up.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := up.Read(make([]byte, 1)); err != nil {
		_ = write.Close()
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("the guard does not answer (does main, or TestMain, call proc.Reexec first?): %w", err)
	}
	return g, nil
}

func (g *guard) tell(m message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write to the guard: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.pipe.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write to the guard (process %d): %w", g.cmd.Process.Pid, err)
	}
	return nil
}

// dismiss ends the guard after the supervisor has unwound the ledger itself.
func (g *guard) dismiss() error {
	err := g.tell(message{Done: true})
	_ = g.pipe.Close()
	<-g.gone
	return err
}
