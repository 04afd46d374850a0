package testtools

import "syscall"

// DieWithParent has the kernel kill a child if the test's process dies first.
// Other systems than Linux have no such thing; there it asks for nothing.
func DieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
