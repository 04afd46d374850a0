package kubetest

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// Main runs the tests of a package on one control plane, which setUp may prepare
// and keep for them; its context ends with the tests. The result is the status
// for os.Exit.
func Main(m *testing.M, setUp func(context.Context, *Server) error) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "kubetest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := Start(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the control plane:", err)
		return 1
	}
	defer server.Stop()
	if err := setUp(ctx, server); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the control plane:", err)
		return 1
	}
	return m.Run()
}
