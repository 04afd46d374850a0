package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/seed"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/stack"
	"github.com/waybill-dev/waybill/signals"
)

// auditor is who asks the evidence: no token, but an account of the bucket.
const auditor = "auditor"

// Exit statuses of the client: for what is not there, and for who does not
// answer.
const (
	notFound    = 4
	unreachable = 7
)

// untilAsked bounds the phases before somebody is asked for an approval.
const untilAsked = 2 * time.Minute

// untilAnswered bounds the wait for a gateway or worker that is on its way.
const untilAnswered = 30 * time.Second

func (d *demo) version(tag string) (seed.Version, error) { return seed.Find(d.state.Versions, tag) }

// command is a run of the client by an account.
func (d *demo) command(ctx context.Context, account string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.client, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	// The user's own logins, at AWS or at another gateway, must not meddle.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "WAYBILL_")
	})
	cmd.Env = slices.Concat(own, []string{"WAYBILL_GATEWAY=" + d.state.Gateway, "WAYBILL_HOME=" + d.home})
	if account == auditor {
		cmd.Env = append(cmd.Env, stack.Layout{Dir: d.state.Dir}.AuditorEnv()...)
	} else {
		cmd.Env = append(cmd.Env, "WAYBILL_TOKEN="+d.tokens[account])
	}
	return cmd
}

// show runs the client in front of the user, after saying what is run.
func (d *demo) show(ctx context.Context, account string, args ...string) error {
	fmt.Fprintf(d.out, "$ waybill %s   # as %s\n", shellText(args), account)
	cmd := d.command(ctx, account, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, d.out, os.Stderr
	return cmd.Run()
}

// ask runs the client as CI and reads its JSON. A gateway that can't answer for
// lack of a worker is asked again for a while: a worker that was just started
// again takes some seconds to be found.
func (d *demo) ask(ctx context.Context, into any, args ...string) error {
	args = append(args, "--output=json")
	for deadline := time.Now().Add(untilAnswered); ; {
		cmd := d.command(ctx, "ci", args...)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err == nil {
			if err := json.Unmarshal(out, into); err != nil {
				return fmt.Errorf("waybill %s: its answer: %w", args[0], err)
			}
			return nil
		}
		if exitStatus(err) != unreachable || time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("waybill %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
		}
		time.Sleep(time.Second)
	}
}

// exitStatus is a command's, 0 without an error and -1 if it did not end by
// itself.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return -1
}

// shellText is args as they would be typed.
func shellText(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, " \"'$&|;<>()") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		quoted[i] = arg
	}
	return strings.Join(quoted, " ")
}

// start starts a release as CI and returns its id.
func (d *demo) start(ctx context.Context, v seed.Version, ticket, reason string) (string, error) {
	args := []string{
		"start", "--service=" + seed.Service, "--environment=" + environment, "--image=" + v.Image, "--commit=" + v.Commit,
		"--ticket=" + ticket, "--reason=" + reason,
	}
	fmt.Fprintf(d.out, "$ waybill %s   # as ci\n", shellText(args))
	var started struct {
		Release string `json:"release"`
	}
	if err := d.ask(ctx, &started, args...); err != nil {
		return "", err
	}
	fmt.Fprintln(d.out, started.Release)
	return started.Release, nil
}

// awaitsApproval tells whether the release has come to wait for people.
func (d *demo) awaitsApproval(ctx context.Context, release string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, untilAsked)
	defer cancel()
	for {
		var status signals.Status
		if err := d.ask(ctx, &status, "status", release); err != nil {
			return false, err
		}
		passed := slices.Index(signals.Phases(), status.Phase) > slices.Index(signals.Phases(), signals.Approving)
		switch {
		case status.Outcome != nil || passed:
			return false, nil
		case status.Phase == signals.Approving && len(status.Approval.Missing.Groups) > 0:
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("release %s is still in phase %s: %w", release, status.Phase, ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// load is what the load generator has counted so far.
type load struct {
	Sent    int                       `json:"sent"`
	Answers map[string]map[string]int `json:"answers"`
	Lost    map[string]int            `json:"lost"`
}

// load reads the last totals that the load generator printed, after asking for
// fresh ones; none if it does not run.
func (d *demo) load() load {
	layout := stack.Layout{Dir: d.state.Dir}
	if pid, err := layout.Pid(stack.Load + "-" + environment); err == nil {
		_ = syscall.Kill(pid, syscall.SIGUSR1)
		time.Sleep(100 * time.Millisecond)
	}
	var totals load
	text, err := os.ReadFile(filepath.Join(layout.Logs(), stack.Load+"-"+environment+".log"))
	if err != nil {
		return totals
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	// A line that is no JSON is a message, and leaves nothing to compare with.
	_ = json.Unmarshal(lines[len(lines)-1], &totals)
	return totals
}

// since says what users of the service met between two looks.
func (l load) since(before load) string {
	var parts []string
	for _, version := range slices.Sorted(maps.Keys(l.Answers)) {
		for _, code := range slices.Sorted(maps.Keys(l.Answers[version])) {
			n := l.Answers[version][code] - before.Answers[version][code]
			if n == 0 {
				continue
			}
			who := version
			if version == "none" {
				who = "the ingress itself"
			}
			parts = append(parts, fmt.Sprintf("%d answered %s by %s", n, code, who))
		}
	}
	lost := 0
	for kind, n := range l.Lost {
		lost += n - before.Lost[kind]
	}
	return fmt.Sprintf("Meanwhile %d payments: %s; %d without an answer.", l.Sent-before.Sent, strings.Join(parts, ", "), lost)
}
