package desk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/signals"
)

// mailbox is a Temporal that only takes entries of the journal, and can be down.
type mailbox struct {
	client.Client
	mu      sync.Mutex
	down    bool
	entries []signals.RefusalStatement
}

func (m *mailbox) SignalWithStartWorkflow(_ context.Context, id, signal string, arg any, options client.StartWorkflowOptions, workflow any, _ ...any) (client.WorkflowRun, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errors.New("unavailable")
	}
	if id != signals.JournalID || options.ID != id || signal != signals.JournalEntry || workflow != signals.JournalWorkflow || options.TaskQueue != signals.ReleaseQueue {
		return nil, fmt.Errorf("%s to %s", signal, id)
	}
	payload, err := base64.StdEncoding.DecodeString(arg.(signals.Message).Envelope.Payload)
	if err != nil {
		return nil, err
	}
	var s signals.RefusalStatement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, err
	}
	m.entries = append(m.entries, s)
	return nil, nil
}

func (m *mailbox) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, e := range m.entries {
		n += e.Count
	}
	return n
}

type plainSigner struct{}

func (plainSigner) Sign(payloadType string, payload any) (signals.Envelope, error) {
	raw, err := json.Marshal(payload)
	return signals.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(raw)}, err
}

func openDesk(t *testing.T, m *mailbox) *Desk {
	t.Helper()
	return New(Options{Temporal: m, Signer: plainSigner{}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
}

func TestEqualRefusalsAreCountedTogether(t *testing.T) {
	m := &mailbox{}
	d := openDesk(t, m)
	for range 1000 {
		d.Refuse(Refusal{What: "slack-request", Channel: "slack", Reasons: []string{"bad signature"}, Remote: "192.0.2.1"})
		d.Refuse(Refusal{What: "slack-request", Channel: "slack", Reasons: []string{"bad signature"}, Remote: "192.0.2.2", Message: "sha256:1"})
	}
	require.NoError(t, d.Close(t.Context()))
	assert.Equal(t, 2000, m.total(), "each one is counted")
	assert.Less(t, len(m.entries), 20, "and few are written down")
	for _, e := range m.entries {
		assert.Equal(t, signals.JournalID, e.Release)
		assert.NotEmpty(t, e.Nonce)
		assert.True(t, e.ExpiresAt.After(e.IssuedAt))
	}
}

func TestAFloodOfDifferentRefusalsIsBounded(t *testing.T) {
	m := &mailbox{}
	d := openDesk(t, m)
	const sent = refusalsQueued + 5*refusalsPending
	for i := range sent {
		d.Refuse(Refusal{What: "token", Channel: "api", Claimed: fmt.Sprint("somebody ", i)})
	}
	require.NoError(t, d.Close(t.Context()))
	assert.LessOrEqual(t, len(m.entries), refusalsPending+refusalsAtOnce+refusalsPerSec)
	assert.NotEmpty(t, m.entries)
	assert.InDelta(t, sent, float64(m.total())+testutil.ToFloat64(d.journal.dropped), 0, "what isn't written down is counted")
	assert.InDelta(t, sent, testutil.ToFloat64(d.journal.refused.WithLabelValues("token", "api")), 0)
}

func TestRefusalsWaitForTheJournal(t *testing.T) {
	m := &mailbox{down: true}
	d := openDesk(t, m)
	d.Refuse(Refusal{What: "login", Channel: "web", Reasons: []string{"old"}})
	time.Sleep(2 * refusalsWindow)
	require.Zero(t, m.total())
	m.mu.Lock()
	m.down = false
	m.mu.Unlock()
	require.Eventually(t, func() bool { return m.total() == 1 }, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, d.Close(t.Context()))

	m.down = true
	d = openDesk(t, m)
	d.Refuse(Refusal{What: "login", Channel: "web"})
	require.ErrorContains(t, d.Close(t.Context()), "unavailable", "what is lost is told")
	require.NoError(t, d.Close(t.Context()), "closing twice does no harm")
}

func TestForeignTextIsCut(t *testing.T) {
	long := strings.Repeat("ü", longestText)
	r := Refusal{Reasons: make([]string, 50), Claimed: long, About: "a\xffb"}.bounded()
	assert.Len(t, r.Reasons, mostReasons)
	assert.LessOrEqual(t, len(r.Claimed), longestText+len("…"))
	assert.Equal(t, "a\uFFFDb", r.About)
}
