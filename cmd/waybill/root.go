package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
)

// app is what all commands share: where they read and write, and the flags that
// every one of them has.
type app struct {
	in        io.Reader
	out, errs io.Writer

	gateway   string
	tokenFile string
	output    string
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "waybill",
		Short:         "Take signed images to environments, with their papers",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != outputTable && a.output != outputJSON {
				return failed(exitUsage, fmt.Errorf("--output %q: want table or json", a.output))
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failed(exitUsage, fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath()))
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.gateway, "gateway", "", "the gateway's URL (default $WAYBILL_GATEWAY, else the one logged in to, else http://127.0.0.1:8080)")
	flags.StringVar(&a.tokenFile, "token-file", "", "file with a bearer token (default $WAYBILL_TOKEN, else that of the login)")
	flags.StringVarP(&a.output, "output", "o", outputTable, "table or json")
	root.AddCommand(
		newStartCommand(a), newStatusCommand(a), newWatchCommand(a), newListCommand(a), newLaneCommand(a),
		newEvidenceCommand(a), newCatalogCommand(a), newAttestCommand(a),
		newLoginCommand(a), newLogoutCommand(a), newWhoamiCommand(a), newVersionCommand(a),
	)
	root.AddCommand(newDecideCommands(a)...)
	root.AddCommand(newOperateCommands(a)...)
	usageErrors(root)
	return root
}

// usageErrors gives mistakes in arguments the exit status of bad input.
func usageErrors(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return failed(exitUsage, fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath()))
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		usageErrors(child)
	}
}

// client speaks to the gateway as whoever is logged in.
func (a *app) client() (*apiclient.Client, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	gateway := a.gatewayURL(store)
	c, err := apiclient.New(gateway, version(), a.tokenSource(store, gateway))
	if err != nil {
		return nil, failed(exitUsage, err)
	}
	return c, nil
}

func (a *app) gatewayURL(s *store) string {
	return cmp.Or(a.gateway, os.Getenv("WAYBILL_GATEWAY"), s.Current, "http://127.0.0.1:8080")
}

// print writes v as JSON, or as table renders it.
func (a *app) print(v any, table func(io.Writer)) error {
	if a.output == outputTable {
		table(a.out)
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// need reports flags that are missing, all at once.
func need(flags map[string]string) error {
	var faults []error
	for _, name := range sortedKeys(flags) {
		if flags[name] == "" {
			faults = append(faults, fmt.Errorf("--%s is needed", name))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return failed(exitUsage, errors.Join(faults...))
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"version": version()}, func(w io.Writer) { fmt.Fprintln(w, "waybill", version()) })
		},
	}
}
