package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

func TestSinceCountsWhatIsNew(t *testing.T) {
	before := load{Sent: 100, Answers: map[string]map[string]int{"v1": {"200": 98}, "none": {"503": 1}}, Lost: map[string]int{"connection": 1}}
	now := load{
		Sent:    130,
		Answers: map[string]map[string]int{"v1": {"200": 110}, "v3": {"200": 10, "500": 5}, "none": {"503": 3}},
		Lost:    map[string]int{"connection": 2},
	}
	require.Equal(t, "Meanwhile 30 payments: 2 answered 503 by the ingress itself, 12 answered 200 by v1, "+
		"10 answered 200 by v3, 5 answered 500 by v3; 1 without an answer.", now.since(before))
}

func TestMessagesAreReadableOnATerminal(t *testing.T) {
	require.Equal(t, "payments-api → prod waits, see CHG-1 & <more>",
		firstLine(":hourglass: *payments-api* → `prod` waits, see <https://t.example/1|CHG-1> &amp; &lt;more&gt;\nsecond line"))
}

// What the demo shows can be typed into a shell.
func TestShownCommandsAreWhatAShellReads(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		args := rapid.SliceOfN(rapid.StringMatching(`[a-z=:/@'"$& ;|<>()-]{1,12}`), 1, 4).Draw(r, "args")
		script := `for a in ` + shellText(args) + `; do printf '%s\n' "$a"; done`
		out, err := exec.CommandContext(t.Context(), "sh", "-c", script).Output()
		require.NoError(r, err, script)
		require.Equal(r, args, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), script)
	})
}

func TestForwardCarriesRequestsBothWays(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer target.Close()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := listener.Addr().String()
	require.NoError(t, listener.Close())

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- forward(ctx, at, strings.TrimPrefix(target.URL, "http://")) }()
	require.Eventually(t, func() bool { return proc.TCPReady(at)(ctx) == nil }, 20*time.Second, 10*time.Millisecond)
	said := strings.Repeat("payload ", 100_000)
	response, err := http.Post("http://"+at, "text/plain", strings.NewReader(said))
	require.NoError(t, err)
	defer response.Body.Close()
	heard, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, said, string(heard))
	stop()
	require.NoError(t, <-ended)
}
