package evidence

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/waybill-dev/waybill/signals"
)

// table writes rows of aligned columns.
func table(w io.Writer, rows ...[]string) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	_ = t.Flush()
}

// clean makes text that came from elsewhere safe to show: what somebody wrote
// into a request or a key must not steer the auditor's terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
}

// fields makes rows of names and values, without those that have no value.
func fields(pairs ...string) [][]string {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{pairs[i], pairs[i+1]})
		}
	}
	return rows
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}

// WriteText writes the answer with what it rests on.
func (a Answer) WriteText(w io.Writer) {
	fmt.Fprintf(w, "release %s: %s\n", clean(a.Release), headline[a.Question])
	a.Answer.WriteText(w)
	fmt.Fprintf(w, "rests on signed records %s; papers %s\n", strings.Trim(fmt.Sprint(a.Records), "[]"), a.Papers)
	writeFaults(w, "", a.Faults)
}

func writeFaults(w io.Writer, indent string, faults []Fault) {
	for _, f := range faults {
		fmt.Fprintf(w, "%sFAULT %s %s: %s\n", indent, f.Kind, clean(f.Key), clean(f.Detail))
	}
}

var headline = map[Question]string{
	WhatChanged:    "what changed?",
	WhoApproved:    "who approved, and why?",
	WhatWasTested:  "what was tested, with which artifact?",
	HowRolledBack:  "how was it rolled back?",
	HowFarItSpread: "how far had it spread?",
}

func (r Running) text() string {
	if r.Digest == "" {
		return ""
	}
	text := r.Digest
	if r.Commit != "" {
		text += ", commit " + r.Commit
	}
	if r.Release != "" {
		text += ", release " + r.Release
	}
	return text
}

// WriteText writes the answer as a table.
func (c *Changed) WriteText(w io.Writer) {
	rows := fields(
		"  service", c.Service+" in "+c.Environment, "  from", c.From.text(), "  to", c.To.text(), "  image", c.To.Image, "  source", c.Source,
		"  ticket", c.Ticket, "  reason", c.Reason, "  asked by", requester(c.RequesterView),
		"  plan", c.PlanDigest, "  policy", c.PolicyDigest, "  raw request", c.Raw, "  outcome", string(c.Outcome),
	)
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		rows = append(rows, []string{"  config before", name + " " + c.Config[name]})
	}
	table(w, rows...)
}

