//go:build !linux

package testtools

import "syscall"

// DieWithParent asks for nothing: there is no such thing here.
func DieWithParent() *syscall.SysProcAttr { return nil }
