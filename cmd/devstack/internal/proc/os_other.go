//go:build unix && !linux

package proc

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childAttributes puts a part into a process group of its own, so that it can
// be ended with its children and a Ctrl-C in the terminal does not reach it.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// born identifies a process beyond its number, which the system uses again.
func born(pid int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(out)), "-")
}

// alive reports whether the process that had this number and start time still
// runs.
func alive(pid int, started string) bool {
	return syscall.Kill(pid, 0) == nil && born(pid) == started
}

// marked finds nothing here: only Linux shows the environment of a process.
func marked(string) []int { return nil }