func quorumText(q signals.Quorum) string {
	var parts []string
	for _, g := range q.Groups {
		parts = append(parts, fmt.Sprintf("%d of %s", g.Count, g.Group))
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}

// WriteText writes the answer as a table.
func (a *Approved) WriteText(w io.Writer) {
	rows := fields("  needed", quorumText(a.Needed), "  missing", quorumText(a.Missing), "  kept out", strings.Join(a.Excluded, ", "))
	if b := a.BreakGlass; b != nil {
		rows = append(rows, []string{"  EMERGENCY", fmt.Sprintf("%s; a review was due within %s", b.Reason, b.ReviewWithin)})
	}
	for _, d := range slices.Concat(a.Decisions, a.Commands) {
		rows = append(rows, fields(
			"  "+d.Decision, fmt.Sprintf("%s (%s at %s), groups %v, at %s", d.By.Display(), d.By.ID, d.By.Issuer, d.By.Groups, stamp(d.At)),
			"    for", d.Place, "    because", d.Reason, "    state", d.State, "    approved by", d.ApprovedBy,
			"    known by", strings.Join(strings.Fields(d.Authn.Method+" "+d.Authn.ACR+" through "+d.Authn.Channel), " "), "    proof", fmt.Sprintf("record %d, %s", d.Record, d.Proof),
		)...)
	}
	for _, v := range a.Void {
		rows = append(rows, []string{"  void", fmt.Sprintf("approvals of records %v, record %d: %s", v.Approvals, v.Record, strings.Join(v.Reasons, "; "))})
	}
	for _, r := range a.Refused {
		what := r.What
		if r.Phase != "" {
			what += " in phase " + string(r.Phase)
		}
		rows = append(rows, []string{"  refused", fmt.Sprintf("%s, record %d: %s", what, r.Record, strings.Join(r.Reasons, "; "))})
	}
	table(w, rows...)
}

// WriteText writes the answer as a table.
func (t *Tested) WriteText(w io.Writer) {
	rows := fields("  artifact", t.Digest, "  commit asked for", t.Commit)
	for _, s := range t.Signatures {
		rows = append(rows, []string{"  signature", fmt.Sprintf("by %s (%s), %s", s.KeyID, s.Form, short(s.Digest))})
	}
	if p := t.Provenance; p != nil {
		rows = append(rows, []string{"  provenance", fmt.Sprintf("by %s: built by %s from %s at %s", p.KeyID, p.Builder, p.Source, p.Commit)})
	}
	for _, r := range t.Tests {
		rows = append(rows, []string{"  tests", fmt.Sprintf("%s, suites %s, at commit %s, signed by %s", r.Result, strings.Join(r.Suites, ", "), r.Commit, r.KeyID)})
	}
	for _, s := range t.Scans {
		var found []string
		for _, severity := range slices.Sorted(maps.Keys(s.Found)) {
			found = append(found, fmt.Sprintf("%d %s", s.Found[severity], severity))
		}
		if len(found) == 0 {
			found = []string{"nothing found"}
		}
		rows = append(rows, []string{"  scan", fmt.Sprintf("by %s: %s, signed by %s", s.Scanner, strings.Join(found, ", "), s.KeyID)})
	}
	if s := t.Source; s != nil {
		rows = append(rows, []string{"  source", fmt.Sprintf("%d commit(s) up to %s, authors %s, committers %s, reviewers %s, signed by %s",
			s.Commits, s.Commit, people(s.Authors), people(s.Committers), people(s.Reviewers), s.KeyID)})
	}
	for _, r := range t.Refusals {
		rows = append(rows, []string{"  refused", r})
	}
	for _, v := range t.Windows {
		rows = append(rows, []string{"  watched", fmt.Sprintf("%s, %s at %d%%, %s: %s (%s)", v.Phase, v.Track, v.Weight, signals.Duration(v.Ended.Sub(v.Started)), v.Verdict, v.Reason)})
	}
	table(w, rows...)
}

func people(list []signals.Contributor) string {
	var names []string
	for _, c := range list {
		names = append(names, cmp.Or(c.Email, c.Login, c.Name))
	}
	return cmp.Or(strings.Join(names, ", "), "nobody")
}

// WriteText writes the answer as a table.
func (r *RolledBack) WriteText(w io.Writer) {
	if !r.Happened {
		fmt.Fprintf(w, "  it was not; outcome %s\n", r.Outcome)
		return
	}
	rows := fields("  cause", r.Report.Cause, "  trigger", r.Report.Trigger, "  from", r.Report.From, "  to", r.Report.To,
		"  began", stamp(r.Report.Started), "  took", r.Report.Duration.String(), "  complete", strconv.FormatBool(r.Report.Complete))
	for _, s := range r.Report.Steps {
		came := s.Observed
		if s.Error != "" {
			came = "FAILED: " + s.Error
		}
		rows = append(rows, []string{"  step", fmt.Sprintf("%s, %s: %s", s.Name, s.Duration, came)})
	}
	if h := r.Health; h != nil {
		rows = append(rows, []string{"  health after", fmt.Sprintf("%s: %d of %d pods on %s", h.Name, h.Ready, h.Desired, h.Digest)})
	}
	if t := r.Target; t != nil {
		rows = append(rows, []string{"  target then", fmt.Sprintf("%d signature(s), refusals: %d", len(t.Signatures), len(t.Refusals))})
	}
	table(w, append(rows, fields("  outcome", string(r.Outcome))...)...)
}

// WriteText writes the answer as a table.
func (s *Spread) WriteText(w io.Writer) {
	rows := fields("  furthest", fmt.Sprintf("canary at %d%% of the traffic", s.MaxWeight), "  promoted", strconv.FormatBool(s.Promoted))
	for _, at := range s.At {
		text := fmt.Sprintf("%d%% from %s", at.Weight, stamp(at.From))
		if at.Lasted > 0 {
			text += fmt.Sprintf(" for %s", at.Lasted.D().Round(time.Millisecond))
		}
		if at.Requests > 0 {
			text += fmt.Sprintf(", %.0f requests sampled", at.Requests)
		}
		rows = append(rows, []string{"  read back", text})
	}
	if s.SampledBy != "" {
		rows = append(rows, []string{"  requests", fmt.Sprintf("%.0f on the canary, as sampled by check %q at the end of each window", s.Requests, s.SampledBy)})
	}
	table(w, rows...)
}
