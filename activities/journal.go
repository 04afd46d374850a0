package activities

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// lateEntries is how long after its expiry a command to a lane may still be
// written down: it took effect when it was given, and the worker may be away.
const lateEntries = 24 * time.Hour

// entrySkew is how far the gateway's clock may be ahead of the worker's.
const entrySkew = time.Minute

// Journal reads what is handed to the journal. Gateway is the keys by which its
// entries are believed.
type Journal struct {
	Gateway []signals.PublicKey
}

// OpenEntries verifies entries of the journal and says, one for one, what each is
// recorded as, or why it is not recorded.
func (j *Journal) OpenEntries(_ context.Context, entries []signals.Message) ([]signals.JournalRecord, error) {
	now := time.Now()
	records := make([]signals.JournalRecord, len(entries))
	for i, m := range entries {
		record, err := j.open(m.Envelope, now)
		if err != nil {
			record = signals.JournalRecord{Problem: err.Error()}
		}
		records[i] = record
	}
	return records, nil
}

func (j *Journal) open(e signals.Envelope, now time.Time) (signals.JournalRecord, error) {
	switch e.PayloadType {
	case signals.RefusalPayload:
		var s signals.RefusalStatement
		if err := e.OpenInto(e.PayloadType, j.Gateway, now, &s); err != nil {
			return signals.JournalRecord{}, err
		}
		if s.Release != signals.JournalID {
			return signals.JournalRecord{}, fmt.Errorf("it was signed for %q, and not for the journal", s.Release)
		}
		return entry(signals.RecordRefusal, "gateway", e, s.Binding, s.ExpiresAt, now, signals.JournalRefusalPredicate{Statement: s, Envelope: e})
	case signals.LaneCommandPayload:
		var s signals.LaneCommandStatement
		if err := e.OpenInto(e.PayloadType, j.Gateway, now, &s); err != nil {
			return signals.JournalRecord{}, err
		}
		if !strings.HasPrefix(s.Release, "lane/") {
			return signals.JournalRecord{}, fmt.Errorf("it was signed for %q, which is no lane", s.Release)
		}
		return entry(signals.RecordCommand, s.Release, e, s.Binding, s.ExpiresAt.Add(lateEntries), now, signals.LaneCommandPredicate{Statement: s, Envelope: e})
	}
	return signals.JournalRecord{}, fmt.Errorf("payload type %q is nothing that the journal keeps", e.PayloadType)
}

// entry is the record of a statement that verified, if it is of this time.
func entry(kind signals.RecordKind, about string, e signals.Envelope, b signals.Binding, until, now time.Time, predicate any) (signals.JournalRecord, error) {
	switch {
	case b.Nonce == "":
		return signals.JournalRecord{}, fmt.Errorf("it carries no nonce")
	case now.After(until):
		return signals.JournalRecord{}, fmt.Errorf("it expired at %s", b.ExpiresAt.UTC().Format(time.RFC3339))
	case b.IssuedAt.After(now.Add(entrySkew)):
		return signals.JournalRecord{}, fmt.Errorf("it is dated %s, which is in the future", b.IssuedAt.UTC().Format(time.RFC3339))
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return signals.JournalRecord{}, err
	}
	body, err := json.Marshal(predicate)
	return signals.JournalRecord{
		Kind: kind, Nonce: b.Nonce, Predicate: body,
		Subject: signals.RecordSubject{Name: about, Digest: signals.Digest(payload)},
	}, err
}
