package activities_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

// roles is a catalog of one entry.
type roles struct{ entry catalog.Entry }

func (r roles) Entry(service, environment string) (catalog.Entry, error) {
	if service != "payments-api" {
		return catalog.Entry{}, mendableError{}
	}
	return r.entry, nil
}

type mendableError struct{}

func (mendableError) Error() string    { return "unknown service" }
func (mendableError) BadRequest() bool { return true }

// gatewayKey makes a gateway that signs, and the key that it is believed by.
func gatewayKey(t *testing.T, id string) (*auth.Signer, signals.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := auth.NewSigner(id, key)
	require.NoError(t, err)
	public, err := signer.PublicKey()
	require.NoError(t, err)
	return signer, public
}

func laneCommand(t *testing.T, by *auth.Signer, groups ...string) signals.LaneMessage {
	t.Helper()
	now := time.Now().UTC()
	envelope, err := by.Sign(signals.LaneCommandPayload, signals.LaneCommandStatement{
		Binding: signals.Binding{Release: signals.LaneID("prod", "payments-api"), Nonce: "n", IssuedAt: now, ExpiresAt: now.Add(time.Minute)},
		Command: signals.Freeze, Reason: "the quarter closes",
		Operator: signals.Subject{Issuer: "https://id.example", ID: "on-call", Groups: groups},
	})
	require.NoError(t, err)
	return signals.LaneMessage{
		LaneName: signals.LaneName{Environment: "prod", Service: "payments-api"}, Message: signals.Message{Envelope: envelope},
	}
}

func TestLaneCommandsAreOpenedByKeyAndGroup(t *testing.T) {
	gateway, public := gatewayKey(t, "gateway-1")
	stranger, _ := gatewayKey(t, "gateway-1")
	operated := roles{catalog.Entry{Roles: &signals.Roles{Operate: []string{"payments-oncall", "payments-leads"}}}}
	elsewhere := laneCommand(t, gateway, "payments-oncall")
	elsewhere.Service = "ledger"
	for name, tc := range map[string]struct {
		message signals.LaneMessage
		catalog roles
		kind    string
	}{
		"an operator":                       {laneCommand(t, gateway, "audit", "payments-leads"), operated, ""},
		"the gateway decides alone":         {laneCommand(t, gateway), roles{}, ""},
		"no list is no list":                {laneCommand(t, gateway), roles{catalog.Entry{Roles: &signals.Roles{Release: []string{"ci"}}}}, ""},
		"nobody of the operators":           {laneCommand(t, gateway, "payments-dev"), operated, signals.ErrNotAllowed},
		"signed by a stranger":              {laneCommand(t, stranger, "payments-oncall"), operated, signals.ErrUntrusted},
		"a service that nobody knows":       {elsewhere, operated, signals.ErrBadRequest},
		"no signature":                      {signals.LaneMessage{LaneName: elsewhere.LaneName}, operated, signals.ErrUntrusted},
		"a release's command, not a lane's": {release(t, gateway), operated, signals.ErrUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			lanes := &activities.Lanes{Catalog: tc.catalog, Gateway: []signals.PublicKey{public}}
			s, err := lanes.OpenLaneCommand(t.Context(), tc.message)
			if tc.kind == "" {
				require.NoError(t, err)
				require.Equal(t, signals.Freeze, s.Command)
				return
			}
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, tc.kind, app.Type())
			require.True(t, app.NonRetryable())
		})
	}
}

func release(t *testing.T, by *auth.Signer) signals.LaneMessage {
	t.Helper()
	envelope, err := by.Sign(signals.CommandPayload, signals.CommandStatement{Command: signals.Abort})
	require.NoError(t, err)
	return signals.LaneMessage{LaneName: signals.LaneName{Environment: "prod", Service: "payments-api"}, Message: signals.Message{Envelope: envelope}}
}

// A command may reach the journal late, but not for ever; the keys of a rotation
// both count while they do.
func TestJournalEntriesAreOfTheirTime(t *testing.T) {
	gateway, public := gatewayKey(t, "gateway-1")
	command := laneCommand(t, gateway).Message
	old := public
	old.NotAfter = time.Now().Add(-time.Minute)
	statement := signals.LaneCommandStatement{
		Binding: signals.Binding{Release: signals.LaneID("prod", "payments-api"), Nonce: "n", IssuedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(-time.Hour)},
	}
	sign := func() signals.Message {
		envelope, err := gateway.Sign(signals.LaneCommandPayload, statement)
		require.NoError(t, err)
		return signals.Message{Envelope: envelope}
	}
	late := sign()
	statement.ExpiresAt = time.Now().Add(-25 * time.Hour)
	tooLate := sign()
	statement.Release = "payments-api-prod-1"
	noLane := sign()
	journal := &activities.Journal{Gateway: []signals.PublicKey{public}}
	records, err := journal.OpenEntries(t.Context(), []signals.Message{command, late, tooLate, noLane})
	require.NoError(t, err)
	require.Empty(t, records[0].Problem)
	require.Equal(t, signals.RecordCommand, records[0].Kind)
	require.Equal(t, signals.LaneID("prod", "payments-api"), records[0].Subject.Name)
	require.True(t, signals.ValidDigest(records[0].Subject.Digest))
	require.Empty(t, records[1].Problem)
	require.Contains(t, records[2].Problem, "expired")
	require.Contains(t, records[3].Problem, "no lane")
	records, err = (&activities.Journal{Gateway: []signals.PublicKey{old}}).OpenEntries(t.Context(), []signals.Message{command})
	require.NoError(t, err)
	require.NotEmpty(t, records[0].Problem)
}

type fault struct {
	after     time.Duration
	permanent bool
}

func (f fault) Error() string             { return "chat.update of #releases: refused" }
func (f fault) RetryAfter() time.Duration { return f.after }
func (f fault) Permanent() bool           { return f.permanent }

// messenger answers with an error, if it has one.
type messenger struct{ err error }

func (m messenger) Publish(context.Context, signals.PublishInput) (signals.MessageRef, error) {
	return signals.MessageRef{Channel: "C1", ID: "1.1"}, m.err
}

func TestPublishingIsTriedAgainAtThePaceOfTheMessenger(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		delay time.Duration
	}{
		"limited":            {fault{after: 7 * time.Second}, 7 * time.Second},
		"limited, wrapped":   {errors.Join(errors.New("other"), fault{after: 7 * time.Second}), 7 * time.Second},
		"a person's to mend": {fault{permanent: true}, 5 * time.Minute},
		"passing":            {fault{}, 0},
		"any other":          {errors.New("connection refused"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (&activities.Notices{Messenger: messenger{tc.err}}).Publish(t.Context(), signals.PublishInput{})
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, tc.delay, app.NextRetryDelay())
			require.False(t, app.NonRetryable())
			require.Contains(t, app.Message(), tc.err.Error())
		})
	}
	out, err := (&activities.Notices{Messenger: messenger{}}).Publish(t.Context(), signals.PublishInput{})
	require.NoError(t, err)
	require.Equal(t, "1.1", out.Message.ID)
}
