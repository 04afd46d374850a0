package e2e

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/waybill-dev/waybill/signals"
)

// TestOutcomes brings about every outcome on the real stack. With WAYBILL_RECORD
// set to a folder (make replay-record) it keeps the history of each run there:
// these are the golden histories of replaytests.
func TestOutcomes(t *testing.T) {
	t.Run("promoted", func(t *testing.T) {
		release := start(t, "prod", "v2")
		approve(t, release)
		ended := outcome(t, release)
		require.Equal(t, signals.Promoted, ended.Kind, ended.Reasons)
		require.True(t, strings.HasSuffix(stableImage(t, "prod"), image(t, "v2").Digest))
		record(t, "promoted", release)
	})
	t.Run("rolled back", func(t *testing.T) {
		release := start(t, "prod", "v3")
		approve(t, release)
		ended := outcome(t, release)
		require.Equal(t, signals.RolledBack, ended.Kind, ended.Reasons)
		require.True(t, ended.Rollback.Complete)
		require.True(t, strings.HasSuffix(stableImage(t, "prod"), image(t, "v2").Digest))
		_, canary := weights(t, "prod")
		require.Zero(t, canary)
		record(t, "rolled-back", release)
	})
	t.Run("rejected: not signed", func(t *testing.T) {
		release := start(t, "prod", "v5")
		ended := outcome(t, release)
		require.Equal(t, signals.Rejected, ended.Kind)
		require.Equal(t, signals.Verifying, ended.Phase)
		record(t, "rejected", release)
	})
	t.Run("rejected: signed by a stranger", func(t *testing.T) {
		ended := outcome(t, start(t, "prod", "v6"))
		require.Equal(t, signals.Rejected, ended.Kind)
		require.Contains(t, strings.Join(ended.Reasons, " "), "payments-ci", "the refusal names the signer that was expected")
	})
	t.Run("denied", func(t *testing.T) {
		release := start(t, "prod", "v1")
		awaitPhase(t, release, signals.Approving)
		r := waybill(t, "risk-officer", "deny", release, "--reason=Not on a Friday", "--yes")
		require.Zero(t, r.code, r.stderr)
		ended := outcome(t, release)
		require.Equal(t, signals.Denied, ended.Kind)
		require.Equal(t, []string{"Not on a Friday"}, ended.Reasons)
		record(t, "denied", release)
	})
	t.Run("cancelled while it waits for approval", func(t *testing.T) {
		release := start(t, "prod", "v1")
		awaitPhase(t, release, signals.Approving)
		require.NoError(t, dial(t).CancelWorkflow(t.Context(), release, ""))
		ended := outcome(t, release)
		require.Equal(t, signals.Aborted, ended.Kind, ended.Reasons)
		require.Contains(t, ended.Reasons[0], "cancelled")
	})
	t.Run("expired", func(t *testing.T) {
		drill(t, "payments-drill", "{approval: 10m,", "{approval: 3s,", "limits: {approval: 5m}", "limits: {approval: 2s}", "remind: [5m, 1m]", "remind: [1s]")
		release := startOf(t, "payments-drill", "prod", "v1")
		ended := outcome(t, release)
		require.Equal(t, signals.Expired, ended.Kind, ended.Reasons)
		record(t, "expired", release)
	})
	for i, phase := range []signals.Phase{signals.Baseline, signals.Canary, signals.Ramp, signals.Bake} {
		t.Run("aborted in "+string(phase), func(t *testing.T) {
			before := stableImage(t, "staging")
			release := start(t, "staging", []string{"v1", "v2"}[i%2])
			await(t, release, "the window of "+string(phase), func(s signals.Status) bool {
				return s.Phase == phase && len(s.Windows) > 0 && s.Windows[len(s.Windows)-1].Phase == phase
			})
			r := waybill(t, "on-call", "abort", release, "--reason=Drill")
			require.Zero(t, r.code, r.stderr)
			ended := outcome(t, release)
			require.Equal(t, signals.Aborted, ended.Kind, ended.Reasons)
			require.Equal(t, phase, ended.Phase)
			require.Equal(t, before, stableImage(t, "staging"), "put back")
			_, canary := weights(t, "staging")
			require.Zero(t, canary)
			record(t, "aborted-"+string(phase), release)
		})
	}
	record(t, "lane", signals.LaneID("prod", "payments-api"))
	r := evidence(t, "verify")
	require.Zero(t, r.code, r.stdout+r.stderr)
}

// dial is a Temporal client on the stack.
func dial(tb testing.TB) client.Client {
	tb.Helper()
	c, err := client.Dial(client.Options{HostPort: stack.Temporal})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// record keeps a workflow's history as a golden one, if histories are asked for.
func record(t *testing.T, scenario, workflow string) {
	t.Helper()
	folder := os.Getenv("WAYBILL_RECORD")
	if folder == "" {
		return
	}
	var h historypb.History
	events := dial(t).GetWorkflowHistory(t.Context(), workflow, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		h.Events = append(h.Events, e)
	}
	text, err := protojson.Marshal(&h)
	require.NoError(t, err)
	version := os.Getenv("WAYBILL_RECORD_VERSION")
	require.NotEmpty(t, version, "say which version of the workflows is recorded, for example v1")
	file := filepath.Join(folder, scenario, version, time.Now().UTC().Format("20060102-150405")+".json.gz")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	f, err := os.Create(file)
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	_, err = z.Write(text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

// drill adds a service to the stack's catalog: the demo's, under another name and
// with texts replaced, each by the one after it. The daemon takes it up by itself.
func drill(tb testing.TB, name string, changes ...string) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(stack.dir, "catalog", "payments-api.yaml"))
	require.NoError(tb, err)
	// Two lanes may not change one Deployment, so the drill gets namespaces of its
	// own; they do not exist, and no drill gets as far as to need them.
	changed := strings.NewReplacer("service: payments-api", "service: "+name, "namespace: payments-", "namespace: "+name+"-").Replace(string(text))
	for i := 0; i < len(changes); i += 2 {
		require.Contains(tb, changed, changes[i])
		changed = strings.ReplaceAll(changed, changes[i], changes[i+1])
	}
	file := filepath.Join(stack.dir, "catalog", name+".yaml")
	require.NoError(tb, os.WriteFile(file, []byte(changed), 0o600))
	tb.Cleanup(func() { _ = os.Remove(file) })
}
