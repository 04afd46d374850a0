package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

func newDecideCommand(a *app, verb string) *cobra.Command {
	var reason, digest string
	var yes bool
	decision := map[string]signals.Decision{"approve": signals.Approve, "deny": signals.Deny}[verb]
	cmd := &cobra.Command{
		Use: verb + " RELEASE --reason TEXT", Args: cobra.ExactArgs(1),
		Short: strings.ToUpper(verb[:1]) + verb[1:] + " a release after reading exactly what will ship",
		Long: "Shows what will ship and asks for confirmation. The decision is bound to the digest of the plan that was shown: " +
			"if the plan is another by the time it arrives, it is refused. Without a terminal give --yes, or the plan's digest.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := need(map[string]string{"reason": strings.TrimSpace(reason)}); err != nil {
				return err
			}
			return a.decide(cmd.Context(), args[0], wire.Decision{Decision: decision, Reason: reason, PlanDigest: digest}, yes)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().StringVar(&digest, "plan-digest", "", "the plan that was read; its digest stands in `waybill status`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) decide(ctx context.Context, release string, d wire.Decision, yes bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r, err := c.Release(ctx, release)
	switch {
	case err != nil:
		return err
	case r.Over():
		return failed(exitConflict, fmt.Errorf("release %s has ended; there is nothing to decide", release))
	case r.PlanDigest == "":
		return failed(exitConflict, fmt.Errorf("release %s has no plan yet; it is in phase %s", release, r.Phase))
	case d.PlanDigest != "" && d.PlanDigest != r.PlanDigest:
		return failed(exitConflict, fmt.Errorf("the plan of release %s is %s, not %s", release, r.PlanDigest, d.PlanDigest))
	}
	fmt.Fprint(a.errs, whatShips(r))
	if !yes && d.PlanDigest == "" {
		if err := a.confirm(string(d.Decision)); err != nil {
			return err
		}
	}
	d.PlanDigest = r.PlanDigest
	receipt, err := c.Decide(ctx, release, d)
	if err != nil {
		return err
	}
	return a.print(receipt, func(w io.Writer) { fmt.Fprintln(w, clean(receipt.Message)) })
}

// whatShips is what an approver puts a name to.
func whatShips(r wire.Release) string {
	var b strings.Builder
	var rows [][]string
	add := func(name, value string) { rows = append(rows, []string{"  " + name, orDash(value)}) }
	add("service", r.Service)
	add("environment", fmt.Sprintf("%s (tier %d)", r.Environment, r.Tier))
	add("image", r.Artifact.Reference())
	if r.Artifact.Tag != "" {
		add("asked for as", r.Artifact.Tag)
	}
	add("commit", r.Commit)
	add("ticket", r.Ticket)
	add("asked for by", r.Requester)
	if r.LKG != nil {
		add("replaces", r.LKG.Digest)
	}
	for _, g := range r.Gates {
		if g.State == "passed" && g.Detail != "" {
			add(g.Name, g.Detail)
		}
	}
	add("must approve", quorum(r.Approval.Needed))
	add("plan digest", r.PlanDigest)
	b.WriteString("This release will ship:\n")
	table(&b, rows)
	return b.String()
}

// confirm asks on the terminal; anything but yes is no.
func (a *app) confirm(verb string) error {
	if f, ok := a.in.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return failed(exitUsage, errors.New("there is no terminal to ask on; give --yes, or --plan-digest with the digest that was read"))
	}
	fmt.Fprintf(a.errs, "%s this release? [y/N] ", strings.ToUpper(verb[:1])+verb[1:])
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return failed(exitError, errors.New("nothing was sent"))
}

func newAbortCommand(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "abort RELEASE --reason TEXT", Short: "Stop a release and put everything back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := need(map[string]string{"reason": strings.TrimSpace(reason)}); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			receipt, err := c.Command(cmd.Context(), args[0], wire.Command{Command: signals.Abort, Reason: reason})
			if err != nil {
				return err
			}
			return a.print(receipt, func(w io.Writer) { fmt.Fprintln(w, clean(receipt.Message)) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}
