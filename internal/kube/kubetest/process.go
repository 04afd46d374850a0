package kubetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/waybill-dev/waybill/internal/testtools"
)

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
	cmd.SysProcAttr = testtools.DieWithParent()
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
