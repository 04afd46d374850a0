package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/browser"
	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// releasesChannel is the one that the demo's catalog names.
const releasesChannel = "releases"

// The accounts that approve, with the reasons that the demo gives in their
// place. The lead decides in Slack; the risk officer must log in for it.
const (
	lead, leadReason = "release-lead", "Read the change; the canary will tell"
	risk, riskReason = "risk-officer", "No change to what is stored or reported"
)

// The button of the release's message that approves, by its action.
const approveButton = "waybill_approve"

// untilPosted bounds the wait for the release's message in Slack.
const untilPosted = 30 * time.Second

// approve waits until the release asks for approvals and has them given, by
// people or in their place. A release that ends before it asks needs none.
func (d *demo) approve(ctx context.Context, release string) error {
	asked, err := d.awaitsApproval(ctx, release)
	if err != nil || !asked {
		return err
	}
	if !d.yes && d.state.Slack != "" {
		done, err := d.awaitPeople(ctx, release)
		if err != nil || done {
			return err
		}
	}
	if err := d.approveForThem(ctx, release); err != nil {
		ended := d.command(context.WithoutCancel(ctx), "ci", "abort", release, "--reason=The demo was not approved").Run()
		return errors.Join(err, ended)
	}
	return nil
}

// approveForThem does in people's place what is still missing.
func (d *demo) approveForThem(ctx context.Context, release string) error {
	var status signals.Status
	if err := d.ask(ctx, &status, "status", release); err != nil {
		return err
	}
	for _, missing := range status.Approval.Missing.Groups {
		step := d.approveInSlack
		if missing.StepUp != nil {
			step = d.approveOnPage
		}
		if err := step(ctx, release); err != nil {
			return err
		}
	}
	return nil
}

// slack is the stack's workspace.
func (d *demo) slack() slackemu.Client { return slackemu.Client{URL: d.state.Slack} }

// approveInSlack clicks and fills in what the lead would; without Slack in the
// stack it is done through the client.
func (d *demo) approveInSlack(ctx context.Context, release string) error {
	if d.state.Slack == "" {
		return d.show(ctx, lead, "approve", release, "--yes", "--reason="+leadReason)
	}
	m, err := d.message(ctx, release, func(m slackemu.Message) bool { return slices.Contains(m.Buttons, approveButton) })
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "In Slack, %s/client/%s, %s clicks Approve\n", d.state.Slack, m.Channel, lead)
	seen, err := d.slack().Click(ctx, slackemu.Click{User: lead, Channel: m.Channel, TS: m.TS, Button: approveButton})
	if err != nil {
		return err
	}
	if seen.View == nil || len(seen.View.Inputs) != 1 {
		return fmt.Errorf("%s got no form after the click: %s%s", lead, seen.Warning, strings.Join(seen.Messages, "; "))
	}
	seen, err = d.slack().Submit(ctx, seen.View.ID, map[string]string{seen.View.Inputs[0]: leadReason})
	if err != nil {
		return err
	}
	if seen.Warning != "" || seen.View != nil && len(seen.View.Errors) > 0 {
		return fmt.Errorf("%s did not approve: %s %v", lead, seen.Warning, seen.View.Errors)
	}
	fmt.Fprintf(d.out, "  with the reason %q\n", leadReason)
	if seen.View != nil {
		fmt.Fprintf(d.out, "  Slack shows: %s\n", firstLine(seen.View.Text))
	}
	return nil
}

// approveOnPage goes through the gateway's page as the risk officer would: a
// fresh login with the second factor, then the form.
func (d *demo) approveOnPage(ctx context.Context, release string) error {
	page := d.state.Gateway + "/decide/" + release
	fmt.Fprintf(d.out, "At %s, %s logs in with a second factor and approves\n", page, risk)
	b, err := browser.New()
	if err != nil {
		return err
	}
	if err := b.Open(ctx, page); err != nil {
		return err
	}
	who, err := credentials(d.state, risk)
	if err != nil {
		return err
	}
	err = b.Press(ctx, "Log in", map[string]string{"account": who.Account, "password": who.Password, "code": who.Code})
	if err != nil {
		return fmt.Errorf("%s could not log in: %w", risk, err)
	}
	if err := b.Press(ctx, "Approve", map[string]string{"reason": riskReason}); err != nil {
		return fmt.Errorf("%s did not approve: %w", risk, err)
	}
	fmt.Fprintf(d.out, "  with the reason %q\n  The page shows: %s\n", riskReason, b.Heading())
	return nil
}

