// Package proc runs the parts of the local stack as child processes and makes
// sure that none of them outlives it, however it ends.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// markName is the variable that every part and its children carry.
const markName = "WAYBILL_STACK"

func markOf(stateDir string) string { return markName + "=" + stateDir }

// Supervisor starts, watches and stops the parts of one stack. Its methods may
// be called from several goroutines.
type Supervisor struct {
	stateDir string
	lock     *os.File
	guard    *guard
	starts   chan func()
	running  context.Context //nolint:containedctx // it is the supervisor's life, not a call's
	end      context.CancelFunc

	mu       sync.Mutex
	ledger   ledger
	parts    map[string]*Process
	stopping bool
	onExit   func(part string, err error)
}

// New takes stateDir for one stack, kills what an earlier stack that lost its
// guard may have left there, and starts the guard. It fails when a stack runs
// from stateDir already.
func New(stateDir string) (*Supervisor, error) {
	if os.Getenv(guardMark) != "" {
		return nil, errors.New("a guard was asked to start a stack: main, or TestMain, must call proc.Reexec first")
	}
	stateDir, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(stateDir, "logs"), 0o750); err != nil { //nolint:gosec // the folder is the caller's
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := acquire(stateDir)
	if err != nil {
		return nil, err
	}
	if err := sweep(markOf(stateDir)); err != nil {
		_ = lock.Close()
		return nil, err
	}
	g, err := startGuard(stateDir, lock)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	s := &Supervisor{stateDir: stateDir, lock: lock, guard: g, starts: make(chan func()), parts: map[string]*Process{}}
	s.running, s.end = context.WithCancel(context.Background())
	go s.startThread()
	go s.watchGuard()
	return s, nil
}

// startThread runs every fork on one thread that lives as long as this
// process: the kernel's parent-death signal follows the thread that forked,
// and the Go runtime may end any other.
func (s *Supervisor) startThread() {
	runtime.LockOSThread()
	for start := range s.starts {
		start()
	}
	// Returning would end the thread, and with it every part still running.
	select {}
}

func (s *Supervisor) watchGuard() {
	<-s.guard.gone
	s.report("guard", errors.New("the guard ended: nothing would stop the parts after a crash of this process"))
}

// Context ends when Stop begins: for what runs beside the parts in this process.
func (s *Supervisor) Context() context.Context { return s.running }

// OnExit sets what is called, at most once per run of a part, when a part ends
// that nobody stopped. The error holds the tail of its log.
func (s *Supervisor) OnExit(call func(part string, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onExit = call
}

func (s *Supervisor) report(part string, err error) {
	s.mu.Lock()
	call := s.onExit
	if s.stopping {
		call = nil
	}
	s.mu.Unlock()
	if call != nil {
		call(part, err)
	}
}

// Cleanup registers a command that undoes something outside the parts: it runs
// at Stop, or by the guard after a crash, after the parts that were started
// later have ended and before earlier ones are stopped. It must succeed when
// there is nothing (more) to undo. Register it before making what it undoes.
func (s *Supervisor) Cleanup(name string, argv []string) error {
	return s.record(entry{Name: "cleanup " + name, Argv: argv})
}

func (s *Supervisor) record(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return fmt.Errorf("%s: the stack is stopping", e.Name)
	}
	s.ledger = s.ledger.put(e)
	return s.guard.tell(message{Put: &e})
}

// Stop undoes everything, newest first: parts get SIGTERM, their grace, then
// SIGKILL; cleanups run. It returns what could not be undone. The end of ctx
// cuts the graces short. A second call does nothing.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return nil
	}
	s.stopping = true
	undo := s.ledger
	s.mu.Unlock()
	s.end()
	err := undo.unwind(ctx, markOf(s.stateDir))
	if err == nil {
		err = s.guard.dismiss()
	} else {
		// The guard tries once more what failed here.
		_ = s.guard.pipe.Close()
		<-s.guard.gone
	}
	_ = s.lock.Close()
	return err
}

// fork starts a command on the thread that lives as long as this process.
func (s *Supervisor) fork(cmd *exec.Cmd) error {
	done := make(chan error)
	s.starts <- func() { done <- cmd.Start() }
	return <-done
}

// inherited names the variables that parts take over; all else that is set
// where the stack is started (a KUBECONFIG, proxies) must not change the parts.
var inherited = []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func baseEnv() []string {
	var env []string
	for _, name := range inherited {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// tail returns the end of a log for an error message.
func tail(path string) string {
	const lines, bytes = 12, 4096
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > bytes {
		_, _ = f.Seek(-bytes, 2)
	}
	buf := make([]byte, bytes)
	n, _ := f.Read(buf)
	text := strings.Split(strings.TrimRight(string(buf[:n]), "\n"), "\n")
	return strings.Join(text[max(0, len(text)-lines):], "\n")
}

// readyTimeout is how long a part may take to become ready where its context
// sets no earlier end.
const readyTimeout = 2 * time.Minute
