package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// installTimeout bounds the build of a tool, which takes minutes the first time.
const installTimeout = 30 * time.Minute

// Tool returns the path of one of the project's pinned tools, building it first
// where it is missing. It works from any folder of the module.
func Tool(ctx context.Context, name string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".tools", "bin", name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	install := exec.CommandContext(ctx, filepath.Join(root, "deploy", "tools", "install.sh"), name)
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w: %s", name, err, out)
	}
	return path, nil
}

// moduleRoot is the nearest folder upwards that holds a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in this folder or above it")
		}
		dir = parent
	}
}

// process is a child whose output goes to a file.
type process struct {
	cmd *exec.Cmd
	log string
}

func startProcess(dir, name, path string, args ...string) (*process, error) {
	log := filepath.Join(dir, name+".log")
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// The child's life is bound to stop and to this process, not to a context.
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &process{cmd: cmd, log: log}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// tail returns the end of the process's log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// FreePorts returns n different loopback ports that were free a moment ago.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, n)
	var held []net.Listener // until all are chosen, so that they differ
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for i := range ports {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, listener)
		address, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("listener has the address %v, want a TCP address", listener.Addr())
		}
		ports[i] = address.Port
	}
	return ports, nil
}
