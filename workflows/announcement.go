package workflows

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// announcement is what people are shown of this release as it stands now.
func (r *release) announcement() signals.Announcement {
	p := r.plan
	a := signals.Announcement{
		Release: r.papers.release, Run: r.papers.run, Service: p.Service, Environment: p.Environment, Tier: p.Tier,
		Owner: p.Owner, Runbook: p.Runbook, Artifact: p.Artifact, Commit: p.Request.Commit,
		Ticket: p.Request.Ticket, Reason: p.Request.Reason, Requester: r.requesterName(), PlanDigest: r.digest,
		Tests: testsLine(r.verification.Tests), Scans: scansLine(r.verification.Scans), Policy: policyLines(p.Policy, r.decision),
		Steps: p.Steps, Radius: radius(p),
		Excluded: r.approvals.exclusions, Approval: r.approvalStatus(), Pending: r.pendingCommands(),
		Phase: r.phase, Doing: r.doing, Weight: r.weight, Next: r.next(),
	}
	if p.BreakGlass != nil {
		a.BreakGlass = p.BreakGlass.Reason
	}
	if r.paused != nil {
		a.Paused = r.paused.text()
	}
	r.announceLKG(&a)
	if keeps := blocked(r.notices.lane.LaneInput, r.laneClaim()); keeps != "" && !r.grant.Granted {
		a.Radius = append([]string{"The lane lets nothing in yet: " + keeps + "."}, a.Radius...)
	}
	if o := r.outcome; o != nil {
		a.Outcome, a.Reasons = o.Kind, o.Reasons
	}
	return a
}

func (r *release) laneClaim() signals.LaneClaim {
	return signals.LaneClaim{Resource: signals.LaneEnvironment, BreakGlass: r.plan.BreakGlass != nil}
}

// announceLKG says what the release goes back to: what was decided once the lane
// was held, before that what the lane remembers.
func (r *release) announceLKG(a *signals.Announcement) {
	lane := r.notices.lane
	switch {
	case r.lkg != nil && r.lkg.Digest != r.plan.Artifact.Digest:
		a.LKG = r.lkg.Digest
	case lane.LKG != nil:
		a.LKG = lane.LKG.Digest
	case r.grant.LKG != nil:
		a.LKG = r.grant.LKG.Digest
	}
	switch {
	case a.LKG == "":
	case lane.LKG != nil && lane.LKG.Digest == a.LKG:
		a.LKGRelease, a.LKGCommit = lane.LKGRelease, lane.LKGCommit
	case r.grant.LKG != nil && r.grant.LKG.Digest == a.LKG:
		a.LKGRelease = r.grant.LKGRelease
	}
	a.Compare = compareLink(r.plan.Source, a.LKGCommit, a.Commit)
}

// compareLink is the code host's page of what changed between two commits, ""
// if they or the host's kind are not known.
func compareLink(source, from, to string) string {
	if from == "" || to == "" || from == to {
		return ""
	}
	u, err := url.Parse(strings.TrimSuffix(strings.TrimRight(strings.TrimPrefix(source, "git+"), "/"), ".git"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(u.Path) < 2 {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	host := strings.ToLower(u.Hostname())
	switch {
	case strings.Contains(host, "gitlab"):
		return u.String() + "/-/compare/" + from + "..." + to
	case slices.ContainsFunc([]string{"github", "gitea", "forgejo", "codeberg"}, func(kind string) bool { return strings.Contains(host, kind) }):
		return u.String() + "/compare/" + from + "..." + to
	}
	return ""
}

// testsLine sums up what was attested of tests.
func testsLine(tests []signals.TestResult) string {
	if len(tests) == 0 {
		return "no test results"
	}
	var parts []string
	for _, t := range tests {
		text := strings.ToLower(t.Result)
		if len(t.Suites) > 0 {
			text += ": " + strings.Join(t.Suites, ", ")
		}
		if len(t.Failed) > 0 {
			text += fmt.Sprintf(" (%d failed: %s)", len(t.Failed), firstFew(t.Failed))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// severities in the order of gravity; scanners spell them in either case.
var severities = []string{"critical", "high", "medium", "low", "negligible", "unknown"}

// scansLine sums up what scanners found, the gravest first.
func scansLine(scans []signals.Scan) string {
	if len(scans) == 0 {
		return "no scan attested"
	}
	gravity := func(severity string) int {
		if at := slices.Index(severities, strings.ToLower(severity)); at >= 0 {
			return at
		}
		return len(severities)
	}
	var parts []string
	for _, s := range scans {
		//workflowcheck:ignore the keys are sorted
		names := slices.SortedFunc(maps.Keys(s.Found), func(a, b string) int {
			if d := gravity(a) - gravity(b); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		var found []string
		for _, name := range names {
			if n := s.Found[name]; n > 0 {
				found = append(found, fmt.Sprintf("%d %s", n, strings.ToLower(name)))
			}
		}
		if len(found) == 0 {
			found = []string{"nothing found"}
		}
		text := s.Scanner + ": " + strings.Join(found, ", ")
		if !s.Finished.IsZero() {
			text += ", on " + s.Finished.UTC().Format(time.DateOnly)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// policyLines give the policy's verdict and its reasons.
func policyLines(digest string, result signals.PolicyResult) []string {
	switch {
	case !result.Allow && len(result.Reasons) == 0:
		return []string{"not asked yet"}
	case !result.Allow:
		lines := []string{"refused by policy " + short(digest)}
		for _, reason := range result.Reasons {
			lines = append(lines, reason.Rule+": "+reason.Message)
		}
		return lines
	}
	lines := []string{"allowed by policy " + short(digest)}
	if len(result.Levels) > 0 {
		lines = append(lines, "holds: "+strings.Join(result.Levels, ", "))
	}
	return append(lines, "demands "+describeQuorum(result.Approvals))
}

// radius says who is exposed to a plan's artifact when, at the earliest.
func radius(p signals.Plan) []string {
	traffic := fmt.Sprintf("of the requests to %s in %s", p.Service, p.Environment)
	var lines []string
	at := p.Baseline.Duration.D()
	if at > 0 {
		lines = append(lines, "Nobody for the first "+brief(at)+": stable is measured.")
	}
	for _, s := range p.Steps {
		lines = append(lines, fmt.Sprintf("%d%% %s from %s on, for %s at least.", s.Weight, traffic, brief(at), brief(s.Window.Duration.D())))
		at += s.Window.Duration.D()
	}
	return append(lines, fmt.Sprintf("All of them for good after %s at the earliest, watched for %s more. Times count from when the lane is granted.",
		brief(at), brief(p.Bake.Duration.D())))
}

// brief is a duration without the zeros at its end.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// firstFew names at most three of a list.
func firstFew(list []string) string {
	const few = 3
	if len(list) > few {
		return strings.Join(list[:few], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}
