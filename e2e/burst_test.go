package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// A burst is approved by that many people, each of its releases by five of them.
const (
	burstPeople   = 8
	approversEach = 5
)

// TestApprovalBurst lets many people approve many releases in Slack at once,
// while Slack delivers each click several times and the gateway is killed and
// comes back: every approval counts exactly once.
func TestApprovalBurst(t *testing.T) { burst(t, 8) }

// burst has releases approved by five people each and returns how long each
// click took until the release had taken it.
func burst(tb testing.TB, releases int) []time.Duration {
	tb.Helper()
	service := fmt.Sprintf("payments-burst-%d", releases)
	burstCatalog(tb, service)
	freezeLane(tb, "staging", service)
	ids := startMany(tb, service, releases)
	require.NoError(tb, workspace().Faults(tb.Context(), slackemu.Faults{Repeats: 2, Retries: 2}))
	tb.Cleanup(func() {
		require.NoError(tb, workspace().Faults(context.WithoutCancel(tb.Context()), slackemu.Faults{}))
	})

	approvers := map[string][]string{} // by release
	work := make([][]string, burstPeople)
	for i, id := range ids {
		for j := range approversEach {
			person := (i + j) % burstPeople
			approvers[id] = append(approvers[id], approver(person))
			work[person] = append(work[person], id)
		}
		slices.Sort(approvers[id])
	}
	asked := burstMessages(tb, ids)
	var mu sync.Mutex
	var took []time.Duration
	var kill sync.Once
	group := errgroup.Group{}
	for person, releases := range work {
		group.Go(func() error { // a person has one screen: one click after the other
			for i, id := range releases {
				if i == len(releases)/2 {
					kill.Do(func() { killGateway(tb) })
				}
				d, err := clickUntilCounted(tb, asked[id], approver(person), id)
				if err != nil {
					return err
				}
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
			return nil
		})
	}
	require.NoError(tb, group.Wait())
	for _, id := range ids {
		awaitQueued(tb, id)
		var counted []string
		for _, p := range predicates[signals.ApprovalPredicate](tb, "v1/staging/"+service+"/"+id+"/", signals.RecordApproval) {
			counted = append(counted, p.Statement.Approver.ID)
		}
		slices.Sort(counted)
		require.Equal(tb, approvers[id], counted, "release %s", id)
	}
	end(tb, ids)
	return took
}

func approver(person int) string { return fmt.Sprintf("approver-%d", person+1) }

// clickUntilCounted is a person who tries again when Slack says that it did not
// work, as people do. It returns the time of the submission that was answered.
func clickUntilCounted(tb testing.TB, m slackemu.Message, member, release string) (time.Duration, error) {
	tb.Helper()
	var last slackemu.Seen
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		opened, err := workspace().Click(tb.Context(), slackemu.Click{User: member, Channel: m.Channel, TS: m.TS, Button: buttonApprove})
		if err != nil {
			return 0, err
		}
		if last = opened; opened.View == nil || !slices.Contains(opened.View.Inputs, "text") {
			if strings.Contains(said(opened), "has decided") {
				return 0, nil // an earlier submission had arrived, its answer was lost
			}
			continue
		}
		began := time.Now()
		if last, err = workspace().Submit(tb.Context(), opened.View.ID, map[string]string{"rationale": "Part of a burst"}); err != nil {
			return 0, err
		}
		text := said(last)
		if strings.Contains(text, "approved") || strings.Contains(text, "quorum is complete") {
			return time.Since(began), nil
		}
		if strings.Contains(text, "has decided") {
			return 0, nil
		}
	}
	return 0, fmt.Errorf("%s could not approve %s: %s", member, release, said(last))
}

// burstMessages waits until all releases are asked about in Slack.
func burstMessages(tb testing.TB, ids []string) map[string]slackemu.Message {
	tb.Helper()
	asked := map[string]slackemu.Message{}
	for deadline := time.Now().Add(5 * time.Minute); len(asked) < len(ids); time.Sleep(time.Second) {
		require.True(tb, time.Now().Before(deadline), "only %d of %d releases are in Slack", len(asked), len(ids))
		for _, m := range messages(tb, releasesChannel, "") {
			if id, _ := m.Event["release"].(string); slices.Contains(ids, id) && asksToDecide(m) {
				asked[id] = m
			}
		}
	}
	return asked
}

