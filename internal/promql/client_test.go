package promql

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/promql/promtest"
	"github.com/waybill-dev/waybill/internal/testtools"
)

var _ activities.Telemetry = (*Client)(nil)

func TestQuery(t *testing.T) {
	binary, err := testtools.Tool(t.Context(), "prometheus")
	require.NoError(t, err)
	target := promtest.NewTarget(t)
	target.Add(`requests_total{code="200"}`, 40)
	target.Add(`requests_total{code="500"}`, 2)
	target.Add(`idle_total`, 0)
	server := promtest.Start(t, binary, target)
	client, err := New(server.URL)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		v, err := client.Query(t.Context(), `sum(requests_total)`)
		return err == nil && v == 42
	}, 30*time.Second, 50*time.Millisecond)
	v, err := client.Query(t.Context(), `scalar(requests_total{code="500"})`)
	require.NoError(t, err)
	require.InDelta(t, 2, v, 0)

	for query, says := range map[string]string{
		`requests_total`:                  "2 series where one is wanted",
		`missing_total`:                   "no series",
		`idle_total / idle_total`:         "the value is NaN",
		`sum(requests_total) / 0`:         "the value is +Inf",
		`requests_total{code="200"}[10s]`: "the query gives a matrix",
		`"text"`:                          "unexpected value type",
		`sum(`:                            "refuses the query (bad_data)",
	} {
		_, err := client.Query(t.Context(), query)
		require.ErrorContains(t, err, says, query)
	}

	target.Drop(`idle_total`)
	require.Eventually(t, func() bool {
		_, err := client.Query(t.Context(), `idle_total`)
		return err != nil && err.Error() == "no series: the query matches nothing, or its series went stale"
	}, 30*time.Second, 50*time.Millisecond, "a series that is no longer exposed goes stale")

	server.Kill()
	_, err = client.Query(t.Context(), `sum(requests_total)`)
	require.ErrorContains(t, err, "can't be reached")
}

func TestServerInTrouble(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.FormValue("query") {
		case "hang":
			<-hang
		case "unavailable":
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "starting up")
		default:
			fmt.Fprint(w, "<html>a proxy's page</html>")
		}
	}))
	defer server.Close()
	defer close(hang)
	client, err := New(server.URL)
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = client.Query(ctx, "hang")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "did not answer in time")
	_, err = client.Query(t.Context(), "unavailable")
	require.ErrorContains(t, err, "server_error")
	_, err = client.Query(t.Context(), "anything")
	require.Error(t, err)
}
