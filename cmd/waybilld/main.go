package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "waybilld:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "waybilld", Short: "Waybill's daemon", SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var config string
	root.PersistentFlags().StringVar(&config, "config", "", "the configuration file")
	if err := root.MarkPersistentFlagRequired("config"); err != nil {
		panic(err)
	}
	root.AddCommand(newWorkerCommand(&config), newGatewayCommand(&config))
	return root
}

func newWorkerCommand(config *string) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "worker", Short: "Run workflows and activities of the given roles", Args: cobra.NoArgs,
		Long: "release runs the workflows and what only reads; deploy changes clusters; notary signs and stores evidence. " +
			"Give each role a process with its own credentials, or run all of them in one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			roles, err := parseRoles(names)
			if err != nil {
				return err
			}
			c, err := LoadConfig(*config, roles...)
			if err != nil {
				return err
			}
			return runWorker(cmd.Context(), c, roles, newLog().With("roles", join(roles)))
		},
	}
	cmd.Flags().StringSliceVar(&names, "roles", nil, "release, deploy, notary, notify")
	if err := cmd.MarkFlagRequired("roles"); err != nil {
		panic(err)
	}
	return cmd
}

func parseRoles(names []string) ([]Role, error) {
	var roles []Role
	for _, name := range names {
		switch role := Role(strings.TrimSpace(name)); role {
		case RoleRelease, RoleDeploy, RoleNotary, RoleNotify:
			roles = append(roles, role)
		default:
			return nil, fmt.Errorf("role %q is unknown; known: release, deploy, notary, notify", name)
		}
	}
	if len(roles) == 0 {
		return nil, errors.New("--roles: want at least one of release, deploy, notary, notify")
	}
	return roles, nil
}

func newGatewayCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use: "gateway", Short: "Serve the HTTP API and sign what people ask for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := LoadConfig(*config, RoleGateway)
			if err != nil {
				return err
			}
			return runGateway(cmd.Context(), c, newLog().With("roles", RoleGateway))
		},
	}
}

func newLog() *slog.Logger {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log)
	return log
}
