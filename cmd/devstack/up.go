package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/stack"
)

// stopTime bounds the end of a stack.
const stopTime = 2 * time.Minute

func newUpCommand(f *flags) *cobra.Command {
	var detach bool
	var without []string
	cmd := &cobra.Command{
		Use: "up", Short: "Bring the stack up, until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := f.folder()
			if err != nil {
				return err
			}
			if state, err := stack.Read(dir); err == nil && alive(state.Pid) {
				fmt.Fprintln(cmd.OutOrStdout(), "the stack is up already")
				printSummary(cmd.OutOrStdout(), state)
				return nil
			}
			if detach {
				return upDetached(cmd.Context(), cmd.OutOrStdout(), f, dir, without)
			}
			return upHere(cmd.Context(), cmd.OutOrStdout(), f, dir, without, func(ctx context.Context, state stack.State) error {
				printSummary(cmd.OutOrStdout(), state)
				<-ctx.Done()
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "return when the stack is up and leave it running")
	cmd.Flags().StringSliceVar(&without, "without", nil, "leave out parts: worker, gateway, load, slack")
	return cmd
}

// progress prints a line per part.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *progress) line(part, about string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "  %-20s %6.1f s  %s\n", part, took.Seconds(), about)
}

// upHere brings the stack up as a part of this process, does work, and takes
// the stack down however work ended. A part's failure ends the work's context.
func upHere(ctx context.Context, out io.Writer, f *flags, dir string, without []string, work func(context.Context, stack.State) error) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := &progress{out: out}
	sup, state, err := stack.Up(ctx, stack.Options{
		Name: f.name, Dir: dir, UsualPorts: f.name == usualName, Without: without, Progress: lines.line,
		Failed: func(part string, err error) { cancel(fmt.Errorf("%s failed: %w", part, err)) },
	})
	if err != nil {
		return failure(ctx, err)
	}
	lines.line("all parts", "", time.Since(began))
	err = failure(ctx, work(ctx, state))
	fmt.Fprintln(out, "stopping the stack")
	stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer stop()
	return errors.Join(err, stack.Forget(dir), sup.Stop(stopCtx))
}

// failure is err, or else the failure of a part that ended ctx.
func failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// upDetached runs this program once more in a session of its own, shows what it
// says, and returns when the stack is up.
func upDetached(ctx context.Context, out io.Writer, f *flags, dir string, without []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	if err := errors.Join(os.MkdirAll(stack.Layout{Dir: dir}.Logs(), 0o750), stack.Forget(dir)); err != nil {
		return err
	}
	path := filepath.Join(stack.Layout{Dir: dir}.Logs(), "devstack.log")
	log, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("the stack's log: %w", err)
	}
	defer log.Close()
	args := []string{"up", "--name=" + f.name, "--state=" + dir}
	for _, part := range without {
		args = append(args, "--without="+part)
	}
	// It outlives this process, so nothing of this context may end it.
	child := exec.CommandContext(context.WithoutCancel(ctx), self, args...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the stack: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	shown := 0
	for {
		select {
		case err := <-ended:
			show(out, path, shown)
			return fmt.Errorf("the stack did not come up (%w): see above", orExited(err))
		case <-ctx.Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			return errors.Join(ctx.Err(), <-ended)
		case <-time.After(100 * time.Millisecond):
		}
		shown = show(out, path, shown)
		if state, err := stack.Read(dir); err == nil && state.Pid == child.Process.Pid {
			show(out, path, shown)
			return nil
		}
	}
}

func orExited(err error) error {
	if err == nil {
		return errors.New("it ended")
	}
	return err
}

// show prints what has been added to a file since shown bytes of it.
func show(out io.Writer, path string, shown int) int {
	text, err := os.ReadFile(path)
	if err != nil || len(text) <= shown {
		return shown
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	if whole > shown {
		_, _ = out.Write(text[shown:whole])
	}
	return max(whole, shown)
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

func printSummary(out io.Writer, s stack.State) {
	fmt.Fprintf(out, `
The stack is up, on a %s cluster (%s).

  Temporal UI   %s
  Gateway       %s
  Slack         %s
  Prometheus    %s
  S3            %s, bucket %s
  Demo service  %s, hosts payments-staging.example and payments-prod.example
  Kubernetes    export KUBECONFIG=%s

  . %s                     sets what the client and other tools need in this shell
  export WAYBILL_TOKEN=$(bin/devstack token ci)   logs in as ci; see devstack token --help
  bin/devstack password risk-officer              is what the login page asks for: password and code
  bin/devstack logs PART                          shows a part's log

`, s.Cluster, s.ClusterWhy, s.TemporalUI, s.Gateway, cmp.Or(s.Slack, "left out"), s.Prometheus, s.ObjectStore, s.Bucket, s.Ingress, s.Kubeconfig, filepath.Join(s.Dir, "env"))
	for _, v := range s.Versions {
		fmt.Fprintf(out, "  %s  %-30s  %s\n      built from %s\n", v.Tag, v.About, v.Image, v.Commit)
	}
	fmt.Fprintln(out)
}

func newDownCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the stack", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := f.folder()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), stopTime)
			defer cancel()
			err = proc.StopRunning(ctx, dir)
			switch {
			case errors.Is(err, proc.ErrNotRunning):
				fmt.Fprintln(cmd.OutOrStdout(), "no stack is up")
				err = nil
			case err == nil:
				fmt.Fprintln(cmd.OutOrStdout(), "the stack is down")
			}
			return errors.Join(err, stack.Forget(dir))
		},
	}
}
