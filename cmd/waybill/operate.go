package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// operations are the commands to a release, and what each does.
var operations = []struct {
	kind  signals.CommandKind
	short string
}{
	{signals.Pause, "Hold a release before its next step; what serves traffic is watched on"},
	{signals.Resume, "Let a paused release go on"},
	{signals.Abort, "Stop a release and put everything back"},
	{signals.Skip, "End the window under way as if it had passed; at tier 2 once somebody else approves"},
	{signals.Extend, "Watch the window under way for longer"},
	{signals.RollBackNow, "Roll a release back now"},
	{signals.RetryUndo, "Try the undos that failed once more"},
}

func newOperateCommands(a *app) []*cobra.Command {
	commands := make([]*cobra.Command, 0, len(operations))
	for _, op := range operations {
		var order wire.Command
		var by time.Duration
		cmd := &cobra.Command{
			Use: string(op.kind) + " RELEASE --reason TEXT", Short: op.short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := need(map[string]string{"reason": strings.TrimSpace(order.Reason)}); err != nil {
					return err
				}
				if op.kind == signals.Extend && by <= 0 {
					return failed(exitUsage, errors.New("--by is needed: how much longer to watch, such as 10m"))
				}
				order.Command, order.By = op.kind, signals.Duration(by)
				return a.tell(func(c *apiclient.Client) (signals.Receipt, error) {
					return c.Command(cmd.Context(), args[0], order)
				}, args[0])
			},
		}
		cmd.Flags().StringVar(&order.Reason, "reason", "", "why, for the record")
		if op.kind == signals.Extend {
			cmd.Flags().DurationVar(&by, "by", 0, "how much longer, such as 10m")
		}
		commands = append(commands, cmd)
	}
	return commands
}

// tell sends a command and shows the answer, and how somebody else approves what
// waits for that.
func (a *app) tell(send func(*apiclient.Client) (signals.Receipt, error), release string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	receipt, err := send(c)
	if err != nil {
		return err
	}
	return a.print(receipt, func(w io.Writer) {
		fmt.Fprintln(w, clean(receipt.Message))
		if receipt.Pending != "" {
			fmt.Fprintf(w, "somebody else approves it with: waybill approve %s --command %s --reason '…'\n", clean(release), clean(receipt.Pending))
		}
	})
}

// newLaneCommands are the commands to a lane.
func newLaneCommands(a *app) []*cobra.Command {
	var freeze, unfreeze, review wire.LaneCommand
	var lasts time.Duration
	command := func(use, short string, order *wire.LaneCommand, prepare func() error) *cobra.Command {
		cmd := &cobra.Command{
			Use: use + " ENVIRONMENT SERVICE --reason TEXT", Short: short, Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := need(map[string]string{"reason": strings.TrimSpace(order.Reason)}); err != nil {
					return err
				}
				order.Command = signals.LaneCommandKind(use)
				if err := prepare(); err != nil {
					return failed(exitUsage, err)
				}
				return a.tell(func(c *apiclient.Client) (signals.Receipt, error) {
					return c.CommandLane(cmd.Context(), args[0], args[1], *order)
				}, "")
			},
		}
		cmd.Flags().StringVar(&order.Reason, "reason", "", "why, for the record")
		return cmd
	}
	freezing := command("freeze", "Let no ordinary release begin; those under way go on", &freeze, func() error {
		if lasts < 0 {
			return fmt.Errorf("--for %s: want how long the freeze lasts, such as 2h", lasts)
		}
		if lasts > 0 {
			freeze.Until = time.Now().Add(lasts).UTC().Truncate(time.Second)
		}
		return nil
	})
	freezing.Flags().DurationVar(&lasts, "for", 0, "how long, such as 2h; until unfreeze if not given")
	closing := command("close-review", "Close the review that an emergency release left due", &review, func() error {
		if review.Reviewed == "" {
			return errors.New("--release is needed: the emergency release that was reviewed")
		}
		return nil
	})
	closing.Flags().StringVar(&review.Reviewed, "release", "", "the emergency release that was reviewed")
	return []*cobra.Command{
		freezing, command("unfreeze", "End a freeze", &unfreeze, func() error { return nil }), closing,
	}
}
