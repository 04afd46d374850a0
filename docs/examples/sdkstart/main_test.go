package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/signals"
)

func TestMain(m *testing.M) {
	code := m.Run()
	apitest.StopTemporal()
	os.Exit(code)
}

func TestTheExampleStartsAReleaseAndReadsItsOutcome(t *testing.T) {
	gateway := apitest.Start(t, apitest.Options{Issuer: "http://127.0.0.1"})
	request := signals.Request{
		Service: "payments-api", Environment: "staging", Image: "registry.example/payments-api:v2",
		Commit: "4f1c0d2e3b4a59687766554433221100ffeeddcc", Reason: apitest.ReasonPromote,
	}
	outcome, err := release(t.Context(), gateway.Temporal, request)
	require.NoError(t, err)
	assert.Equal(t, signals.Promoted, outcome.Kind)
	assert.Equal(t, "staging", outcome.Environment)

	request.Reason = apitest.ReasonFail
	_, err = release(t.Context(), gateway.Temporal, request)
	require.ErrorContains(t, err, "stable could not be restored")

	request.Commit = "abc"
	_, err = release(t.Context(), gateway.Temporal, request)
	require.ErrorContains(t, err, "commit", "told before anything is started")
}
