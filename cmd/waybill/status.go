package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/signals"
)

func newStatusCommand(a *app) *cobra.Command {
	var byOutcome bool
	cmd := &cobra.Command{
		Use: "status RELEASE", Short: "Show where a release stands and what to do next", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.Release(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = a.print(r, func(w io.Writer) { fmt.Fprint(w, view(r, time.Now(), newStyles(w))) })
			switch {
			case err != nil || !byOutcome:
				return err
			case !r.Over():
				return failed(exitError, fmt.Errorf("release %s is still running", r.Release))
			}
			return failed(r.ExitCode(), nil)
		},
	}
	cmd.Flags().BoolVar(&byOutcome, "exit-code", false, "exit with the outcome's status, or 1 while the release runs")
	return cmd
}

func newListCommand(a *app) *cobra.Command {
	var f apiclient.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List releases, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			page, err := c.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.print(page, func(w io.Writer) {
				rows := [][]string{{"RELEASE", "SERVICE", "ENVIRONMENT", "PHASE", "OUTCOME", "DIGEST", "STARTED"}}
				for _, r := range page.Releases {
					outcome := string(r.Outcome)
					if outcome == "" {
						outcome = string(r.State)
					}
					rows = append(rows, []string{
						clean(r.Release), clean(r.Service), clean(r.Environment), orDash(string(r.Phase)), clean(outcome),
						orDash(short(r.Digest)), r.StartedAt.Local().Format(time.DateTime),
					})
				}
				columns(w, rows)
				if page.Next != "" {
					fmt.Fprintf(w, "there are more: --after %s\n", page.Next)
				}
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Service, "service", "", "only this service")
	flags.StringVar(&f.Environment, "environment", "", "only this environment")
	flags.StringVar(&f.Phase, "phase", "", "only releases in this phase")
	flags.StringVar(&f.Outcome, "outcome", "", "only releases with this outcome")
	flags.IntVar(&f.Limit, "limit", 20, "how many, 1 to 200")
	flags.StringVar(&f.After, "after", "", "the next page, as the page before names it")
	return cmd
}

func newLaneCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lane ENVIRONMENT SERVICE", Short: "Show who holds a lane, who waits, and what it goes back to; freeze it", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			lane, err := c.Lane(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(lane, func(w io.Writer) { laneTable(w, lane) })
		},
	}
	cmd.AddCommand(newLaneCommands(a)...)
	return cmd
}

func laneTable(w io.Writer, lane signals.LaneStatus) {
	holder, good := "–", "–"
	if lane.Hold.Holder != nil {
		holder = clean(lane.Hold.Holder.Release)
	}
	if lane.LKG != nil {
		good = short(lane.LKG.Digest) + " by " + orDash(lane.LKGRelease)
	}
	columns(w, [][]string{
		{"lane", clean(lane.Service) + " in " + clean(lane.Environment)},
		{"held by", holder},
		{"last known good", good},
	})
	if f := lane.Frozen; f != nil {
		until := "until it is unfrozen"
		if !f.Until.IsZero() {
			until = "until " + f.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "frozen by %s %s: “%s”\n", clean(f.By), until, clean(f.Reason))
	}
	for _, due := range lane.Reviews {
		fmt.Fprintf(w, "review due by %s of emergency release %s: “%s”; close it with: waybill lane close-review %s %s --release %s --reason '…'\n",
			due.Due.Local().Format(time.DateTime), clean(due.Release), clean(due.Reason), clean(lane.Environment), clean(lane.Service), clean(due.Release))
	}
	for i, claim := range lane.Hold.Waiting {
		fmt.Fprintf(w, "waiting %d: %s since %s\n", i+1, clean(claim.Release), claim.At.Local().Format(time.DateTime))
	}
	if len(lane.Recent) == 0 {
		return
	}
	fmt.Fprintln(w, "recent")
	var rows [][]string
	for _, r := range lane.Recent {
		rows = append(rows, []string{"  " + clean(r.Release), string(r.Outcome), orDash(short(r.Digest)), r.EndedAt.Local().Format(time.DateTime)})
	}
	columns(w, rows)
}

// outage is how long a command that waits goes on without an answer: a gateway
// that is being replaced must not end the wait for a release.
const outage = 2 * time.Minute

// endure runs ask again while no gateway or worker answers, telling about it
// once per outage. Any other error, and a longer outage, end the wait.
type endure struct {
	errs  io.Writer
	since time.Time
}

func (e *endure) passes(ctx context.Context, err error) bool {
	if err == nil {
		e.since = time.Time{}
		return true
	}
	if ctx.Err() != nil || exitCode(err) != exitUnreachable {
		return false
	}
	if e.since.IsZero() {
		e.since = time.Now()
		fmt.Fprintf(e.errs, "waybill: %v; waiting for it to come back\n", err)
	}
	return time.Since(e.since) < outage
}

// leave words the end of a wait that the user broke off.
func leave(ctx context.Context, release string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return failed(exitError, errors.New("stopped waiting; the release goes on, see: waybill status "+release))
}
