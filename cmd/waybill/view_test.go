package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

var update = flag.Bool("update", false, "write the golden files anew")

// moment is a release in the middle of things, seen at noon.
func moment() (wire.Release, time.Time) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	digest := signals.Digest([]byte("image"))
	return wire.Release{
		Execution: wire.Execution{State: wire.Running, StartedAt: noon.Add(-time.Minute)},
		Status: signals.Status{
			Release: "payments-api-prod-1", Run: "run-1", Service: "payments-api", Environment: "prod", Tier: 2,
			Artifact: signals.Artifact{Repository: "registry.example/payments-api", Digest: digest},
			Commit:   strings.Repeat("4f1c", 10), Ticket: "CHG-1042", Requester: "ci", PlanDigest: signals.Digest([]byte("plan")),
			Phase: signals.Canary, Doing: "watching 5%", Weight: 5, Refused: 1,
			Gates: []signals.Gate{
				{Name: "verification", State: "passed", Detail: "signature by payments-ci, provenance, tests"},
				{Name: "approval", State: "passed", Detail: "release-lead and risk-officer"},
				{Name: "baseline", State: "failed", Detail: "p99 too high"},
				{Name: "canary", State: "running", Detail: "watching 5%", Until: noon.Add(42 * time.Second)},
				{Name: "ramp", State: "waiting"},
				{Name: "bake", State: "skipped"},
			},
			Approval: signals.ApprovalStatus{Given: []signals.ApprovalView{
				{Decision: signals.Approve, By: "release-lead", Place: "payments-leads", Reason: "read the diff"},
				{Decision: signals.Approve, By: "risk-officer", Reason: "fine", Void: "left the group risk"},
			}},
			Paused:   "on-call: lunch",
			Pending:  []signals.PendingCommand{{ID: "c0ffee", Command: signals.Skip, By: "on-call", Reason: "known noise"}},
			Excluded: []signals.Exclusion{{Identity: "developer@payments.example", As: "author"}},
			Next:     []signals.NextAction{{Who: "on-call", What: "stop it and put everything back", Command: "waybill abort payments-api-prod-1 --reason '…'"}},
			Live: &signals.WatchProgress{Phase: signals.Canary, Weight: 5, Taken: 7, Extension: 1, Ends: noon.Add(42 * time.Second), Checks: []signals.CheckResult{
				{Check: "errors", Verdict: signals.Pass, Canary: new(0.00213), Stable: new(0.002), Bound: "≤ 1% and ≤ 2 × stable", Reason: "canary 0.213% on 812 samples"},
				{Check: "p99", Verdict: signals.Insufficient, Bound: "≤ 0.3 s", Reason: "12 samples, want 20"},
			}},
		},
	}, noon
}

func ended() (wire.Release, time.Time) {
	r, noon := moment()
	r.Execution.State, r.Live, r.Weight = wire.Completed, nil, 0
	r.Windows = []signals.WindowStatus{{Phase: signals.Canary, Weight: 5, Verdict: signals.Fail, Reason: "errors over the bound", Checks: []signals.CheckResult{
		{Check: "errors", Verdict: signals.Fail, Canary: new(0.08), Stable: new(0.002), Bound: "≤ 1%", Reason: "8% of 250 requests failed"},
	}}}
	r.Outcome = &signals.Outcome{
		Kind: signals.RolledBack, Phase: signals.Canary, Reasons: []string{"check errors failed at 5%"},
		Manifest: &signals.RecordRef{Sequence: 17, Digest: signals.Digest([]byte("manifest"))},
		Rollback: &signals.RollbackReport{
			Trigger: "check", From: r.Artifact.Digest, To: signals.Digest([]byte("old")), Duration: signals.Duration(2345 * time.Millisecond),
			Steps: []signals.UndoStep{
				{Name: "weight to stable", Duration: signals.Duration(410 * time.Millisecond), Observed: "stable 100%, canary 0%"},
				{Name: "remove canary", Duration: signals.Duration(time.Second), Error: "timed out"},
			},
		},
	}
	return r, noon
}

