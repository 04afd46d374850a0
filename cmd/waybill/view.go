package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// styles are the few colours of a view.
type styles struct{ bold, dim, good, bad, busy lipgloss.Style }

// newStyles colours what is written to w if that is a terminal with colours. It
// uses the sixteen that every such terminal has, in the user's own shades.
func newStyles(w io.Writer) styles {
	if colorprofile.Detect(w, os.Environ()) < colorprofile.ANSI {
		return styles{}
	}
	colour := func(code string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(code)) }
	return styles{bold: lipgloss.NewStyle().Bold(true), dim: lipgloss.NewStyle().Faint(true), good: colour("2"), bad: colour("1"), busy: colour("3")}
}

// view renders where a release stands at now: a pure function of both. The same
// text is shown once by `waybill status` and again and again by `waybill watch`.
func view(r wire.Release, now time.Time, st styles) string {
	var b strings.Builder
	heading(&b, r, st)
	gates(&b, r, now, st)
	delivery(&b, r, now, st)
	held(&b, r, st)
	decisions(&b, r, now)
	ending(&b, r, st)
	return b.String()
}

func heading(b *strings.Builder, r wire.Release, st styles) {
	fmt.Fprintf(b, "%s  %s\n", st.bold.Render(clean(r.Service)+" → "+clean(r.Environment)), st.dim.Render(clean(r.Release)))
	fmt.Fprintf(b, "tier %d · image %s · commit %s · ticket %s · asked for by %s\n",
		r.Tier, orDash(artifact(r.Artifact)), orDash(short(r.Commit)), orDash(r.Ticket), orDash(r.Requester))
	if r.PlanDigest != "" {
		fmt.Fprintf(b, "plan %s\n     %s\n", clean(r.PlanDigest), clean(signals.PlainDigest(r.PlanDigest)))
	}
	b.WriteString("\n")
}

func artifact(a signals.Artifact) string {
	if a.Digest == "" {
		return ""
	}
	return a.Repository + "@" + short(a.Digest)
}

func gates(b *strings.Builder, r wire.Release, now time.Time, st styles) {
	var rows [][]string
	for _, g := range r.Gates {
		mark, style := " ", st.dim
		switch g.State {
		case "passed":
			mark, style = "✓", st.good
		case "failed":
			mark, style = "✗", st.bad
		case "running":
			mark, style = "▶", st.busy
		case "skipped":
			mark = "–"
		}
		until := ""
		if g.State == "running" {
			until = left(now, g.Until)
		}
		rows = append(rows, []string{style.Render(mark + " " + clean(g.Name)), clean(g.Detail), until})
	}
	table(b, rows)
}

