package slackapp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/slackemu"
	"github.com/waybill-dev/waybill/signals"
)

// connected runs the app by Socket Mode until the test ends, or stop is called.
func connected(t *testing.T, w *workspace, o *office, change ...func(*AppOptions)) (stop func()) {
	t.Helper()
	app := w.startApp(t, o, directory("release-lead"), append(change, func(o *AppOptions) {
		o.AppToken, o.SigningSecret = "xapp-emulator", ""
	})...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	stop = func() {
		cancel()
		require.NoError(t, <-ended)
		ended <- nil
	}
	t.Cleanup(stop)
	w.waitForSockets(t, 1)
	return stop
}

func (w *workspace) waitForSockets(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		app, err := w.App(t.Context())
		return err == nil && app.Sockets == n
	}, 20*time.Second, 20*time.Millisecond)
}

func TestSocketModeDecidesAsHTTPDoes(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{SocketMode: true}), newOffice()
	connected(t, w, o)
	at, err := w.messenger().Publish(t.Context(), published())
	require.NoError(t, err)
	seen := w.submit(t, w.click(t, "release-lead", at, actionApprove), "Read the diff.")
	require.NotNil(t, seen.View)
	assert.Equal(t, "Recorded", seen.View.Title)
	require.Len(t, o.decisions(), 1)
	assert.Equal(t, "id-release-lead", o.by[0].Subject.ID)

	line, err := w.Type(t.Context(), slackemu.Slash{User: "release-lead", Channel: "releases", Text: "/waybill freeze payments-api prod the audit"})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(line.Messages, "\n"), "frozen")

	seen = w.click(t, "stranger", at, actionApprove)
	assert.NotEmpty(t, seen.Warning, "what is refused is not acknowledged")
	assert.NotEmpty(t, o.refusals())
}

// insist clicks until the app is connected again, as people do.
func (w *workspace) insist(t *testing.T, at signals.MessageRef) slackemu.Seen {
	t.Helper()
	var seen slackemu.Seen
	require.Eventually(t, func() bool {
		var err error
		seen, err = w.Click(t.Context(), slackemu.Click{User: "release-lead", Channel: at.Channel, TS: at.ID, Button: actionApprove})
		return err == nil && seen.View != nil
	}, 20*time.Second, 50*time.Millisecond)
	return seen
}

func TestSocketModeComesBack(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{SocketMode: true}), newOffice()
	connected(t, w, o)
	at, err := w.messenger().Publish(t.Context(), published())
	require.NoError(t, err)
	require.NoError(t, w.Disconnect(t.Context()), "as Slack does every few hours")
	w.submit(t, w.insist(t, at), "Read the diff.")
	require.Len(t, o.decisions(), 1)

	require.NoError(t, w.Faults(t.Context(), slackemu.Faults{Down: signals.Duration(300 * time.Millisecond)}))
	w.waitForSockets(t, 0)
	w.waitForSockets(t, 1)
	w.submit(t, w.insist(t, at), "Read it again.")
	require.Len(t, o.decisions(), 2)
}

func TestStoppingAnswersWhatIsUnderWay(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{SocketMode: true}), newOffice()
	stop := connected(t, w, o)
	at, err := w.messenger().Publish(t.Context(), published())
	require.NoError(t, err)
	opened := w.click(t, "release-lead", at, actionApprove)
	o.mu.Lock()
	o.wait = 300 * time.Millisecond
	o.mu.Unlock()
	go func() {
		for len(o.decisions()) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
	}()
	seen := w.submit(t, opened, "Read the diff.")
	require.Empty(t, seen.Warning)
	assert.Equal(t, "Recorded", seen.View.Title)
}

func TestSocketModeNeedsAnAppToken(t *testing.T) {
	w, o := startWorkspace(t, slackemu.Options{}), newOffice()
	require.ErrorContains(t, w.startApp(t, o, directory()).Run(t.Context()), "connections:write")
}
