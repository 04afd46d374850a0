package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// TestApprovedInABrowser has a tier-2 release approved by people with a real
// browser: the release lead in Slack's modal, the risk officer on the gateway's
// page after a login with a second factor, where scripts are switched off.
//
// WAYBILL_SHOTS names a folder to keep the pictures of docs/ in.
func TestApprovedInABrowser(t *testing.T) {
	release, _ := waitingRelease(t)
	browser := openBrowser(t)

	lead := prepared(browser, t, true)
	signInToSlack(t, lead, "release-lead")
	m := messageOf(t, release, "buttons", asksToDecide)
	article := fmt.Sprintf(`article[id="m%s"]`, m.TS)
	message := lead.see(chromedp.WaitVisible(chromedp.CSS(article + ` button[data-action="waybill_approve"]`)))
	require.Contains(t, message, release)
	lead.shoot("slack-message", article)
	modal := lead.press(article+` button[data-action="waybill_approve"]`, `#modal textarea`)
	require.Contains(t, modal, signals.PlainDigest(status(t, release).PlanDigest)[:17], "the digest is there to be compared")
	lead.shoot("slack-modal", "#modal .modal")
	lead.do(chromedp.SendKeys(chromedp.CSS(`#modal textarea`), "Read the comparison; the change is small and tested"))
	lead.press(`#modal button[form="submit-form"]`, "#as")
	await(t, release, "the lead's approval", func(s signals.Status) bool { return len(s.Approval.Given) == 1 })

	risk := prepared(browser, t, true)
	signInToSlack(t, risk, "risk-officer")
	risk.see(chromedp.WaitVisible(chromedp.CSS(article + ` button[data-action="waybill_open"]`)))
	opened := chromedp.WaitNewTarget(risk.ctx, func(i *target.Info) bool { return i.URL != "" && i.URL != "about:blank" })
	risk.do(chromedp.Click(chromedp.CSS(article + ` button[data-action="waybill_open"]`)))
	page := attach(t, risk, <-opened)
	password, code := passwordOf(t, "risk-officer")
	page.do(
		chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)),
		chromedp.SetValue(chromedp.CSS(`select[name="account"]`), "risk-officer"),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), password),
		chromedp.SendKeys(chromedp.CSS(`input[name="code"]`), code))
	shown := page.press(`button[value="allow"]`, `button[value="approve"]`)
	require.Contains(t, shown, release)
	page.shoot("step-up", "main")
	page.do(chromedp.SendKeys(chromedp.CSS(`#reason`), "Within the risk appetite; rollback is one step"))
	counted := page.press(`button[value="approve"]`, "h1.counted")
	require.Contains(t, counted, "risk-officer")
	page.shoot("step-up-done", "main")

	ended := outcome(t, release)
	require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
	messageOf(t, release, "its outcome", func(m slackemu.Message) bool { return strings.Contains(m.Says, "promoted") })
	lead.see(chromedp.Navigate(stack.Slack+"/client/"+m.Channel+"?thread="+m.TS), chromedp.WaitVisible(chromedp.CSS(`aside figure img`)))
	lead.shoot("slack-thread", "")
	approvals := predicates[signals.ApprovalPredicate](t, "v1/prod/payments-api/"+release+"/", signals.RecordApproval)
	require.Len(t, approvals, 2)
	require.Equal(t, "slack", approvals[0].Statement.Authn.Channel)
	require.Equal(t, "web", approvals[1].Statement.Authn.Channel)
	require.Equal(t, "urn:waybill:acr:mfa", approvals[1].Statement.Authn.ACR)
}

// tab is a page of the browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openBrowser starts a browser without a window.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path := must(t, nil, filepath.Join(stack.root, "deploy", "tools", "browser.sh"))
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 2000), chromedp.Flag("force-device-scale-factor", "1.5"))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(browser))
	return browser
}

// attach takes over a tab that a link opened, without scripts.
func attach(t *testing.T, from tab, id target.ID) tab {
	t.Helper()
	return prepared(from.ctx, t, false, chromedp.WithTargetID(id))
}

// prepared opens a tab, with scripts or without.
func prepared(parent context.Context, t *testing.T, scripts bool, options ...chromedp.ContextOption) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	// The tab lives as long as the context of the first call, so that has no
	// time limit of its own.
	require.NoError(t, chromedp.Do(ctx))
	page := tab{t, ctx}
	page.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
		return chromedp.Void{}, err
	})
	return page
}

// do does something on the page.
func (p tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.shoot("failed", "")
		require.NoError(p.t, err)
	}
}

// see does something and returns what the page then says.
func (p tab) see(steps ...chromedp.Action[chromedp.Void]) string {
	p.t.Helper()
	p.do(steps...)
	text, err := chromedp.Run(p.ctx, chromedp.Text(chromedp.CSS("body")))
	require.NoError(p.t, err)
	return text
}

// press clicks what sends a form, waits for the page that answers, and returns
// what that says once an element of it is there.
func (p tab) press(selector, then string) string {
	p.t.Helper()
	return p.submit(chromedp.Click(chromedp.CSS(selector)), then)
}

// submit does what sends a form. The emulator's page renews its messages by
// itself: a button that was replaced before it could be clicked is looked up anew.
func (p tab) submit(step chromedp.Action[chromedp.Void], then string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, step)
	for tries := 1; err != nil && strings.Contains(err.Error(), "No node with given id") && tries < 3; tries++ {
		_, err = chromedp.RunResponse(ctx, step)
	}
	if err != nil {
		p.shoot("failed", "")
		require.NoError(p.t, err)
	}
	return p.see(chromedp.WaitVisible(chromedp.CSS(then)))
}

// shoot keeps a picture of an element, or of the window if selector is "".
func (p tab) shoot(name, selector string) {
	p.t.Helper()
	take := chromedp.CaptureScreenshot()
	if selector != "" {
		take = chromedp.Screenshot(chromedp.CSS(selector))
	}
	picture, err := chromedp.Run(p.ctx, take)
	require.NoError(p.t, err)
	dir := os.Getenv("WAYBILL_SHOTS")
	if dir == "" {
		dir = p.t.ArtifactDir()
	}
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// signInToSlack switches the emulator's page to a member and opens the channel.
func signInToSlack(t *testing.T, p tab, member string) {
	t.Helper()
	p.do(chromedp.Navigate(stack.Slack+"/client/C0RELEASES"), chromedp.WaitVisible(chromedp.CSS(`#as`)))
	// With scripts the choice itself sends the form.
	require.Contains(t, p.submit(chromedp.SetValue(chromedp.CSS(`#as`), slackemu.UserID(member)), "p.you"), "You are "+member)
}

// passwordOf is an account's password, with the code of its second factor now.
func passwordOf(t *testing.T, account string) (password, code string) {
	t.Helper()
	lines := strings.Fields(must(t, nil, filepath.Join(stack.bin, "devstack"), "password", account, "--state="+stack.dir))
	require.Len(t, lines, 2)
	return lines[0], lines[1]
}
