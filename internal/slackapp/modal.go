package slackapp

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// The modal's input, by which its answer and its faults are found, and what a
// rationale must be. The API takes as much.
const (
	blockRationale  = "rationale"
	actionRationale = "text"
	callbackDecide  = "waybill_decide"
	minRationale    = 3
	maxRationale    = 2000
)

// modal is a view of Slack's kind. A title holds 24 characters.
func modal(title string, blocks ...slack.Block) *slack.ModalViewRequest {
	return &slack.ModalViewRequest{
		Type: slack.VTModal, Title: plainText(clip(title, 24)), Close: plainText("Close"),
		Blocks: slack.Blocks{BlockSet: blocks[:min(len(blocks), maxBlocks)]},
	}
}

// decideModal asks for the rationale of a decision, below what is decided on.
func decideModal(a signals.Announcement, about subject, gateway string) *slack.ModalViewRequest {
	blocks := breakGlass(a)
	blocks = append(blocks, what(a, about)...)
	blocks = append(blocks, digestBlock(a.PlanDigest, a.Release), question(about))
	if page := notice(a, about, gateway); page != "" {
		blocks = append(blocks, small(page))
	}
	view := modal(label(about), blocks...)
	view.CallbackID, view.PrivateMetadata = callbackDecide, about.text()
	view.Submit, view.Close = plainText(submitLabel(about)), plainText("Cancel")
	return view
}

func label(about subject) string {
	if about.Command != "" {
		return submitLabel(about) + " command"
	}
	return submitLabel(about) + " release"
}

func submitLabel(about subject) string {
	switch {
	case about.Decision == signals.Approve:
		return "Approve"
	case about.Decision == signals.Withdraw:
		return "Withdraw"
	case about.Command != "":
		return "Refuse"
	}
	return "Deny"
}

// what is decided on: the release, or an operator's command to it.
func what(a signals.Announcement, about subject) []slack.Block {
	blocks := []slack.Block{
		section(fmt.Sprintf("*%s → %s*, tier %d\nImage %s\nCommit %s", words(a.Service, 60), words(a.Environment, 60), a.Tier,
			code(a.Artifact.Reference()), code(a.Commit))),
	}
	if about.Command != "" {
		for _, p := range a.Pending {
			if p.ID == about.Command {
				return append(blocks, section(fmt.Sprintf("The command *%s* by %s", words(string(p.Command), 40), code(p.By))),
					quotation(p.Reason, longQuote))
			}
		}
		return append(blocks, section("The command "+code(about.Command)+" no longer waits for anybody."))
	}
	blocks = append(blocks, proofs(a), steps(a), section("*Goes back to* "+goesBackTo(a)))
	return append(blocks, reason(a)...)
}

// digestBlock shows the plan digest so that two people, or one on two screens,
// can compare it.
func digestBlock(digest, release string) slack.Block {
	groups := strings.Fields(signals.PlainDigest(plain(digest, 80)))
	half := (len(groups) + 1) / 2
	return section("*Plan digest*: this is what is signed. Compare it with "+code("waybill status "+release),
		"```"+escaper.Replace(strings.Join(groups[:half], " ")+"\n"+strings.Join(groups[half:], " "))+"```")
}

// question asks for the rationale.
func question(about subject) *slack.InputBlock {
	ask := map[signals.Decision]string{
		signals.Approve: "Why is this safe to ship?", signals.Deny: "Why must this not ship?", signals.Withdraw: "Why do you take it back?",
	}[about.Decision]
	if about.Command != "" {
		ask = "Why?"
	}
	input := slack.NewPlainTextInputBlockElement(plainText("What you looked at, and what convinced you"), actionRationale).
		WithMultiline(true).WithMinLength(minRationale).WithMaxLength(maxRationale)
	return slack.NewInputBlock(blockRationale, plainText(ask), plainText("It is signed with your decision and kept as evidence."), input)
}

