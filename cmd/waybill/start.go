package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// pollWait is how long one question for the outcome waits for the answer.
const pollWait = 20 * time.Second

// requestFlags are the flags that make up a request.
var requestFlags = []string{"service", "environment", "image", "commit", "ticket", "reason", "break-glass"}

func newStartCommand(a *app) *cobra.Command {
	var r signals.Request
	var file, id string
	var wait bool
	cmd := &cobra.Command{
		Use: "start", Short: "Start a release", Args: cobra.NoArgs,
		Example: "  waybill start --service payments-api --environment prod --image registry.example/payments-api@sha256:… \\\n" +
			"    --commit $GIT_COMMIT --ticket CHG-1042 --wait\n  waybill start --file request.json\n  cat request.json | waybill start --file -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range requestFlags {
				if file != "" && cmd.Flags().Changed(name) {
					return failed(exitUsage, fmt.Errorf("--file and --%s can't be given together; the file holds the whole request", name))
				}
			}
			raw, err := a.requestJSON(r, file)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			started, err := c.Start(cmd.Context(), raw, id)
			if err != nil {
				return err
			}
			if !wait {
				return a.print(started, func(w io.Writer) {
					fmt.Fprintf(w, "%s\n", started.Release)
					fmt.Fprintf(a.errs, "started; watch it with: waybill watch %s\n", started.Release)
				})
			}
			fmt.Fprintf(a.errs, "started %s\n", started.Release)
			return a.await(cmd.Context(), c, started.Release)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.Service, "service", "", "service, as in the catalog")
	flags.StringVar(&r.Environment, "environment", "", "environment, as in the catalog")
	flags.StringVar(&r.Image, "image", "", "image, with its digest")
	flags.StringVar(&r.Commit, "commit", "", "full Git commit id that the image was built from")
	flags.StringVar(&r.Ticket, "ticket", "", "change ticket")
	flags.StringVar(&r.Reason, "reason", "", "why this is released, in a sentence")
	flags.StringVar(&r.BreakGlass, "break-glass", "", "ask for the emergency path, by its reason: two people approve, and a review follows")
	flags.StringVarP(&file, "file", "f", "", "read the request's JSON from this file, - for standard input")
	flags.StringVar(&id, "id", "", "the release's id; starting twice with one id is refused, which makes repeating a start safe")
	flags.BoolVar(&wait, "wait", false, "wait for the outcome and exit with its status")
	return cmd
}

// requestJSON is the request to send. It is judged here already, by the same
// rules, so that a typo is told without a gateway.
func (a *app) requestJSON(r signals.Request, file string) ([]byte, error) {
	var raw []byte
	var err error
	switch file {
	case "":
		if err := need(map[string]string{"service": r.Service, "environment": r.Environment, "image": r.Image, "commit": r.Commit}); err != nil {
			return nil, err
		}
		raw, err = json.Marshal(r)
	case "-":
		raw, err = io.ReadAll(io.LimitReader(a.in, signals.MaxRequestBytes+1))
	default:
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, failed(exitUsage, fmt.Errorf("read the request: %w", err))
	}
	if _, err := signals.ParseRequest(raw); err != nil {
		return nil, failed(exitUsage, err)
	}
	return raw, nil
}

// await waits for the outcome, however long that takes, and ends with its exit
// status. The outcome is written to standard output, progress to the other.
func (a *app) await(ctx context.Context, c *apiclient.Client, release string) error {
	patience := endure{errs: a.errs}
	last := ""
	for {
		ended, err := c.Outcome(ctx, release, pollWait)
		if !patience.passes(ctx, err) {
			return leave(ctx, release, err)
		}
		if err != nil {
			if pause(ctx, time.Second) != nil {
				return leave(ctx, release, err)
			}
			continue
		}
		if ended.Done {
			if err := a.print(ended, func(w io.Writer) { endedTable(w, ended) }); err != nil {
				return err
			}
			return failed(ended.ExitCode(), nil)
		}
		if r, err := c.Release(ctx, release); err == nil {
			if line := string(r.Phase) + ": " + clean(r.Doing); line != last {
				fmt.Fprintln(a.errs, line)
				last = line
			}
		}
	}
}

func endedTable(w io.Writer, e wire.Ended) {
	r := wire.Release{Execution: wire.Execution{State: e.State, Failure: e.Failure}}
	r.Outcome = e.Outcome
	fmt.Fprintln(w, clean(e.Release))
	fmt.Fprint(w, endingText(r, newStyles(w)))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errors.New("stopped")
	case <-time.After(d):
		return nil
	}
}