// awaitPeople says what to click and waits until the release is approved, has
// ended, or somebody at the terminal would rather not do it by hand: done is
// then false.
func (d *demo) awaitPeople(ctx context.Context, release string) (done bool, err error) {
	who, err := credentials(d.state, risk)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(d.out, `
The release waits for two people. Open this in a browser:

    %s/client/C0RELEASES

  1. As %s ("You are", top left), click Approve and give a reason.
  2. As %s, click "Log in and decide", and log in with
         password  %s
         code      %s   (bin/devstack password %s shows a fresh one)

Or type a and press Enter here, and both are given for you.
`, d.state.Slack, lead, risk, who.Password, who.Code, risk)
	counted := 0
	for ctx.Err() == nil {
		if line, ok := typed(time.Second); ok && strings.HasPrefix(strings.ToLower(line), "a") {
			return false, nil
		}
		var status signals.Status
		if err := d.ask(ctx, &status, "status", release); err != nil {
			return false, err
		}
		for _, given := range status.Approval.Given[min(counted, len(status.Approval.Given)):] {
			fmt.Fprintf(d.out, "  %s by %s: %s\n", given.Decision, given.By, given.Reason)
		}
		counted = max(counted, len(status.Approval.Given))
		if status.Outcome != nil || status.Phase != signals.Approving || len(status.Approval.Missing.Groups) == 0 {
			return true, nil
		}
	}
	return false, ctx.Err()
}

// typed is a line that somebody enters within the time. Whoever reads the
// terminal next finds it untouched: nothing is read before there is a line.
func typed(within time.Duration) (string, bool) {
	ready := []unix.PollFd{{Fd: int32(os.Stdin.Fd()), Events: unix.POLLIN}} //nolint:gosec // a file descriptor is small
	n, err := unix.Poll(ready, int(within.Milliseconds()))
	switch {
	case err == nil && n == 0:
		return "", false
	case err != nil || ready[0].Revents&unix.POLLIN == 0: // interrupted, or nobody is there any more
		time.Sleep(within)
		return "", false
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return strings.TrimSpace(line), err == nil
}

// message waits for the release's message to be as wanted.
func (d *demo) message(ctx context.Context, release string, wanted func(slackemu.Message) bool) (slackemu.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, untilPosted)
	defer cancel()
	for {
		listed, err := d.slack().Messages(ctx, releasesChannel, "", "")
		if err != nil {
			return slackemu.Message{}, err
		}
		for _, m := range listed {
			if m.Thread == "" && m.Event["release"] == release && wanted(m) {
				return m, nil
			}
		}
		select {
		case <-ctx.Done():
			return slackemu.Message{}, fmt.Errorf("the message of release %s in Slack is not as it should be by now (devstack logs worker tells why)", release)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// tellThread prints what was told below the release's message, once it has been
// told how the release ended.
func (d *demo) tellThread(ctx context.Context, release string) error {
	if d.state.Slack == "" {
		return nil
	}
	m, err := d.message(ctx, release, func(m slackemu.Message) bool { return len(m.Buttons) == 0 })
	if err != nil {
		return err
	}
	thread, err := d.slack().Messages(ctx, releasesChannel, m.TS, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nIn Slack, %s/client/%s?thread=%s, the thread tells:\n", d.state.Slack, m.Channel, m.TS)
	for _, reply := range thread {
		text := reply.Says
		if reply.Thread == "" {
			text = firstLine(text)
		}
		if len(reply.Files) > 0 {
			text = strings.TrimSpace(text + " (a chart)")
		}
		for line := range strings.Lines(text) {
			fmt.Fprintf(d.out, "  %s\n", readable(line))
		}
	}
	return nil
}

var (
	shortcode = regexp.MustCompile(`:[a-z0-9_+-]+: ?`)
	special   = regexp.MustCompile(`<[^>|]*\|([^>]*)>`)
)

// readable is a line of a message without Slack's markup.
func readable(line string) string {
	line = special.ReplaceAllString(shortcode.ReplaceAllString(line, ""), "$1")
	line = strings.NewReplacer("`", "", "*", "", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(line)
	return strings.TrimSpace(line)
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return readable(first)
}
