// Command devstack runs Waybill's local stack: Temporal, a Kubernetes cluster
// with an ingress, a registry, an S3 server with Object Lock, Prometheus, an
// OIDC issuer, a Slack workspace, the demo service and Waybill itself, each a real
// program (Slack is emulated) and a child process of this one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/repo"
)

func main() {
	proc.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(1)
	}
}

// usualName is the stack that make up starts.
const usualName = "waybill"

// flags are those of every command.
type flags struct {
	name string
	dir  string
}

// folder is where the stack keeps its state.
func (f flags) folder() (string, error) {
	if f.dir != "" {
		return filepath.Abs(f.dir)
	}
	root, err := repo.Root()
	if err != nil {
		return "", err
	}
	if f.name == usualName {
		return filepath.Join(root, ".waybill"), nil
	}
	if filepath.Base(f.name) != f.name || f.name == "." || f.name == ".." {
		return "", errors.New("--name: want a plain name")
	}
	return filepath.Join(root, ".waybill", "stacks", f.name), nil
}

func newCommand() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use: "devstack", Short: "Run Waybill's local stack",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&f.name, "name", usualName, "name of the stack; stacks of other names run beside it")
	root.PersistentFlags().StringVar(&f.dir, "state", "", "folder of the stack's state (default: .waybill in the repository)")
	root.AddCommand(newUpCommand(f), newDownCommand(f), newStatusCommand(f), newTokenCommand(f), newPasswordCommand(f), newLogsCommand(f), newDemoCommand(f), newServeCommand())
	return root
}
