package promtest

import "syscall"

// dieWithParent has the kernel kill the child if the test's process dies first.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
