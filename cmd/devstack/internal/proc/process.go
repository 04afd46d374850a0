package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Part describes one child process of the stack.
type Part struct {
	// Name is unique in the stack; it names the log, logs/<name>.log.
	Name string
	Path string
	Args []string
	// Env is added to the few variables that all parts get.
	Env []string
	Dir string
	// NetNS is the file of the network namespace to run in; empty for the
	// stack's own.
	NetNS string
	// Ready is asked until it returns nil; nil for a part that is ready when
	// it has started. Each call gets a few seconds.
	Ready func(ctx context.Context) error
	// StopGrace is the time between SIGTERM and SIGKILL; zero means 5 s.
	StopGrace time.Duration
}

// Process is a started part. Its methods may be called from several goroutines.
type Process struct {
	sup  *Supervisor
	part Part

	mu  sync.Mutex
	run *run
}

// run is one life of a part: restarted, it gets another.
type run struct {
	entry
	done chan struct{} // closed when the process has been collected
	err  error         // valid after done

	mu      sync.Mutex
	watched bool // its end is a failure to report: it is ready, and nobody stopped it
	ended   bool
}

// watch makes the end of the run a failure to report; it returns false when
// the run has ended already.
func (r *run) watch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched = !r.ended
	return r.watched
}

// expect makes the end of the run no failure.
func (r *run) expect() {
	r.mu.Lock()
	r.watched = false
	r.mu.Unlock()
}

// Start runs a part and returns when it is ready. A part that ends before that,
// or does not become ready in time, is an error that holds the tail of its log.
func (s *Supervisor) Start(ctx context.Context, p Part) (*Process, error) {
	if p.StopGrace == 0 {
		p.StopGrace = 5 * time.Second
	}
	s.mu.Lock()
	if _, taken := s.parts[p.Name]; taken || p.Name == "guard" {
		s.mu.Unlock()
		return nil, fmt.Errorf("part %s: the name is taken", p.Name)
	}
	process := &Process{sup: s, part: p}
	s.parts[p.Name] = process
	s.mu.Unlock()
	if err := process.start(ctx, os.O_TRUNC); err != nil {
		s.forget(p.Name)
		return nil, err
	}
	return process, nil
}

// forget frees a part's name. The ledger keeps its place: an entry of a
// process that is gone undoes nothing.
func (s *Supervisor) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, name)
}

func (p *Process) logPath() string {
	return filepath.Join(p.sup.stateDir, "logs", p.part.Name+".log")
}

func (p *Process) start(ctx context.Context, logMode int) error {
	r, err := p.spawn(logMode)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.part.Name, err)
	}
	p.mu.Lock()
	p.run = r
	p.mu.Unlock()
	if err := p.awaitReady(ctx, r); err != nil {
		_ = terminate(ctx, r.entry)
		return fmt.Errorf("start %s: %w\n--- end of %s\n%s", p.part.Name, err, p.logPath(), tail(p.logPath()))
	}
	return nil
}

// spawn forks the process and puts it on the ledger.
func (p *Process) spawn(logMode int) (*run, error) {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|logMode, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	defer func() { _ = log.Close() }()
	argv := append([]string{p.part.Path}, p.part.Args...)
	if p.part.NetNS != "" {
		argv = append([]string{"nsenter", "--net=" + p.part.NetNS, "--"}, argv...)
	}
	// A part lives until it is stopped, not until the context of its start ends.
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.Dir = p.part.Dir
	cmd.Env = append(append(baseEnv(), p.part.Env...), markOf(p.sup.stateDir))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := p.sup.fork(cmd); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	r := &run{entry: entry{Name: p.part.Name, Pid: pid, Born: born(pid), Grace: p.part.StopGrace}, done: make(chan struct{})}
	// Until the guard knows the process, the parent-death signal covers it.
	if err := p.sup.record(r.entry); err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return nil, err
	}
	go p.collect(cmd, r)
	return r, nil
}

// collect waits for the end of a run and reports it unless it was expected.
func (p *Process) collect(cmd *exec.Cmd, r *run) {
	err := cmd.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	r.err = fmt.Errorf("%s ended by itself: %w", p.part.Name, err)
	close(r.done)
	r.mu.Lock()
	r.ended = true
	watched := r.watched
	r.mu.Unlock()
	if watched {
		p.sup.report(p.part.Name, fmt.Errorf("%w\n--- end of %s\n%s", r.err, p.logPath(), tail(p.logPath())))
	}
}

// awaitReady polls the part's own check until it passes, the process ends, or
// the time is over.
func (p *Process) awaitReady(ctx context.Context, r *run) error {
	if p.part.Ready == nil {
		if r.watch() {
			return nil
		}
		<-r.done
		return r.err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	last := errors.New("not asked yet")
	for {
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (last answer: %w)", ctx.Err(), last)
		default:
		}
		attempt, stop := context.WithTimeout(ctx, 3*time.Second)
		err := p.part.Ready(attempt)
		stop()
		if err == nil && r.watch() {
			return nil
		}
		last = err
		time.Sleep(pollEvery)
	}
}

// Pid is the process number of the part's current run.
func (p *Process) Pid() int { return p.current().Pid }

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// Kill ends the part and its process group with SIGKILL, as a crash would, and
// waits until it is gone. It is not reported as a failure.
func (p *Process) Kill() error {
	r := p.current()
	r.expect()
	if !alive(r.Pid, r.Born) {
		return nil
	}
	if err := syscall.Kill(-r.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s (process %d): %w", p.part.Name, r.Pid, err)
	}
	select {
	case <-r.done:
		return nil
	case <-time.After(killTimeout):
		return fmt.Errorf("kill %s: process %d is still there %s after SIGKILL", p.part.Name, r.Pid, killTimeout)
	}
}

// Stop ends the part (SIGTERM, its grace, SIGKILL) before the stack does; its
// name is free again. The end of ctx cuts the grace short.
func (p *Process) Stop(ctx context.Context) error {
	r := p.current()
	r.expect()
	if err := terminate(ctx, r.entry); err != nil {
		return fmt.Errorf("stop %s: %w", p.part.Name, err)
	}
	<-r.done
	p.sup.forget(p.part.Name)
	return nil
}

// Restart stops the part if it runs, starts it again with the same settings
// and returns when it is ready. Its log goes on.
func (p *Process) Restart(ctx context.Context) error {
	r := p.current()
	r.expect()
	if err := terminate(ctx, r.entry); err != nil {
		return fmt.Errorf("restart %s: %w", p.part.Name, err)
	}
	<-r.done
	return p.start(ctx, 0)
}
