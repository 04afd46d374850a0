package slackapp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// decisions are what the buttons decide.
var decisions = map[string]signals.Decision{
	actionApprove: signals.Approve, actionDeny: signals.Deny, actionWithdraw: signals.Withdraw,
}

// clicked answers a click on a button with a modal. Nothing is decided by it.
func (a *App) clicked(ctx context.Context, in input, d delivery) answer {
	if in.Action.ID == actionOpen {
		return done
	}
	decision, decides := decisions[in.Action.ID]
	if !decides && in.Action.ID != actionDetails {
		a.refuse(whatRequest, in, d, fmt.Sprintf("there is no button %q", in.Action.ID))
		return answer{status: 400}
	}
	about, err := readSubject(in.Action.Value)
	if err != nil {
		a.refuse(whatRequest, in, d, err.Error())
		return answer{status: 400}
	}
	about.Decision = decision
	if err := a.open(ctx, in, a.modalFor(ctx, in, d, about)); err != nil {
		a.Log.Warn("a modal can't be opened", "user", in.account(), "release", about.Release, "error", err)
		// Slack then tells the person that the click did not work.
		return answer{status: 500}
	}
	return done
}

func (a *App) open(ctx context.Context, in input, m *slack.ModalViewRequest) error {
	_, err := a.api.OpenViewContext(ctx, in.Trigger, *m)
	return fault("views.open", in.account(), err)
}

// modalFor is what the person who clicked is shown.
func (a *App) modalFor(ctx context.Context, in input, d delivery, about subject) *slack.ModalViewRequest {
	// What is left of the time belongs to opening the modal.
	ctx, cancel := context.WithTimeout(ctx, answerWithin*2/3)
	defer cancel()
	if _, err := a.who(ctx, in, d); err != nil {
		return sorryModal("Not possible", whyNot(err))
	}
	status, err := a.Desk.Release(ctx, about.Release)
	switch {
	case err != nil && about.Decision == "" && status.About != nil:
		return detailsModal(*status.About)
	case err != nil:
		return sorryModal("Not now", desk.Explain(err))
	case status.About == nil:
		return sorryModal("Not now", "Release "+about.Release+" tells nothing about itself yet. Try again in a moment.")
	case about.Decision == "":
		return detailsModal(*status.About)
	case status.PlanDigest != about.PlanDigest || about.Run != "" && status.Run != about.Run:
		return sorryModal("Out of date", "This message shows another plan than the release has now, so it can't be decided on. Look at the release's latest message.")
	case about.Command == "" && needsPage(status.About.Approval.Missing):
		return sorryModal("Log in to decide", "Whoever still has to decide on this release must log in for it.",
			section(link(decidePage(a.Gateway, about.Release), "Decide on the gateway's page")))
	}
	return decideModal(*status.About, about, a.Gateway)
}

// needsPage reports whether nobody who is missing may decide in Slack.
func needsPage(missing signals.Quorum) bool {
	here, page := places(missing)
	return !here && len(page) > 0
}

// submitted takes a decision out of a modal. Slack is told that it was taken
// only after the release has taken it.
func (a *App) submitted(ctx context.Context, in input, d delivery) answer {
	about, err := readSubject(in.View.Metadata)
	if err == nil && (in.View.Callback != callbackDecide || about.Decision == "") {
		err = fmt.Errorf("view %q decides nothing", in.View.Callback)
	}
	if err != nil {
		a.refuse(whatRequest, in, d, err.Error())
		return answer{status: 400}
	}
	rationale := strings.TrimSpace(in.View.Rationale)
	if n := size(rationale); n < minRationale || n > maxRationale {
		return wrong(fmt.Sprintf("Give your reason in %d to %d characters.", minRationale, maxRationale))
	}
	who, err := a.who(ctx, in, d)
	if err != nil {
		return wrong(whyNot(err))
	}
	receipt, err := a.Desk.Decide(ctx, who, desk.Decision{
		Release: about.Release, PlanDigest: about.PlanDigest, Decision: about.Decision, Reason: rationale, Command: about.Command,
		Nonce: nonce(in.Team, in.User, in.View.ID, in.View.Hash, string(about.Decision), rationale), Again: d.again,
	})
	switch {
	case err == nil:
		return updated(receiptModal(about, receipt))
	case errors.Is(err, desk.ErrReplayed):
		return updated(modal("Counted before", section("This very click was counted before. There is nothing more to do."), small("Release "+code(about.Release))))
	case errors.Is(err, desk.ErrStepUp):
		return updated(sorryModal("Log in to decide", desk.Explain(err), section(link(decidePage(a.Gateway, about.Release), "Decide on the gateway's page"))))
	case errors.Is(err, desk.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return wrong("Not counted yet: the release did not answer in time. Submit it again; it counts once.")
	}
	return wrong(desk.Explain(err))
}

// who is the person behind an input. Members who must be refused are written
// down.
func (a *App) who(ctx context.Context, in input, d delivery) (auth.Identity, error) {
	who, err := a.members.identity(ctx, in)
	if refused, ok := errors.AsType[*memberError](err); ok {
		a.refuse(whatMember, in, d, refused.reasons...)
	} else if err != nil {
		a.Log.Warn("nobody can tell who a member is", "user", in.account(), "error", err)
	}
	return who, err
}

// whyNot says for the person concerned why the person is not known.
func whyNot(err error) string {
	if refused, ok := errors.AsType[*memberError](err); ok {
		return "You can't do this from Slack: " + refused.Error() + "."
	}
	return "Nothing was done, since it can't be found out now who you are. Try again, or use the command line. (" + err.Error() + ")"
}

// nonce is made from a submission, so that it counts once however often it is
// delivered. Another text, or the same one in a modal opened anew, is another
// submission.
func nonce(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		// A hash takes whatever it is given; the length keeps parts apart.
		_, _ = fmt.Fprintf(sum, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// wrong shows a fault below the modal's input.
func wrong(why string) answer {
	// Slack shows it as plain text.
	return answer{status: 200, body: slack.NewErrorsViewSubmissionResponse(map[string]string{blockRationale: cmp.Or(plain(why, 1500), "It did not work.")})}
}

// updated shows another modal in the place of the one that was submitted.
func updated(m *slack.ModalViewRequest) answer {
	return answer{status: 200, body: slack.NewUpdateViewSubmissionResponse(m)}
}
