package slackapp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// Bounds of what a message repeats. A click on a button brings the whole message
// back to the gateway, so it is kept well below what that reads.
const (
	mostLines  = 6
	longestRow = 160
	longQuote  = 400
	mostAsked  = 3 // pending commands with buttons
)

// message renders a release's message: what ships, how it stands, and who may do
// what about it. gateway is the public address of the gateway's pages.
func message(a signals.Announcement, gateway string) []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plainText(title(a)))}
	blocks = append(blocks, breakGlass(a)...)
	blocks = append(blocks, state(a)...)
	blocks = append(blocks, facts(a), proofs(a), steps(a))
	blocks = append(blocks, reason(a)...)
	blocks = append(blocks, people(a)...)
	blocks = append(blocks, pending(a)...)
	if row := buttons(a, gateway); row != nil {
		blocks = append(blocks, row)
	}
	return append(blocks, footer(a))
}

// title names the release; the message's notification shows it, too.
func title(a signals.Announcement) string {
	return clip(fmt.Sprintf("%s → %s · tier %d", plain(a.Service, 60), plain(a.Environment, 60), a.Tier), maxHeader)
}

// summary is the message in one line, for notifications and screen readers.
func summary(a signals.Announcement) string {
	return escaper.Replace(title(a)) + ": " + headline(a)
}

// asking tells whether approvals are asked for now.
func asking(a signals.Announcement) bool {
	return a.Outcome == "" && a.Phase == signals.Approving && a.Approval.Missing.People() > 0
}

// headline is the state in a few words.
func headline(a signals.Announcement) string {
	switch {
	case a.Outcome != "":
		return outcomeMark(a.Outcome) + " *" + words(string(a.Outcome), 40) + "*"
	case a.Paused != "":
		return ":double_vertical_bar: *paused*: " + words(a.Paused, longestRow)
	case asking(a):
		return fmt.Sprintf(":raised_hand: *waits for approval* by %s, until %s", needed(a.Approval.Missing), when(a.Approval.Expires))
	case a.Weight > 0:
		return fmt.Sprintf(":arrow_forward: *%s*, canary at %d %%: %s", words(string(a.Phase), 40), a.Weight, words(a.Doing, longestRow))
	}
	return fmt.Sprintf(":arrow_forward: *%s*: %s", words(string(a.Phase), 40), words(a.Doing, longestRow))
}

func outcomeMark(k signals.OutcomeKind) string {
	switch k {
	case signals.Promoted:
		return ":white_check_mark:"
	case signals.RolledBack, signals.Aborted:
		return ":leftwards_arrow_with_hook:"
	case signals.Superseded, signals.Expired:
		return ":hourglass:"
	}
	return ":no_entry:"
}

func breakGlass(a signals.Announcement) []slack.Block {
	if a.BreakGlass == "" {
		return nil
	}
	return []slack.Block{
		section(":rotating_light: *Break-glass release*: the ordinary windows and approvals do not apply. It is written down, and a review is due after it."),
		quotation(a.BreakGlass, longQuote),
	}
}

func state(a signals.Announcement) []slack.Block {
	lines := []string{headline(a)}
	for i, r := range a.Reasons {
		if i == mostLines {
			lines = append(lines, fmt.Sprintf("… %d more, see Details", len(a.Reasons)-mostLines))
			break
		}
		lines = append(lines, "• "+words(r, longestRow))
	}
	asked := slices.DeleteFunc(slices.Clone(a.Next), func(n signals.NextAction) bool { return n.Optional })
	for i, n := range asked {
		if i == mostAsked {
			break
		}
		lines = append(lines, fmt.Sprintf("→ %s: %s %s", words(n.Who, 60), words(n.What, longestRow), code(n.Command)))
	}
	return []slack.Block{section(lines...)}
}

// facts says what ships where, on whose request.
func facts(a signals.Announcement) *slack.SectionBlock {
	field := func(name, value string) *slack.TextBlockObject { return mrkdwn("*" + name + "*\n" + value) }
	commit := code(short(a.Commit))
	if a.Compare != "" {
		commit += " " + link(a.Compare, "compare with what runs now")
	}
	return slack.NewSectionBlock(nil, []*slack.TextBlockObject{
		field("Image", code(a.Artifact.Repository)),
		field("Digest", code(a.Artifact.Digest)),
		field("Commit", commit),
		field("Goes back to", goesBackTo(a)),
		field("Asked for by", code(a.Requester)),
		field("Ticket", code(a.Ticket)),
	}, nil)
}

func goesBackTo(a signals.Announcement) string {
	if a.LKG == "" {
		return "nothing: this lane has no last known good"
	}
	out := code(short(a.LKG))
	if a.LKGRelease != "" {
		out += " of " + code(a.LKGRelease)
	}
	if a.LKGCommit != "" {
		out += ", commit " + code(short(a.LKGCommit))
	}
	return out
}

// proofs says what was verified, and what the policy made of it.
func proofs(a signals.Announcement) *slack.SectionBlock {
	lines := []string{
		"*Tests*: " + words(orDash(a.Tests), longestRow),
		"*Vulnerabilities*: " + words(orDash(a.Scans), longestRow),
	}
	return section(append(lines, bullets("*Policy*", a.Policy, mostLines, longestRow)...)...)
}