// notice tells what signing in Slack is good for, and what it isn't.
func notice(a signals.Announcement, about subject, gateway string) string {
	line := "You sign as the person whom the company's directory lists under your e-mail address here."
	if about.Decision == signals.Deny && about.Command == "" {
		line += " One denial ends the release."
	}
	if _, page := places(a.Approval.Missing); len(page) > 0 && about.Decision == signals.Approve {
		line += fmt.Sprintf(" A place of %s takes a login: %s.", code(strings.Join(page, ", ")), link(decidePage(gateway, a.Release), "decide on the page instead"))
	}
	return line
}

// receiptModal tells that a decision was counted, and what is still missing.
func receiptModal(about subject, receipt signals.Receipt) *slack.ModalViewRequest {
	lines := []string{":white_check_mark: *" + verb(about.Decision) + "*: " + words(cmp.Or(receipt.Message, "it counts"), 500)}
	if receipt.Missing.People() > 0 {
		lines = append(lines, "Still needed: "+needed(receipt.Missing))
	}
	return modal("Recorded", section(lines...), small("Release "+code(about.Release)))
}

// sorryModal tells why nothing was done, and what to do.
func sorryModal(title, why string, more ...slack.Block) *slack.ModalViewRequest {
	return modal(title, append([]slack.Block{section(":warning: " + words(why, 1500))}, more...)...)
}

// detailsModal is all that the message has no room for.
func detailsModal(a signals.Announcement) *slack.ModalViewRequest {
	const most, longest = 40, 600
	blocks := []slack.Block{slack.NewHeaderBlock(plainText(title(a)))}
	blocks = append(blocks, breakGlass(a)...)
	blocks = append(blocks,
		section(append([]string{headline(a)}, bullets("*Reasons*", orNone(a.Reasons), most, longest)...)...),
		section("*Image* "+code(a.Artifact.Reference()), "*Tag* "+code(a.Artifact.Tag), "*Commit* "+code(a.Commit),
			"*Release* "+code(a.Release), "*Run* "+code(a.Run), "*Ticket* "+code(a.Ticket), "*Asked for by* "+code(a.Requester),
			"*Owner* "+code(a.Owner)),
		section("*Goes back to* "+code(a.LKG), "*which came with* "+code(a.LKGRelease), "*from commit* "+code(a.LKGCommit)),
		section("*Tests*: "+words(orDash(a.Tests), longest), "*Vulnerabilities*: "+words(orDash(a.Scans), longest)),
		section(bullets("*Policy*", orNone(a.Policy), most, longest)...),
		section(planned(a.Steps)...),
		section(bullets("*Who is exposed*", orNone(a.Radius), most, longest)...))
	blocks = append(blocks, reason(a)...)
	blocks = append(blocks, section("*May approve*: "+needed(a.Approval.Needed), "*Still needed*: "+needed(a.Approval.Missing),
		"*Until*: "+when(a.Approval.Expires), "*May not approve*: "+cmp.Or(excluded(a.Excluded, most), "–")))
	for i, v := range a.Approval.Given {
		if len(blocks) >= maxBlocks-mostAsked-2 {
			blocks = append(blocks, small(fmt.Sprintf("%d more decisions", len(a.Approval.Given)-i)))
			break
		}
		blocks = append(blocks, decided(v))
	}
	for i, p := range a.Pending {
		if i == mostAsked {
			break
		}
		blocks = append(blocks, small(fmt.Sprintf("*%s* by %s waits for approval, %s", words(string(p.Command), 40), code(p.By), when(p.At)), quote(p.Reason, 200)))
	}
	return modal("Release in detail", append(blocks, digestBlock(a.PlanDigest, a.Release))...)
}

// planned is one line per step.
func planned(list []signals.Step) []string {
	lines := []string{"*Plan*"}
	for _, s := range list {
		line := fmt.Sprintf("• %s: %d %% for %s", words(string(s.Phase), 40), s.Weight, span(s.Window.Duration))
		if s.Window.Interval > 0 {
			line += fmt.Sprintf(", sampled each %s", span(s.Window.Interval))
		}
		if s.Window.Extensions > 0 {
			line += fmt.Sprintf(", extended up to %d times", s.Window.Extensions)
		}
		lines = append(lines, line)
	}
	if len(list) == 0 {
		lines = append(lines, "• no steps")
	}
	return lines
}

func orNone(list []string) []string {
	if len(list) == 0 {
		return []string{"none"}
	}
	return list
}
