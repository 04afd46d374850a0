package evidencetest

import (
	"context"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/signals"
)

// TellJournal returns the records of one run of the journal without their place
// in the chain, and how it ended: a freeze, and a refusal of the gateway.
func TellJournal(t T, run string, begin time.Time, gateway evidence.Signer) ([]signals.RecordInput, signals.Outcome) {
	t.Helper()
	begin = begin.UTC()
	binding := func(release, nonce string) signals.Binding {
		return signals.Binding{Release: release, Nonce: nonce, IssuedAt: begin, ExpiresAt: begin.Add(time.Hour)}
	}
	freeze := signals.LaneCommandStatement{
		Binding: binding(signals.LaneID("prod", "payments-api"), "freeze-"+run), Command: signals.Freeze,
		Until: begin.Add(time.Hour), Reason: "the quarter closes", Operator: person("on-call", "payments-oncall"),
		Authn: signals.Authentication{Method: "oidc", At: begin, Channel: "cli"},
	}
	refusal := signals.RefusalStatement{
		Binding: binding(signals.JournalID, "refusal-"+run), What: "slack-user", Channel: "slack",
		Reasons: []string{"the member is a guest of the workspace"}, Claimed: "T01/U02", About: "payments-api-prod-1", Count: 3,
	}
	record := func(kind signals.RecordKind, at time.Time, predicate any) signals.RecordInput {
		return signals.RecordInput{
			Header: signals.RecordHeader{
				Environment: signals.JournalEnvironment, Service: signals.JournalService,
				Release: signals.JournalRelease(run), Run: run, At: at,
			},
			Kind: kind, Subjects: []signals.RecordSubject{{Name: "entry", Digest: NewDigest}}, Predicate: Predicate(t, predicate),
		}
	}
	inputs := []signals.RecordInput{
		record(signals.RecordCommand, begin, signals.LaneCommandPredicate{
			Statement: freeze, Envelope: sealed(t, gateway, signals.LaneCommandPayload, freeze),
		}),
		record(signals.RecordRefusal, begin.Add(time.Minute), signals.JournalRefusalPredicate{
			Statement: refusal, Envelope: sealed(t, gateway, signals.RefusalPayload, refusal),
		}),
	}
	return inputs, signals.Outcome{
		Kind: signals.Recorded, Release: signals.JournalRelease(run), Run: run,
		Environment: signals.JournalEnvironment, Service: signals.JournalService,
		StartedAt: begin, EndedAt: begin.Add(time.Hour),
	}
}

// sealed is a statement in the gateway's envelope.
func sealed(t T, gateway evidence.Signer, payloadType string, statement any) signals.Envelope {
	t.Helper()
	payload := Predicate(t, statement)
	sig, err := gateway.Sign(context.Background(), dsse.PAE(payloadType, payload))
	if err != nil {
		t.Fatalf("sign a statement: %v", err)
	}
	return envelope(payloadType, payload, gateway.KeyID(), sig)
}
