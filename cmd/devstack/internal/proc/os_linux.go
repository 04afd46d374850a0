package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes puts a part into a process group of its own, so that it can
// be ended with its children and a Ctrl-C in the terminal does not reach it,
// and has the kernel kill it should this process die.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stat reads the state letter and the start time of a process.
func stat(pid int) (state, started string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // a number names no other file
	if err != nil {
		return "", ""
	}
	// The command, in brackets, may hold blanks and brackets of its own.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return "", ""
	}
	return fields[0], fields[19]
}

// born identifies a process beyond its number, which the system uses again.
func born(pid int) string {
	_, started := stat(pid)
	return started
}

// alive reports whether the process that had this number and start time still
// runs; one that waits to be collected does not.
func alive(pid int, born string) bool {
	state, started := stat(pid)
	return started != "" && started == born && state != "Z" && state != "X"
}

// marked lists the processes that carry the stack's mark in their environment,
// however far they detached themselves from the part that started them.
func marked(mark string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue
		}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if string(variable) == mark {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
