package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/internal/api/wire"
)

// refresh is how often a watched release is looked at.
const refresh = time.Second

func newWatchCommand(a *app) *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use: "watch RELEASE", Short: "Follow a release live until it ends, and exit with its outcome's status", Args: cobra.ExactArgs(1),
		Long: "On a terminal a live view; elsewhere, and with --plain, a line for each change. With --output json one JSON object per change.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			// A release that isn't there is told before any view opens.
			first, err := c.Release(cmd.Context(), args[0])
			if err != nil && exitCode(err) != exitUnreachable {
				return err
			}
			out, isFile := a.out.(*os.File)
			if plain || a.output == outputJSON || !isFile || !isatty.IsTerminal(out.Fd()) {
				return a.watchLines(cmd.Context(), c, args[0])
			}
			return a.watchLive(cmd.Context(), c, args[0], first)
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "lines instead of a live view")
	return cmd
}

// watchLines writes a line for each thing that changed.
func (a *app) watchLines(ctx context.Context, c *apiclient.Client, release string) error {
	patience := endure{errs: a.errs}
	var last wire.Release
	for {
		r, err := c.Release(ctx, release)
		if !patience.passes(ctx, err) {
			return leave(ctx, release, err)
		}
		if err == nil {
			if err := a.report(last, r); err != nil {
				return err
			}
			if r.Over() {
				return failed(r.ExitCode(), nil)
			}
			last = r
		}
		if pause(ctx, refresh) != nil {
			return leave(ctx, release, err)
		}
	}
}

func (a *app) report(before, now wire.Release) error {
	lines := changes(before, now)
	if len(lines) == 0 {
		return nil
	}
	if a.output == outputJSON {
		return a.print(now, nil)
	}
	at := time.Now().Format(time.TimeOnly)
	for _, line := range lines {
		fmt.Fprintln(a.out, at, line)
	}
	if now.Over() {
		fmt.Fprint(a.out, endingText(now, newStyles(a.out)))
	}
	return nil
}

// changes words what is new between two looks at a release. It is a pure
// function of both.
func changes(before, now wire.Release) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, clean(fmt.Sprintf(format, args...))) }
	known := map[string]string{}
	for _, g := range before.Gates {
		known[g.Name] = g.State + g.Detail
	}
	for _, g := range now.Gates {
		if known[g.Name] != g.State+g.Detail && g.State != "waiting" {
			add("%s %s: %s", g.Name, g.State, orDash(g.Detail))
		}
	}
	if before.Weight != now.Weight {
		add("canary gets %d%% of the traffic", now.Weight)
	}
	if before.Paused != now.Paused {
		if now.Paused == "" {
			add("goes on after the pause")
		} else {
			add("paused by %s", now.Paused)
		}
	}
	waiting := map[string]bool{}
	for _, p := range before.Pending {
		waiting[p.ID] = true
	}
	for _, p := range now.Pending {
		if !waiting[p.ID] {
			add("%s by %s waits for somebody's approval: “%s” (command %s)", p.Command, p.By, p.Reason, p.ID)
		}
	}
	for i, g := range now.Approval.Given {
		if g.Void != "" && (i >= len(before.Approval.Given) || before.Approval.Given[i].Void == "") {
			add("%s by %s no longer counts: %s", g.Decision, g.By, g.Void)
		}
	}
	for _, g := range now.Approval.Given[min(len(before.Approval.Given), len(now.Approval.Given)):] {
		add("%s by %s: “%s”", g.Decision, g.By, g.Reason)
	}
	if before.Refused != now.Refused {
		add("%d messages refused so far", now.Refused)
	}
	if now.Live != nil {
		verdicts := map[string]string{}
		if before.Live != nil && before.Live.Phase == now.Live.Phase && before.Live.Weight == now.Live.Weight {
			for _, c := range before.Live.Checks {
				verdicts[c.Check] = string(c.Verdict)
			}
		}
		for _, c := range now.Live.Checks {
			if verdicts[c.Check] != string(c.Verdict) {
				add("%s at %d%%: %s %s: %s (%s)", now.Live.Phase, now.Live.Weight, c.Check, c.Verdict, c.Reason, c.Bound)
			}
		}
	}
	if !now.Over() {
		for _, n := range now.Next {
			// What could be done at any time is `waybill status`'s to tell.
			if n.Optional || slices.Contains(before.Next, n) {
				continue
			}
			add("next: %s can %s: %s", n.Who, n.What, n.Command)
		}
	}
	if now.Over() && len(lines) == 0 {
		add("ended: %s", now.Execution.State)
	}
	return lines
}