func TestViewIsAsDrawn(t *testing.T) {
	failed, noon := moment()
	failed.Execution = wire.Execution{State: wire.Failed, Failure: "stable could not be restored"}
	running, _ := moment()
	rolledBack, _ := ended()
	approving, _ := moment()
	approving.Phase, approving.Weight, approving.Live = signals.Approving, 0, nil
	for name, r := range map[string]wire.Release{"approving": approving, "running": running, "rolled-back": rolledBack, "failed": failed} {
		t.Run(name, func(t *testing.T) {
			got := view(r, noon, newStyles(&bytes.Buffer{}))
			path := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(want), got)
		})
	}
}

func TestForeignTextCannotSteerTheTerminal(t *testing.T) {
	r, noon := moment()
	r.Approval.Given[0].Reason = "fine\x1b[2J\x1b]0;owned\a\nnext: nothing\u202e"
	r.Service = "pay\rments"
	for _, text := range []string{view(r, noon, newStyles(&bytes.Buffer{})), whatShips(r), strings.Join(changes(wire.Release{}, r), "|")} {
		assert.NotContains(t, text, "\x1b")
		assert.NotContains(t, text, "\r")
		assert.NotContains(t, text, "\a")
		assert.NotContains(t, text, "\u202e")
	}
}

func TestChangesAreToldOnce(t *testing.T) {
	now, _ := moment()
	first := changes(wire.Release{}, now)
	assert.Contains(t, first, "canary gets 5% of the traffic")
	assert.Contains(t, first, "canary at 5%: errors pass: canary 0.213% on 812 samples (≤ 1% and ≤ 2 × stable)")
	assert.Contains(t, first, "next: on-call can stop it and put everything back: waybill abort payments-api-prod-1 --reason '…'")
	assert.NotContains(t, strings.Join(first, "\n"), "ramp", "what waits is no news")
	assert.Contains(t, first, "paused by on-call: lunch")
	assert.Contains(t, first, "skip by on-call waits for somebody's approval: “known noise” (command c0ffee)")
	assert.Contains(t, first, "approve by risk-officer no longer counts: left the group risk")
	assert.Empty(t, changes(now, now))
	resumed, _ := moment()
	resumed.Paused = ""
	assert.Equal(t, []string{"goes on after the pause"}, changes(now, resumed))

	later, _ := moment()
	later.Live.Checks[1].Verdict = signals.Fail
	later.Live.Checks[1].Reason = "canary 0.9 s on 40 samples"
	assert.Equal(t, []string{"canary at 5%: p99 fail: canary 0.9 s on 40 samples (≤ 0.3 s)"}, changes(now, later))

	gone, _ := moment()
	gone.Execution.State = wire.Terminated
	assert.Equal(t, []string{"ended: Terminated"}, changes(now, gone))
}

func TestApproversSeeTheWholeDigests(t *testing.T) {
	r, _ := moment()
	text := whatShips(r)
	for _, want := range []string{r.Artifact.Reference(), r.PlanDigest, r.Commit, "CHG-1042", "prod (tier 2)"} {
		assert.Contains(t, text, want)
	}
}

func TestASmallTerminalShowsTheBottom(t *testing.T) {
	r, noon := moment()
	text := strings.TrimRight(view(r, noon, newStyles(&bytes.Buffer{})), "\n")
	lines := strings.Split(fit(text, 200, 5), "\n")
	require.Len(t, lines, 5)
	assert.Contains(t, lines[4], "waybill abort")
	for line := range strings.SplitSeq(fit(text, 30, 1000), "\n") {
		assert.LessOrEqual(t, lipgloss.Width(line), 30, line)
	}
	assert.Equal(t, text, fit(text, 0, 0), "before the size is known")
}
