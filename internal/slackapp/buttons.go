package slackapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// The actions of the app's buttons.
const (
	actionApprove  = "waybill_approve"
	actionDeny     = "waybill_deny"
	actionWithdraw = "waybill_withdraw"
	actionDetails  = "waybill_details"
	// actionOpen is a link to a page; a click on it comes in like any other and
	// asks for nothing.
	actionOpen = "waybill_open"
)

// subject is what a button or a modal is about. It travels through Slack and
// back, under Slack's signature.
type subject struct {
	Release    string           `json:"release"`
	Run        string           `json:"run"`
	PlanDigest string           `json:"planDigest"`
	Command    string           `json:"command,omitempty"`
	Decision   signals.Decision `json:"decision,omitempty"`
}

func (s subject) of(a signals.Announcement) subject {
	s.Release, s.Run, s.PlanDigest = a.Release, a.Run, a.PlanDigest
	return s
}

// text is the subject as a button's value or a modal's private metadata.
func (s subject) text() string {
	// A struct of strings can always be encoded.
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b)
}

// maxIdentifier bounds ids of runs and commands in a subject.
const maxIdentifier = 128

// readSubject reads a button's value or a modal's private metadata strictly.
func readSubject(text string) (subject, error) {
	var s subject
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("what the button is about can't be read: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("what the button is about can't be read: data after its end")
	}
	switch {
	case !signals.ValidReleaseID(s.Release):
		return s, fmt.Errorf("release %q is no release's id", clip(s.Release, 80))
	case s.PlanDigest != "" && !signals.ValidDigest(s.PlanDigest):
		return s, errors.New("the plan digest is not of the form sha256:<hex>")
	case len(s.Run) > maxIdentifier || len(s.Command) > maxIdentifier:
		return s, errors.New("the run's or command's id is too long")
	case s.Decision != "" && !slices.Contains([]signals.Decision{signals.Approve, signals.Deny, signals.Withdraw}, s.Decision):
		return s, fmt.Errorf("decision %q is not known", clip(string(s.Decision), 40))
	}
	return s, nil
}

// buttons is the row that belongs to the release's state; nil after its end.
func buttons(a signals.Announcement, gateway string) slack.Block {
	if a.Outcome != "" {
		return nil
	}
	about := subject{}.of(a)
	var row []slack.BlockElement
	if asking(a) {
		here, page := places(a.Approval.Missing)
		if here {
			row = append(row,
				button(actionApprove, "Approve", about, slack.StylePrimary),
				button(actionDeny, "Deny", about, slack.StyleDanger))
		}
		if page != nil {
			row = append(row, pageButton(a.Release, gateway, page))
		}
		if slices.ContainsFunc(a.Approval.Given, standing) {
			row = append(row, button(actionWithdraw, "Withdraw mine", about, slack.StyleDefault))
		}
	}
	return slack.NewActionBlock("", append(row, button(actionDetails, "Details", about, slack.StyleDefault))...)
}

// places tells whether somebody who is still missing may decide in Slack, and
// which groups must log in for it.
func places(missing signals.Quorum) (here bool, page []string) {
	for _, g := range missing.Groups {
		switch {
		case g.Count < 1:
		case g.StepUp != nil:
			page = append(page, g.Group)
		default:
			here = true
		}
	}
	return here, page
}

func standing(v signals.ApprovalView) bool { return v.Decision == signals.Approve && v.Void == "" }

func button(action, label string, about subject, style slack.Style) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(action, about.text(), plainText(label)).WithStyle(style)
}

// pageButton leads to the gateway's page, which asks for a login.
func pageButton(release, gateway string, groups []string) *slack.ButtonBlockElement {
	label := clip("Log in and decide: "+plain(strings.Join(groups, ", "), 50), 75)
	return slack.NewButtonBlockElement(actionOpen, "", plainText(label)).WithURL(decidePage(gateway, release))
}

// decidePage is the address of a release's page at the gateway.
func decidePage(gateway, release string) string {
	return strings.TrimSuffix(gateway, "/") + "/decide/" + url.PathEscape(release)
}