// burstCatalog adds a service whose staging releases five people approve.
func burstCatalog(tb testing.TB, service string) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "catalog", "payments-api.yaml"))
	require.NoError(tb, err)
	changed := strings.NewReplacer("service: payments-api", "service: "+service, "namespace: payments-", "namespace: "+service+"-").Replace(string(text))
	const limits = "    limits: {approval: 10m, queue: 30m}\n"
	require.Contains(tb, changed, limits)
	changed = strings.Replace(changed, limits, limits+fmt.Sprintf(
		"    approval: {groups: [{group: approvers, count: %d}]}\n    notify: {channel: \"#%s\"}\n", approversEach, releasesChannel), 1)
	file := filepath.Join(stack.dir, "catalog", service+".yaml")
	require.NoError(tb, os.WriteFile(file, []byte(changed), 0o600))
	tb.Cleanup(func() { _ = os.Remove(file) })
}

// freezeLane keeps approved releases from going on.
func freezeLane(tb testing.TB, environment, service string) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		// The worker reads a changed catalog within moments.
		return waybill(tb, "on-call", "lane", "freeze", environment, service, "--reason=A burst of approvals is measured").code == 0
	}, time.Minute, time.Second)
}

func startMany(tb testing.TB, service string, n int) []string {
	tb.Helper()
	v := image(tb, "v2")
	ids := make([]string, n)
	group := errgroup.Group{}
	group.SetLimit(16)
	for i := range ids {
		ids[i] = fmt.Sprintf("burst-%s-%03d", time.Now().UTC().Format("150405"), i)
		group.Go(func() error {
			body, err := json.Marshal(map[string]string{"service": service, "environment": "staging", "image": v.Image, "commit": v.Commit, "ticket": "CHG-2060"})
			if err != nil {
				return err
			}
			for range 100 {
				code, answer := api(tb, "ci", http.MethodPost, "/v1/releases?id="+ids[i], string(body))
				switch code {
				case http.StatusAccepted:
					return nil
				case http.StatusTooManyRequests:
					time.Sleep(500 * time.Millisecond)
				default:
					return fmt.Errorf("start %s: %d %s", ids[i], code, answer)
				}
			}
			return fmt.Errorf("start %s: still too many requests", ids[i])
		})
	}
	require.NoError(tb, group.Wait())
	return ids
}

// awaitQueued waits until a release has its approvals and waits for its lane.
func awaitQueued(tb testing.TB, id string) {
	tb.Helper()
	awaitPhase(tb, id, signals.Queueing)
}

// end cancels what waits for the frozen lane, and waits for the papers.
func end(tb testing.TB, ids []string) {
	tb.Helper()
	c := dial(tb)
	for _, id := range ids {
		require.NoError(tb, c.CancelWorkflow(tb.Context(), id, ""))
	}
	for _, id := range ids {
		var out signals.Outcome
		require.NoError(tb, c.GetWorkflow(tb.Context(), id, "").Get(tb.Context(), &out))
	}
}

// killGateway ends the gateway with SIGKILL; the stack starts it again.
func killGateway(tb testing.TB) {
	tb.Helper()
	killing.Lock()
	defer killing.Unlock()
	before := pidOf(tb, "gateway")
	require.NoError(tb, syscall.Kill(before, syscall.SIGKILL))
	require.Eventually(tb, func() bool {
		if pidOf(tb, "gateway") == before {
			return false
		}
		answer, err := apiClient.Get(stack.Gateway + "/readyz")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil && answer.StatusCode == http.StatusNoContent
	}, time.Minute, 50*time.Millisecond)
}

// BenchmarkApprovalBurst is how long a click takes, from Slack's delivery of a
// modal's submission to the release's answer, while 500 approvals of 100 releases
// come at once, Slack repeats each delivery and the gateway is killed in the
// middle.
func BenchmarkApprovalBurst(b *testing.B) {
	for b.Loop() {
		took := slices.DeleteFunc(burst(b, *bursting), func(d time.Duration) bool { return d == 0 })
		slices.Sort(took)
		report(b, float64(len(took)), "answered")
		report(b, took[len(took)/2].Seconds()*1000, "median-ms")
		report(b, took[len(took)*99/100].Seconds()*1000, "p99-ms")
		report(b, took[len(took)-1].Seconds()*1000, "most-ms")
	}
}