func endingText(r wire.Release, st styles) string {
	var b strings.Builder
	ending(&b, r, st)
	return b.String()
}

// watchLive runs the live view.
func (a *app) watchLive(ctx context.Context, c *apiclient.Client, release string, first wire.Release) error {
	m := live{ctx: ctx, client: c, release: release, latest: first, styles: newStyles(a.out), patience: endure{errs: io.Discard}}
	done, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.in), tea.WithOutput(a.out)).Run()
	end, ok := done.(live)
	if ok && end.latest.Release != "" {
		// The view was drawn to fit and is wiped at its end; what stays is whole.
		fmt.Fprint(a.out, view(end.latest, time.Now(), end.styles))
	}
	switch {
	case err != nil && !errors.Is(err, tea.ErrProgramKilled) && !errors.Is(err, tea.ErrInterrupted):
		return fmt.Errorf("live view: %w; use --plain", err)
	case ok && end.fault != nil:
		return end.fault
	case !ok || !end.latest.Over():
		return failed(exitError, errors.New("stopped watching; the release goes on, see: waybill status "+release))
	}
	return failed(end.latest.ExitCode(), nil)
}

// live is the model of the view: the last answer, and what went wrong since.
type live struct {
	ctx      context.Context //nolint:containedctx // bubbletea's commands take none
	client   *apiclient.Client
	release  string
	latest   wire.Release
	styles   styles
	patience endure
	// width and height are the terminal's, 0 until they are known.
	width, height int
	trouble       error // shown, and endured for a while
	fault         error // ends the view
	over          bool
}

type answer struct {
	release wire.Release
	err     error
}

type tick struct{}

// Init asks for the first time.
func (m live) Init() tea.Cmd { return m.ask }

func (m live) ask() tea.Msg {
	r, err := m.client.Release(m.ctx, m.release)
	return answer{r, err}
}

// Update takes an answer, a tick of the clock or a key.
func (m live) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		if key := msg.String(); key == "q" || key == "ctrl+c" || key == "esc" {
			return m.quit()
		}
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		return m, m.ask
	case answer:
		m.trouble = msg.err
		if !m.patience.passes(m.ctx, msg.err) {
			m.fault = msg.err
			return m.quit()
		}
		if msg.err == nil {
			m.latest = msg.release
			if m.latest.Over() {
				return m.quit()
			}
		}
		return m, tea.Tick(refresh, func(time.Time) tea.Msg { return tick{} })
	}
	return m, nil
}

func (m live) quit() (tea.Model, tea.Cmd) {
	m.over = true
	return m, tea.Quit
}

// View renders the last answer, nothing once the view is left.
func (m live) View() tea.View {
	if m.over {
		return tea.NewView("")
	}
	text := view(m.latest, time.Now(), m.styles)
	if m.trouble != nil {
		text += "\n" + m.styles.bad.Render(clean(m.trouble.Error())) + "\n"
	}
	text += "\n" + m.styles.dim.Render("q leaves the view; the release goes on")
	return tea.NewView(fit(text, m.width, m.height))
}

// fit wraps text to the terminal's width and, if it is too high, drops lines
// from the top: what happens and what to do next stands at the bottom.
func fit(text string, width, height int) string {
	if width <= 0 || height <= 0 {
		return text
	}
	lines := strings.Split(lipgloss.Wrap(text, width, ""), "\n")
	return strings.Join(lines[max(0, len(lines)-height):], "\n")
}
