package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	Reexec()
	os.Exit(m.Run())
}

// The children of these tests are this test binary, run as one of these.
var (
	// test-child writes its number to FILE, then acts by MODE.
	_ = RegisterHelper("test-child", func(args []string) error { return child(args[0], args[1]) })
	// test-note appends WORD to FILE.
	_ = RegisterHelper("test-note", func(args []string) error { return note(args[0], args[1]) })
	// test-stack runs a stack in DIR until it is killed or told to stop.
	_ = RegisterHelper("test-stack", func(args []string) error { return stack(args[0], args[1]) })
)

func note(file, word string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = fmt.Fprintln(f, word)
	return err
}

func child(mode, file string) error {
	term := make(chan os.Signal, 1)
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		argv, err := HelperArgv("test-child", "plain", file)
		if err != nil {
			return err
		}
		detached := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
		detached.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := detached.Start(); err != nil {
			return err
		}
	} else {
		signal.Notify(term, syscall.SIGTERM)
	}
	if mode == "env" {
		return os.WriteFile(file, []byte(strings.Join(os.Environ(), "\n")), 0o600)
	}
	if err := note(file, strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	if mode == "broken" {
		return fmt.Errorf("the shelf is empty")
	}
	<-term
	return note(file+".order", mode)
}

// stack is a small stack as devstack runs it: a well-behaved part, a cleanup,
// and a part that ignores SIGTERM and leaves a detached process.
func stack(dir, how string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := New(dir)
	if err != nil {
		return err
	}
	pids := filepath.Join(dir, "pids")
	if err := s.Cleanup("note", mustArgv("test-note", filepath.Join(dir, "cleaned"), "cleaned")); err != nil {
		return err
	}
	if _, err := s.Start(ctx, childPart("plain", pids, wrote(pids, 1))); err != nil {
		return err
	}
	stubborn := childPart("stubborn", pids, wrote(pids, 3))
	stubborn.StopGrace = 100 * time.Millisecond
	if how == "never-ready" {
		stubborn.Ready = func(context.Context) error { return fmt.Errorf("never") }
	}
	if _, err := s.Start(ctx, stubborn); err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	return s.Stop(context.Background())
}

func mustArgv(name string, args ...string) []string {
	argv, err := HelperArgv(name, args...)
	if err != nil {
		panic(err)
	}
	return argv
}

func childPart(mode, file string, ready func(context.Context) error) Part {
	argv := mustArgv("test-child", mode, file)
	return Part{Name: mode, Path: argv[0], Args: argv[1:], Ready: ready}
}

// wrote is ready when file has n lines.
func wrote(file string, n int) func(context.Context) error {
	return func(context.Context) error {
		if got := len(lines(file)); got < n {
			return fmt.Errorf("%d of %d lines in %s", got, n, file)
		}
		return nil
	}
}

func lines(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

func requireGone(t *testing.T, pids []string) {
	t.Helper()
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			state, _ := stat(pid)
			return state == "" || state == "Z"
		}, 20*time.Second, pollEvery, "process %d is still there", pid)
	}
}

func newSupervisor(t *testing.T, dir string) *Supervisor {
	t.Helper()
	s, err := New(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}
