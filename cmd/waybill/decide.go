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

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// verdicts are what an approver can decide, and what each means.
var verdicts = []struct {
	decision signals.Decision
	short    string
}{
	{signals.Approve, "Approve a release after reading exactly what will ship"},
	{signals.Deny, "Deny a release after reading exactly what would ship"},
	{signals.Withdraw, "Take back one's own approval while the quorum is not complete"},
}

func newDecideCommands(a *app) []*cobra.Command {
	commands := make([]*cobra.Command, 0, len(verdicts))
	for _, v := range verdicts {
		var yes bool
		d := wire.Decision{Decision: v.decision}
		cmd := &cobra.Command{
			Use: string(v.decision) + " RELEASE --reason TEXT", Args: cobra.ExactArgs(1), Short: v.short,
			Long: v.short + ".\n\nShows what will ship and asks for confirmation. The decision is bound to the digest of the plan that was shown: " +
				"if the plan is another by the time it arrives, it is refused. Without a terminal give --yes, or the plan's digest. " +
				"With --command the decision is on an operator's command that waits for somebody's approval.",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := need(map[string]string{"reason": strings.TrimSpace(d.Reason)}); err != nil {
					return err
				}
				return a.decide(cmd.Context(), args[0], d, yes)
			},
		}
		cmd.Flags().StringVar(&d.Reason, "reason", "", "why, for the record")
		cmd.Flags().StringVar(&d.PlanDigest, "plan-digest", "", "the plan that was read; its digest stands in 'waybill status'")
		cmd.Flags().StringVar(&d.Command, "command", "", "id of the pending command to decide on, as 'waybill status' shows it")
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
		commands = append(commands, cmd)
	}
	return commands
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
	for _, p := range r.Pending {
		if p.ID == d.Command {
			fmt.Fprintf(a.errs, "The command that waits: %s by %s: “%s”\n", p.Command, clean(p.By), clean(p.Reason))
		}
	}
	if !yes && d.PlanDigest == "" {
		if err := a.confirm(string(d.Decision)); err != nil {
			return err
		}
	}
	d.PlanDigest = r.PlanDigest
	receipt, err := c.Decide(ctx, release, d)
	if refusal, ok := errors.AsType[*apiclient.Error](err); ok && refusal.Type == wire.StepUpProblem {
		fmt.Fprintf(a.errs, "Decide on this page, after a fresh login there:\n  %s\n", clean(refusal.Instance))
	}
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
	for _, e := range r.Excluded {
		add("may not approve", e.Identity+" ("+e.As+")")
	}
	add("plan digest", r.PlanDigest)
	add("  to compare", signals.PlainDigest(r.PlanDigest))
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