// steps says what will be done, and who is exposed when.
func steps(a signals.Announcement) *slack.SectionBlock {
	return section(append([]string{"*Plan*: " + ladder(a.Steps)}, bullets("*Who is exposed*", a.Radius, mostLines, longestRow)...)...)
}

// ladder is the plan's weights with their windows, in one line.
func ladder(list []signals.Step) string {
	if len(list) == 0 {
		return "no steps"
	}
	rungs := make([]string, 0, len(list))
	for i, s := range list {
		if i == 12 {
			rungs = append(rungs, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		rungs = append(rungs, fmt.Sprintf("%d %% for %s", s.Weight, span(s.Window.Duration)))
	}
	return strings.Join(rungs, " → ")
}

func reason(a signals.Announcement) []slack.Block {
	if plain(a.Reason, longQuote) == "" {
		return nil
	}
	return []slack.Block{section("*Why*, in the requester's words"), quotation(a.Reason, longQuote)}
}

// people says who may decide, who may not, and who has.
func people(a signals.Announcement) []slack.Block {
	if a.Approval.Needed.People() == 0 {
		return nil
	}
	lines := []string{"*May approve*: " + needed(a.Approval.Needed) + ", each a different person"}
	if len(a.Excluded) > 0 {
		lines = append(lines, "*May not approve*: "+excluded(a.Excluded, 8))
	}
	blocks := []slack.Block{section(lines...)}
	first := max(len(a.Approval.Given)-mostLines, 0)
	if first > 0 {
		blocks = append(blocks, small(fmt.Sprintf("%d earlier decisions, see Details", first)))
	}
	for _, v := range a.Approval.Given[first:] {
		blocks = append(blocks, decided(v))
	}
	return blocks
}

// decided is one decision with the words of who made it.
func decided(v signals.ApprovalView) slack.Block {
	line := fmt.Sprintf("%s by %s, %s", verb(v.Decision), code(v.By), when(v.At))
	if v.Place != "" {
		line += ", for " + code(v.Place)
	}
	if v.Void != "" {
		line = "~" + verb(v.Decision) + "~ by " + code(v.By) + ", no longer counts: " + words(v.Void, longestRow)
	}
	if q := quote(v.Reason, 200); q != "" {
		line += "\n" + q
	}
	return small(line)
}

func verb(d signals.Decision) string {
	switch d {
	case signals.Approve:
		return "approved"
	case signals.Deny:
		return "denied"
	case signals.Withdraw:
		return "withdrawn"
	}
	return words(string(d), 40)
}

// needed spells a quorum: "1 of payments-leads and 1 of risk (after a login)".
func needed(q signals.Quorum) string {
	parts := make([]string, 0, len(q.Groups))
	for i, g := range q.Groups {
		if i == 8 {
			parts = append(parts, fmt.Sprintf("%d more groups", len(q.Groups)-i))
			break
		}
		part := fmt.Sprintf("%d of %s", g.Count, code(g.Group))
		if g.StepUp != nil {
			part += " (after a login)"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, " and ")
}

// excluded groups identities by the part they had.
func excluded(list []signals.Exclusion, most int) string {
	byPart := map[string][]string{}
	var order []string
	for i, e := range list {
		if i == most {
			order = append(order, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		if _, ok := byPart[e.As]; !ok {
			order = append(order, e.As)
		}
		if who := code(clip(e.Identity, 80)); !slices.Contains(byPart[e.As], who) {
			byPart[e.As] = append(byPart[e.As], who)
		}
	}
	parts := make([]string, 0, len(order))
	for _, as := range order {
		part := words(as, 40)
		if who := byPart[as]; len(who) > 0 {
			part += " " + strings.Join(who, ", ")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " · ")
}

// pending shows commands that wait for somebody's approval.
func pending(a signals.Announcement) []slack.Block {
	var blocks []slack.Block
	for i, p := range a.Pending {
		if i == mostAsked {
			blocks = append(blocks, small(fmt.Sprintf("%d more commands wait, see Details", len(a.Pending)-i)))
			break
		}
		blocks = append(blocks, section(fmt.Sprintf(":raised_hand: *%s* was asked by %s, %s, and waits for another person's approval",
			words(string(p.Command), 40), code(p.By), when(p.At))), quotation(p.Reason, 200))
		if a.Outcome == "" {
			blocks = append(blocks, slack.NewActionBlock("",
				button(actionApprove, "Approve "+plain(string(p.Command), 20), subject{Command: p.ID}.of(a), slack.StylePrimary),
				button(actionDeny, "Refuse "+plain(string(p.Command), 20), subject{Command: p.ID}.of(a), slack.StyleDanger)))
		}
	}
	return blocks
}

func footer(a signals.Announcement) slack.Block {
	line := "Release " + code(a.Release)
	if a.Owner != "" {
		line += " · owner " + code(a.Owner)
	}
	if a.Runbook != "" {
		line += " · " + link(a.Runbook, "runbook")
	}
	return small(line, "Plan `"+escaper.Replace(signals.PlainDigest(plain(a.PlanDigest, 80)))+"`")
}

func orDash(s string) string { return cmp.Or(strings.TrimSpace(s), "–") }
