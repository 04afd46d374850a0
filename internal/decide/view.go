package decide

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style string

// styleHash lets the page's own style in, and no other.
var styleHash = func() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"clock":  clock,
	"groups": func(digest string) []string { return strings.Fields(signals.PlainDigest(digest)) },
	"quorum": quorum,
	"safe":   safeLink,
}).Parse(pageText))

// frame is what every page has.
type frame struct {
	Title string
	Style template.CSS
}

func newFrame(title string) frame {
	return frame{Title: title, Style: template.CSS(style)} //nolint:gosec // the style is this package's own
}

// shown is the page on which somebody decides.
type shown struct {
	frame
	About  signals.Announcement
	Signer signer
	Token  string
	Draft  draft
	// Open tells that the release waits for approvals, Given that this person has
	// given one that still counts.
	Open  bool
	Given bool
	Max   int
}

// signer is the person, by printed name, and the login that the signature rests
// on.
type signer struct {
	Name, Email, Account, Issuer, ACR string
	Groups                            []string
	At, Until                         time.Time
}

func (p *page) render(w http.ResponseWriter, code int, s session, status signals.Status, d draft) {
	token, err := p.token(s)
	if err != nil {
		p.fault(w, err, s.Release)
		return
	}
	v := shown{
		frame: newFrame("Decide on " + status.Release), About: about(status), Signer: signerOf(s), Token: token, Draft: d, Max: maxReason,
		Open: status.Phase == signals.Approving && status.Approval.Missing.People() > 0,
	}
	for _, g := range status.Approval.Given {
		v.Given = v.Given || g.Subject == s.Identity.Subject.Key() && g.Decision == signals.Approve && g.Void == ""
	}
	p.write(w, code, "decide", v)
}

// about is what the release shows to approvers; where it has not put that
// together yet, what its status says.
func about(s signals.Status) signals.Announcement {
	var a signals.Announcement
	if s.About != nil {
		a = *s.About
	} else {
		a = signals.Announcement{
			Release: s.Release, Run: s.Run, Service: s.Service, Environment: s.Environment, Tier: s.Tier,
			Artifact: s.Artifact, Commit: s.Commit, Ticket: s.Ticket, Requester: s.Requester,
		}
		if s.LKG != nil {
			a.LKG = s.LKG.Digest
		}
	}
	// What is signed, and how it stands now, is never taken from a view.
	a.PlanDigest, a.Approval, a.Excluded, a.Pending = s.PlanDigest, s.Approval, s.Excluded, s.Pending
	a.Phase, a.Doing, a.Paused, a.Weight = s.Phase, s.Doing, s.Paused, s.Weight
	return a
}

func signerOf(s session) signer {
	who, how := s.Identity.Subject, s.Identity.Authn
	return signer{
		Name: who.Display(), Email: who.Email, Account: who.ID, Issuer: who.Issuer, Groups: who.Groups,
		ACR: how.ACR, At: how.At, Until: s.Expires,
	}
}

// decided is the page after a decision was counted.
type decided struct {
	frame
	Release, Environment, Service string
	Decision                      string
	Reason, Answer, Digest        string
	Signer                        signer
	Missing                       signals.Quorum
	At                            time.Time
}

// meanings are what a signature under each decision says.
var meanings = map[signals.Decision]string{
	signals.Approve:  "approved",
	signals.Deny:     "denied",
	signals.Withdraw: "took back the approval of",
}

func (p *page) done(w http.ResponseWriter, s session, d desk.Decision, receipt signals.Receipt) {
	what := meanings[d.Decision] + " release"
	if d.Command != "" {
		what = meanings[d.Decision] + " a command to release"
	}
	p.write(w, http.StatusOK, "done", decided{
		frame: newFrame("Counted: " + d.Release), Release: d.Release, Decision: what, Reason: d.Reason,
		Answer: receipt.Message, Digest: d.PlanDigest, Signer: signerOf(s), Missing: receipt.Missing, At: p.Now().UTC(),
	})
}

// notice is a page that says one thing; with a release it offers to open its
// page.
type notice struct {
	frame
	Text, Release string
}

func (p *page) message(w http.ResponseWriter, code int, title, text, release string) {
	p.write(w, code, "notice", notice{frame: newFrame(title), Text: text, Release: release})
}

func (p *page) write(w http.ResponseWriter, code int, name string, v any) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, v); err != nil {
		p.Log.Error("a page can't be rendered", "page", name, "error", err)
		http.Error(w, "the page can't be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	// The browser has gone if this fails.
	_, _ = body.WriteTo(w)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// quorum says a quorum in words.
func quorum(q signals.Quorum) string {
	var parts []string
	for _, g := range q.Groups {
		part := fmt.Sprintf("%d of %s", g.Count, g.Group)
		if g.StepUp != nil {
			part += " after a fresh login"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, " and ")
}

// safeLink passes web addresses only: they come from a catalog, but end up where
// somebody clicks.
func safeLink(link string) string {
	if strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "http://") {
		return link
	}
	return ""
}
