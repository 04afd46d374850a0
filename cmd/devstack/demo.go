package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/stack"
	"github.com/waybill-dev/waybill/signals"
)

func newDemoCommand(f *flags) *cobra.Command {
	var once, yes bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Release a good version, a bad one and an unsigned one, and ask the evidence about them", Args: cobra.NoArgs,
		Long: "Runs the releases on the stack that is up, or brings one up for them. They are approved in the stack's Slack, in a " +
			"browser, and the demo says what to click; without a terminal, or with --yes, it clicks by itself. " +
			"Exits with 0 only if every release ended as announced.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := f.folder()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			play := func(ctx context.Context, state stack.State) error {
				d, err := newDemo(ctx, state, out, yes || !terminal())
				if err != nil {
					return err
				}
				return d.run(ctx)
			}
			if state, err := stack.Read(dir); err == nil && alive(state.Pid) {
				fmt.Fprintln(out, "the demo runs on the stack that is up")
				return play(cmd.Context(), state)
			}
			return upHere(cmd.Context(), out, f, dir, nil, func(ctx context.Context, state stack.State) error {
				err := play(ctx, state)
				if once || ctx.Err() != nil {
					return err
				}
				if err != nil {
					fmt.Fprintf(out, "\nThe demo did not come out as announced: %v\n", err)
				}
				printSummary(out, state)
				fmt.Fprintln(out, "The stack stays up; Ctrl-C takes it down.")
				<-ctx.Done()
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "take the stack down after the demo")
	cmd.Flags().BoolVar(&yes, "yes", false, "give the approvals without asking")
	return cmd
}

func terminal() bool { return isatty.IsTerminal(os.Stdin.Fd()) && isatty.IsTerminal(os.Stdout.Fd()) }

// demo plays the releases through the client, as people and CI would.
type demo struct {
	state  stack.State
	client string
	home   string // of the client: it must not meet the user's own logins
	out    io.Writer
	yes    bool
	tokens map[string]string
}

// environment of the demo's releases, at tier 2.
const environment = "prod"

func newDemo(ctx context.Context, state stack.State, out io.Writer, yes bool) (*demo, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	d := &demo{
		state: state, client: filepath.Join(filepath.Dir(self), "waybill"), home: filepath.Join(state.Dir, "client"),
		out: out, yes: yes, tokens: map[string]string{},
	}
	for _, account := range []string{"ci", lead} {
		if d.tokens[account], err = logIn(ctx, state, account, false); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n"+format+"\n", args...) }

func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	if err := d.backToFirst(ctx); err != nil {
		return err
	}
	d.say("== 1. v2 is good: it is promoted ==")
	if _, err := d.release(ctx, "v2", "CHG-1042", "Faster fraud check", signals.Promoted); err != nil {
		return err
	}
	d.say("== 2. v3 fails three requests in ten: it is rolled back by itself ==")
	bad, err := d.release(ctx, "v3", "CHG-1043", "New acquirer", signals.RolledBack)
	if err != nil {
		return err
	}
	d.say("== 3. v5 is not signed: it is refused ==")
	if _, err := d.release(ctx, "v5", "CHG-1044", "Hotfix from a laptop", signals.Rejected); err != nil {
		return err
	}
	if err := d.evidence(ctx, bad); err != nil {
		return err
	}
	d.say("All came out as announced, in %s.", time.Since(began).Round(time.Second))
	return nil
}

// backToFirst makes a stack that has seen a demo before run v1 again, by an
// ordinary release.
func (d *demo) backToFirst(ctx context.Context) error {
	var lane signals.LaneStatus
	if err := d.ask(ctx, &lane, "lane", environment, "payments-api"); err != nil {
		if exitStatus(err) == notFound {
			return nil
		}
		return err
	}
	first, err := d.version("v1")
	if err != nil {
		return err
	}
	if lane.LKG == nil || lane.LKG.Digest == first.Digest {
		return nil
	}
	d.say("== Before the start: back to v1, since a demo has run here before ==")
	// Nobody is asked to approve what is no part of the demo yet.
	unasked := *d
	unasked.yes = true
	_, err = unasked.release(ctx, "v1", "CHG-1041", "Start of the demo", signals.Promoted)
	return err
}

// release takes a version to prod and makes sure of its outcome.
func (d *demo) release(ctx context.Context, tag, ticket, reason string, want signals.OutcomeKind) (string, error) {
	v, err := d.version(tag)
	if err != nil {
		return "", err
	}
	before := d.load()
	id, err := d.start(ctx, v, ticket, reason)
	if err != nil {
		return "", err
	}
	if err := d.approve(ctx, id); err != nil {
		return "", err
	}
	ended := d.show(ctx, "ci", "watch", id)
	if ctx.Err() != nil {
		return "", fmt.Errorf("stopped while release %s was under way: %w", id, ctx.Err())
	}
	if got := exitStatus(ended); got != want.ExitCode() {
		return "", fmt.Errorf("release %s of %s: want it %s (exit status %d), got exit status %d", id, tag, want, want.ExitCode(), got)
	}
	d.say("%s", d.load().since(before))
	if want == signals.Rejected {
		return id, nil // nobody was asked, so nobody is told
	}
	return id, d.tellThread(ctx, id)
}

// evidence verifies the bucket and asks it the auditor's five questions about a
// release, with the auditor's credentials and a public key and nothing else.
func (d *demo) evidence(ctx context.Context, release string) error {
	d.say("== 4. The evidence: nothing altered, nothing left out ==")
	if err := d.show(ctx, auditor, "evidence", "verify"); err != nil {
		return fmt.Errorf("the evidence does not verify: %w", err)
	}
	d.say("== 5. Five questions about the release of v3, answered from the bucket alone ==")
	for _, question := range []struct{ topic, text string }{
		{"changed", "What changed?"},
		{"approved", "Who approved it, and why?"},
		{"tested", "What was tested, with which artifact?"},
		{"rolled-back", "How was it rolled back?"},
		{"spread", "How far had it spread?"},
	} {
		d.say("%s", question.text)
		if err := d.show(ctx, auditor, "evidence", "ask", question.topic, release); err != nil {
			return fmt.Errorf("the bucket does not answer %q: %w", question.text, err)
		}
	}
	return nil
}
