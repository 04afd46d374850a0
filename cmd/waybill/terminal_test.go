package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/apitest"
)

// terminal is the client on a pseudo-terminal.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File

	mu   sync.Mutex
	seen bytes.Buffer
	done chan struct{}
}

func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 100})
	require.NoError(t, err)
	term := &terminal{t: t, cmd: cmd, file: file, done: make(chan struct{})}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = file.Close() })
	go func() {
		defer close(term.done)
		// Reading ends with an error when the client has closed its side.
		_, _ = io.Copy(term, file)
	}()
	return term
}

func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.Write(p)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

func (x *terminal) shows(text string) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return strings.Contains(x.text(), text) }, 20*time.Second, 50*time.Millisecond, "%q in\n%s", text, x.text())
}

func (x *terminal) types(keys string) {
	x.t.Helper()
	_, err := x.file.WriteString(keys)
	require.NoError(x.t, err)
}

func (x *terminal) exits(code int) {
	x.t.Helper()
	_ = x.cmd.Wait()
	<-x.done
	assert.Equal(x.t, code, x.cmd.ProcessState.ExitCode(), x.text())
}

func TestTheLiveViewFollowsUntilTheEnd(t *testing.T) {
	p := newPlace(t)
	id := p.start(apitest.ReasonWatch)
	x := onTerminal(t, p.command("ci", "watch", id))
	x.shows("payments-api → prod")
	x.shows("watching canary at 5%")
	x.shows("errors")
	require.Equal(t, 0, p.run("on-call", "", "abort", id, "--reason", "seen enough").code)
	x.exits(14)
	assert.Contains(t, x.text(), "aborted")
	assert.Contains(t, x.text(), "\x1b[?25h", "the cursor is given back")
}

func TestLeavingTheLiveViewLeavesTheReleaseAlone(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	x := onTerminal(t, p.command("ci", "watch", id))
	x.shows("q leaves the view")
	x.types("q")
	x.exits(exitError)
	assert.Contains(t, x.text(), "the release goes on")
	assert.Equal(t, exitError, p.run("ci", "", "status", id, "--exit-code").code, "it still runs")
}

func TestApprovalIsAskedForOnTheTerminal(t *testing.T) {
	p := newPlace(t)
	id := p.start("wait")
	no := onTerminal(t, p.command("release-lead", "approve", id, "--reason", "read it"))
	no.shows("plan digest")
	no.shows(apitest.PlanDigest)
	no.shows("Approve this release? [y/N]")
	no.types("\n")
	no.exits(exitError)
	assert.Contains(t, no.text(), "nothing was sent")

	yes := onTerminal(t, p.command("release-lead", "approve", id, "--reason", "read it"))
	yes.shows("[y/N]")
	yes.types("y\n")
	yes.exits(0)
	assert.Equal(t, 0, p.run("ci", "", "watch", id).code)
}
