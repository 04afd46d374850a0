package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/stack"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

// readState is the state of the stack that the flags name.
func readState(f *flags) (stack.State, error) {
	dir, err := f.folder()
	if err != nil {
		return stack.State{}, err
	}
	return stack.Read(dir)
}

func newStatusCommand(f *flags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Say where the stack's parts are and whether they answer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := readState(f)
			if err != nil {
				return err
			}
			if !alive(state.Pid) {
				return fmt.Errorf("the stack's process %d has ended: run devstack down to tidy up after it", state.Pid)
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(state)
			}
			printSummary(cmd.OutOrStdout(), state)
			return printHealth(cmd.Context(), cmd.OutOrStdout(), state)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the state as JSON")
	return cmd
}

// printHealth asks each part whether it answers; one that does not is an error.
func printHealth(ctx context.Context, out io.Writer, s stack.State) error {
	hostOf := func(address string) string {
		at, err := url.Parse(address)
		if err != nil {
			return ""
		}
		return at.Host
	}
	checks := []struct {
		part  string
		ready func(context.Context) error
	}{
		{"temporal", proc.TCPReady(s.Temporal)},
		{"gateway", proc.HTTPReady(s.Gateway + "/readyz")},
		{"registry", proc.HTTPReady("http://" + s.Registry + "/v2/")},
		{"objectstore", proc.HTTPReady(s.ObjectStore + "/healthz")},
		{"prometheus", proc.HTTPReady(s.Prometheus + "/-/ready")},
		{"issuer", proc.HTTPReady(s.Issuer + "/.well-known/openid-configuration")},
		{"ingress", proc.TCPReady(hostOf(s.Ingress))},
	}
	if s.Slack != "" {
		checks = append(checks, struct {
			part  string
			ready func(context.Context) error
		}{"slack", proc.HTTPReady(s.Slack + "/emulator/healthz")})
	}
	var down []string
	for _, check := range checks {
		attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := check.ready(attempt)
		cancel()
		if err != nil {
			down = append(down, check.part)
			fmt.Fprintf(out, "  %-12s does not answer: %v\n", check.part, err)
			continue
		}
		fmt.Fprintf(out, "  %-12s answers\n", check.part)
	}
	if len(down) > 0 {
		return fmt.Errorf("%s: see devstack logs", strings.Join(down, ", "))
	}
	return nil
}

func newTokenCommand(f *flags) *cobra.Command {
	var names []string
	for _, account := range oidcissuer.Accounts() {
		names = append(names, fmt.Sprintf("%s (%s)", account.ID, strings.Join(account.Groups, ", ")))
	}
	var second bool
	cmd := &cobra.Command{
		Use: "token ACCOUNT", Short: "Log in as an account of the stack and print its token", Args: cobra.ExactArgs(1),
		Long: "Log in as an account of the stack's OIDC issuer and print its token, for WAYBILL_TOKEN.\n\n" +
			"The accounts are the roles of a release, with their groups:\n  " + strings.Join(names, "\n  "),
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := readState(f)
			if err != nil {
				return err
			}
			token, err := logIn(cmd.Context(), state, args[0], second)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			return nil
		},
	}
	cmd.Flags().BoolVar(&second, "mfa", false, "log in with the second factor too, as decisions with step-up demand")
	return cmd
}

// logIn gets a token for an account by its password, and its second factor if
// asked to, which only this machine knows.
func logIn(ctx context.Context, state stack.State, account string, second bool) (string, error) {
	who, err := credentials(state, account)
	if err != nil {
		return "", err
	}
	if !second {
		who.Code = ""
	}
	return oidcissuer.LogIn(ctx, state.Issuer, who)
}

// credentials are what an account types into the login form now; its code is ""
// if it has no second factor.
func credentials(state stack.State, account string) (oidcissuer.Credentials, error) {
	secrets, err := oidcissuer.LoadSecrets(stack.Layout{Dir: state.Dir}.Issuer())
	if err != nil {
		return oidcissuer.Credentials{}, err
	}
	who := oidcissuer.Credentials{Account: account, Password: secrets.Passwords[account]}
	if who.Password == "" {
		return who, fmt.Errorf("the issuer has no account %q; see devstack token --help", account)
	}
	if secrets.Seconds[account] != "" {
		who.Code, err = secrets.Code(account, time.Now())
	}
	return who, err
}

// newPasswordCommand tells what a person would type into the login form.
func newPasswordCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "password ACCOUNT", Short: "Print an account's password and, if it has a second factor, its code of now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := readState(f)
			if err != nil {
				return err
			}
			who, err := credentials(state, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), who.Password)
			if who.Code != "" {
				fmt.Fprintln(cmd.OutOrStdout(), who.Code)
			}
			return nil
		},
	}
}

func newLogsCommand(f *flags) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs [PART]", Short: "Print a part's log, or list the parts", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := f.folder()
			if err != nil {
				return err
			}
			files, err := filepath.Glob(filepath.Join(stack.Layout{Dir: dir}.Logs(), "*.log"))
			if err != nil {
				return err
			}
			var parts []string
			for _, file := range files {
				parts = append(parts, strings.TrimSuffix(filepath.Base(file), ".log"))
			}
			if len(args) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), strings.Join(parts, "\n"))
				return nil
			}
			if !slices.Contains(parts, args[0]) {
				return fmt.Errorf("no log of %q: the parts are %s", args[0], strings.Join(parts, ", "))
			}
			return printLog(cmd.Context(), cmd.OutOrStdout(), filepath.Join(stack.Layout{Dir: dir}.Logs(), args[0]+".log"), follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows, until Ctrl-C")
	return cmd
}

func printLog(ctx context.Context, out io.Writer, path string, follow bool) error {
	log, err := os.Open(path)
	if err != nil {
		return err
	}
	defer log.Close()
	for {
		if _, err := io.Copy(out, log); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func newServeCommand() *cobra.Command {
	serve := &cobra.Command{Use: "serve", Short: "Run one of the stack's own parts", Hidden: true}
	serve.AddCommand(newServeRegistryCommand(), newServeIssuerCommand(), newServeSlackCommand(), newForwardCommand())
	return serve
}

// serveHTTP answers on address until ctx ends.
func serveHTTP(ctx context.Context, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
