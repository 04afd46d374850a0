package slackapp

import (
	"context"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// listed is how many releases a list shows.
const listed = 10

// ephemeral is an answer to a slash command that nobody else sees.
type ephemeral struct {
	Type   string        `json:"response_type"`
	Text   string        `json:"text"`
	Blocks []slack.Block `json:"blocks,omitempty"`
}

func private(lines ...string) answer {
	return answer{status: 200, body: ephemeral{Type: "ephemeral", Text: clip(lines[0], 300), Blocks: []slack.Block{section(lines...)}}}
}

// slash answers a slash command. Whoever asks has to be known, for reading too.
func (a *App) slash(ctx context.Context, in input, d delivery) answer {
	who, err := a.who(ctx, in, d)
	if err != nil {
		return private(":warning: " + words(whyNot(err), 1500))
	}
	l, err := parseLine(in.Slash.Text)
	if err != nil {
		return private(append([]string{":warning: " + words(err.Error(), 500)}, usage...)...)
	}
	var lines []string
	switch l.Verb {
	case "list":
		lines, err = a.list(ctx, l)
	case "status":
		lines, err = a.status(ctx, l)
	case "freeze", "unfreeze":
		lines, err = a.freeze(ctx, who, l, in, d)
	default:
		lines = usage
	}
	if err != nil {
		return private(":warning: " + words(desk.Explain(err), 1500))
	}
	return private(lines...)
}

func (a *App) list(ctx context.Context, l line) ([]string, error) {
	rows, _, err := a.Desk.List(ctx, desk.Filter{Service: l.Service, Limit: listed})
	if err != nil {
		return nil, err
	}
	lines := []string{"*Latest releases*"}
	if l.Service != "" {
		lines[0] += " of " + code(l.Service)
	}
	for _, r := range rows {
		lines = append(lines, row(r))
	}
	if len(rows) == 0 {
		lines = append(lines, "There are none.")
	}
	return lines, nil
}

func row(r wire.Row) string {
	state := ":arrow_forward: " + words(string(r.Phase), 40)
	switch {
	case r.Outcome != "":
		state = outcomeMark(r.Outcome) + " " + words(string(r.Outcome), 40)
	case r.State != wire.Running:
		state = ":rotating_light: " + words(string(r.State), 40)
	}
	return fmt.Sprintf("%s %s %s → %s, since %s", state, code(r.Release), words(r.Service, 60), words(r.Environment, 60), when(r.StartedAt))
}

func (a *App) status(ctx context.Context, l line) ([]string, error) {
	status, err := a.Desk.Release(ctx, l.Release)
	if err != nil && status.Outcome == nil {
		return nil, err
	}
	lines := []string{fmt.Sprintf("*%s → %s*, tier %d, release %s", words(status.Service, 60), words(status.Environment, 60), status.Tier, code(status.Release))}
	if o := status.Outcome; o != nil {
		return append(lines, bullets(outcomeMark(o.Kind)+" *"+words(string(o.Kind), 40)+"* "+when(o.EndedAt), o.Reasons, 8, 300)...), nil
	}
	lines = append(lines, fmt.Sprintf("*%s*: %s, since %s", words(string(status.Phase), 40), words(status.Doing, 300), when(status.Since)))
	if status.Paused != "" {
		lines = append(lines, ":double_vertical_bar: paused: "+words(status.Paused, 300))
	}
	if status.Weight > 0 {
		lines = append(lines, fmt.Sprintf("Canary at %d %%", status.Weight))
	}
	if status.Approval.Missing.People() > 0 {
		lines = append(lines, "Still needed: "+needed(status.Approval.Missing)+", until "+when(status.Approval.Expires))
	}
	for _, n := range status.Next {
		lines = append(lines, fmt.Sprintf("→ %s: %s %s", words(n.Who, 60), words(n.What, 200), code(n.Command)))
	}
	return append(lines, "Plan `"+escaper.Replace(signals.PlainDigest(plain(status.PlanDigest, 80)))+"`"), nil
}

// freeze hands a command to the desk, which judges whether the person may give it.
func (a *App) freeze(ctx context.Context, who auth.Identity, l line, in input, d delivery) ([]string, error) {
	command := desk.LaneCommand{
		Environment: l.Environment, Service: l.Service, Command: signals.LaneCommandKind(l.Verb), Reason: l.Reason,
		Nonce: nonce(in.Team, in.User, in.Trigger, in.Slash.Text), Again: d.again,
	}
	if l.For > 0 {
		command.Until = a.Now().UTC().Add(l.For)
	}
	receipt, err := a.Desk.LaneCommand(ctx, who, command)
	if err != nil {
		return nil, err
	}
	lines := []string{fmt.Sprintf(":white_check_mark: %s → %s: %s", words(l.Service, 60), words(l.Environment, 60), words(receipt.Message, 500))}
	if !command.Until.IsZero() {
		lines = append(lines, "It ends by itself "+when(command.Until))
	}
	return append(lines, strings.TrimSpace(quote(l.Reason, longQuote))), nil
}