// table aligns cells by what they measure on the terminal, colours not counted.
func table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-lipgloss.Width(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// delivery shows the traffic's split and the window that is being watched.
func delivery(b *strings.Builder, r wire.Release, now time.Time, st styles) {
	const width = 20
	if r.Weight > 0 {
		fmt.Fprintf(b, "\ncanary %s %d%% of the traffic\n", bar(int(r.Weight), 100, width), r.Weight)
	}
	checks, title := windowInView(r, now)
	if title == "" {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	var rows [][]string
	for _, c := range checks {
		style := st.busy
		switch c.Verdict {
		case signals.Pass:
			style = st.good
		case signals.Fail, signals.Outage:
			style = st.bad
		}
		value := number(c.Canary)
		if c.Canary == nil && c.Stable != nil {
			value = "" // stable alone is watched, as in the baseline and the bake
		}
		row := []string{"  " + clean(c.Check), style.Render(string(c.Verdict)), value}
		if c.Stable != nil {
			row = append(row, "stable "+number(c.Stable))
		} else {
			row = append(row, "")
		}
		reason := ""
		if c.Verdict != signals.Pass {
			reason = clean(c.Reason)
		}
		rows = append(rows, append(row, clean(c.Bound), reason))
	}
	table(b, rows)
}

// windowInView is the running window, else the last one.
func windowInView(r wire.Release, now time.Time) ([]signals.CheckResult, string) {
	if p := r.Live; p != nil {
		title := fmt.Sprintf("watching %s at %d%%: %d samples, %s", p.Phase, p.Weight, p.Taken, left(now, p.Ends))
		if p.Extension > 0 {
			title += fmt.Sprintf(", extended %d times", p.Extension)
		}
		return p.Checks, title
	}
	if len(r.Windows) == 0 {
		return nil, ""
	}
	w := r.Windows[len(r.Windows)-1]
	if w.Verdict == "" {
		return nil, fmt.Sprintf("watching %s at %d%%: %s", w.Phase, w.Weight, left(now, w.Ends))
	}
	title := fmt.Sprintf("watched %s at %d%%: %s", w.Phase, w.Weight, w.Verdict)
	if w.Reason != "" {
		title += ", " + clean(w.Reason)
	}
	return w.Checks, title
}

func bar(part, whole, width int) string {
	full := part * width / whole
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// held shows what keeps a release from going on: a pause, and commands that wait
// for somebody's approval.
func held(b *strings.Builder, r wire.Release, st styles) {
	if r.Over() {
		return
	}
	if r.Paused != "" {
		fmt.Fprintf(b, "\n%s by %s\n", st.busy.Render("paused"), clean(r.Paused))
	}
	for _, p := range r.Pending {
		fmt.Fprintf(b, "\n%s %s by %s: “%s” (command %s)\n", st.busy.Render("waits for approval:"), p.Command, clean(p.By), clean(p.Reason), clean(p.ID))
	}
}

// excluded lists whom separation of duties keeps from approving, in a line.
func excluded(list []signals.Exclusion) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = clean(e.Identity) + " (" + clean(e.As) + ")"
	}
	return strings.Join(parts, ", ")
}

// decisions shows who decided, and who must act with which command.
func decisions(b *strings.Builder, r wire.Release, now time.Time) {
	var rows [][]string
	for _, g := range r.Approval.Given {
		row := []string{"  " + clean(g.By), string(g.Decision), orDash(g.Place), "“" + clean(g.Reason) + "”"}
		if g.Void != "" {
			row = append(row, "void: "+clean(g.Void))
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		b.WriteString("\ndecisions\n")
		table(b, rows)
	}
	if len(r.Excluded) > 0 && r.Phase == signals.Approving && !r.Over() {
		fmt.Fprintf(b, "\nmay not approve: %s\n", excluded(r.Excluded))
	}
	if r.Refused > 0 {
		fmt.Fprintf(b, "\n%d messages refused; each has a record\n", r.Refused)
	}
	if len(r.Next) == 0 || r.Over() {
		return
	}
	b.WriteString("\nnext")
	if until := left(now, r.Approval.Expires); until != "" && r.Phase == signals.Approving {
		b.WriteString(" (" + until + ")")
	}
	b.WriteString("\n")
	// Commands have lines of their own, so that they can be copied whole.
	for _, n := range r.Next {
		fmt.Fprintf(b, "  %s: %s\n    %s\n", clean(n.Who), clean(n.What), clean(n.Command))
	}
}

// ending tells the outcome, or that there is none where there should be one.
func ending(b *strings.Builder, r wire.Release, st styles) {
	switch {
	case r.Outcome != nil:
		style := st.bad
		if r.Outcome.Kind == signals.Promoted {
			style = st.good
		}
		fmt.Fprintf(b, "\n%s", style.Render(string(r.Outcome.Kind)))
		if r.Outcome.By != "" {
			fmt.Fprintf(b, " by %s", clean(r.Outcome.By))
		}
		b.WriteString("\n")
		for _, reason := range r.Outcome.Reasons {
			fmt.Fprintf(b, "  %s\n", clean(reason))
		}
		rollback(b, r.Outcome.Rollback, st)
		if m := r.Outcome.Manifest; m != nil {
			fmt.Fprintf(b, "papers: %d records, manifest %s\n", m.Sequence, short(m.Digest))
		}
	case r.Over():
		fmt.Fprintf(b, "\n%s\n", st.bad.Render("the workflow ended without an outcome: "+string(r.Execution.State)))
		if r.Execution.Failure != "" {
			fmt.Fprintf(b, "  %s\n", clean(r.Execution.Failure))
		}
		b.WriteString("The environment needs a person.\n")
	}
}

func rollback(b *strings.Builder, r *signals.RollbackReport, st styles) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "put back from %s to %s in %s, triggered by %s\n", short(r.From), short(r.To), r.Duration.D().Round(time.Millisecond), clean(r.Trigger))
	var rows [][]string
	for _, s := range r.Steps {
		mark, text := st.good.Render("✓"), clean(s.Observed)
		if s.Error != "" {
			mark, text = st.bad.Render("✗"), clean(s.Error)
		}
		rows = append(rows, []string{"  " + mark + " " + clean(s.Name), s.Duration.D().Round(time.Millisecond).String(), text})
	}
	table(b, rows)
}
