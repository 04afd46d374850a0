// Package e2e tests Waybill from outside: the local stack, the client, the HTTP
// API, the temporal CLI, kubectl and an S3 client, on real parts.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stack is the one that all tests of the package share. Its ports and names are
// its own, so that it runs beside a stack that a developer has up.
var stack struct {
	root string // of the repository
	bin  string // waybill, waybilld and devstack, built from this tree
	dir  string // the stack's state
	state
}

// state is stack.json, as far as tests need it.
type state struct {
	Pid          int       `json:"pid"`
	Kubeconfig   string    `json:"kubeconfig"`
	Gateway      string    `json:"gateway"`
	Temporal     string    `json:"temporal"`
	Prometheus   string    `json:"prometheus"`
	Registry     string    `json:"registry"`
	ObjectStore  string    `json:"objectStore"`
	Bucket       string    `json:"bucket"`
	Issuer       string    `json:"issuer"`
	Slack        string    `json:"slack"`
	EvidenceKeys []string  `json:"evidenceKeys"`
	Versions     []version `json:"versions"`
}

// version is an image of the demo service.
type version struct {
	Tag    string `json:"tag"`
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit"`
}

// upTime bounds the start of the stack. The tools that it runs are built on the
// very first start of a machine.
const upTime = 30 * time.Minute

func TestMain(m *testing.M) {
	code, err := runWithStack(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runWithStack(m *testing.M) (code int, err error) {
	if stack.root, err = filepath.Abs(".."); err != nil {
		return 1, err
	}
	work, err := os.MkdirTemp("", "waybill-e2e-")
	if err != nil {
		return 1, err
	}
	stack.bin, stack.dir = filepath.Join(work, "bin"), filepath.Join(work, "state")
	build := exec.Command("go", "build", "-o", stack.bin+"/", "./cmd/...")
	build.Dir = stack.root
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build ./cmd/...: %w\n%s", err, out)
	}
	if dir := os.Getenv("WAYBILL_E2E_STACK"); dir != "" {
		// A developer's own stack, left as it is found.
		stack.dir = dir
		raw, err := os.ReadFile(filepath.Join(dir, "stack.json"))
		if err != nil {
			return 1, err
		}
		if err := json.Unmarshal(raw, &stack.state); err != nil {
			return 1, err
		}
		return m.Run(), os.RemoveAll(work)
	}
	down, err := up()
	if err != nil {
		return 1, fmt.Errorf("%w (the stack's logs are in %s)", err, stack.dir)
	}
	code = m.Run()
	if err := down(); err != nil {
		return 1, err
	}
	if code != 0 && os.Getenv("WAYBILL_E2E_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "e2e: the stack's logs are kept in", stack.dir)
		return code, nil
	}
	return code, os.RemoveAll(work)
}

// up starts the stack as a child that ends with this process, however that
// ends, and returns what stops it.
func up() (down func() error, err error) {
	// The kernel's parent-death signal follows the thread that forks.
	runtime.LockOSThread()
	var said bytes.Buffer
	child := exec.Command(filepath.Join(stack.bin, "devstack"), "up", "--name="+filepath.Base(filepath.Dir(stack.dir)), "--state="+stack.dir)
	child.Stdout, child.Stderr = &said, &said
	child.Dir = stack.root
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := child.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	down = func() error {
		if err := child.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("the stack did not end well: %w\n%s", err, said.Bytes())
			}
			return nil
		case <-time.After(2 * time.Minute):
			return errors.New("the stack does not end")
		}
	}
	deadline := time.After(upTime)
	for {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the stack did not come up: %w\n%s", err, said.Bytes())
		case <-deadline:
			return nil, errors.Join(errors.New("the stack did not come up in time"), down())
		case <-time.After(100 * time.Millisecond):
		}
		raw, err := os.ReadFile(filepath.Join(stack.dir, "stack.json"))
		if err != nil {
			continue
		}
		if err := json.Unmarshal(raw, &stack.state); err != nil {
			return nil, errors.Join(err, down())
		}
		if stack.Pid == child.Process.Pid {
			return down, nil
		}
	}
}

// image is the version of the demo service with the tag.
func image(tb testing.TB, tag string) version {
	tb.Helper()
	for _, v := range stack.Versions {
		if v.Tag == tag {
			return v
		}
	}
	tb.Fatalf("no version %s was seeded", tag)
	return version{}
}

// pidOf is the process number of a part of the stack.
func pidOf(tb testing.TB, part string) int {
	tb.Helper()
	var pid int
	text, err := os.ReadFile(filepath.Join(stack.dir, "run", part+".pid"))
	require.NoError(tb, err)
	_, err = fmt.Sscan(strings.TrimSpace(string(text)), &pid)
	require.NoError(tb, err)
	return pid
}

// killing lets tests that run side by side kill one after another.
var killing sync.Mutex

// killWorker ends the worker with SIGKILL and waits until the stack has started
// it again, as its platform would.
func killWorker(tb testing.TB) {
	tb.Helper()
	killing.Lock()
	defer killing.Unlock()
	before := pidOf(tb, "worker")
	require.NoError(tb, syscall.Kill(before, syscall.SIGKILL))
	require.Eventually(tb, func() bool { return pidOf(tb, "worker") != before }, time.Minute, 50*time.Millisecond)
}
