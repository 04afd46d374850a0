package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// PayloadType is the media type of a record's DSSE payload.
const PayloadType = "application/vnd.in-toto+json"

// StatementType is the "_type" of an in-toto statement.
const StatementType = "https://in-toto.io/Statement/v1"

// Statement is an in-toto Statement v1. Predicate is the JSON object of the
// predicate with its "record" field.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Subject is what a statement is about; Digest maps "sha256" to hex.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// kinds are the kinds of record that are known.
var kinds = []signals.RecordKind{
	signals.RecordRequest, signals.RecordPlan, signals.RecordVerification, signals.RecordDecision, signals.RecordPermit,
	signals.RecordApproval, signals.RecordCommand, signals.RecordRefusal, signals.RecordLane, signals.RecordDeployment,
	signals.RecordAnalysis, signals.RecordRollback, signals.RecordVoid, signals.RecordBreakGlass, signals.RecordManifest,
}

// ownLanes keep the papers of what belongs to no service. A catalog name never
// begins with an underscore.
var ownLanes = []Lane{
	{signals.IntakeEnvironment, signals.IntakeService},
	journal,
}

// journal is the lane of what the gateway refused and of commands to lanes.
var journal = Lane{signals.JournalEnvironment, signals.JournalService}

// Payload builds the statement of a record: the exact bytes that are signed. The
// same input always gives the same bytes, so that a retry can recognise its own
// work. An error names the field that is out of form.
func Payload(in signals.RecordInput) ([]byte, error) {
	if err := checkHeader(in.Header); err != nil {
		return nil, err
	}
	if !slices.Contains(kinds, in.Kind) {
		return nil, fmt.Errorf("record kind %q is unknown", in.Kind)
	}
	if len(in.Subjects) == 0 {
		return nil, errors.New("record has no subject; name at least one with its digest")
	}
	s := Statement{Type: StatementType, PredicateType: in.Kind.PredicateType()}
	for _, subject := range in.Subjects {
		if subject.Name == "" || !signals.ValidDigest(subject.Digest) {
			return nil, fmt.Errorf("subject %q with digest %q: want a name and sha256:<64 hex digits>", subject.Name, subject.Digest)
		}
		s.Subject = append(s.Subject, Subject{subject.Name, map[string]string{"sha256": strings.TrimPrefix(subject.Digest, "sha256:")}})
	}
	// A map is encoded in the order of its keys, whatever order they came in.
	var body map[string]json.RawMessage
	if err := json.Unmarshal(in.Predicate, &body); err != nil || body == nil {
		return nil, fmt.Errorf("predicate of the %s record is not a JSON object", in.Kind)
	}
	if _, taken := body["record"]; taken {
		return nil, fmt.Errorf("predicate of the %s record has a field \"record\" of its own", in.Kind)
	}
	var err error
	if body["record"], err = json.Marshal(in.Header); err != nil {
		return nil, fmt.Errorf("encode the header of the %s record: %w", in.Kind, err)
	}
	if s.Predicate, err = json.Marshal(body); err != nil {
		return nil, fmt.Errorf("encode the predicate of the %s record: %w", in.Kind, err)
	}
	return json.Marshal(s)
}

func checkHeader(h signals.RecordHeader) error {
	lane := Lane{h.Environment, h.Service}
	switch {
	case !slices.Contains(ownLanes, lane) && (!signals.ValidName(h.Environment) || !signals.ValidName(h.Service)):
		return fmt.Errorf("record header names lane %q; want catalog names", lane)
	case !signals.ValidReleaseID(h.Release):
		return fmt.Errorf("record header names release %q; want letters, digits, dots, dashes and underscores", h.Release)
	case h.Sequence < 1:
		return fmt.Errorf("record header has sequence %d; the first is 1", h.Sequence)
	case h.Sequence == 1 && h.Previous != "":
		return fmt.Errorf("record header of the first record names %s as the one before", h.Previous)
	case h.Sequence > 1 && !signals.ValidDigest(h.Previous):
		return fmt.Errorf("record header of record %d names %q as the digest of the one before; want sha256:<64 hex digits>", h.Sequence, h.Previous)
	case h.At.IsZero():
		return errors.New("record header has no time")
	}
	return nil
}

// ParseStatement reads a record's payload. The header is that of its predicate.
func ParseStatement(payload []byte) (Statement, signals.RecordHeader, error) {
	var s Statement
	var p struct {
		Record signals.RecordHeader `json:"record"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return s, p.Record, fmt.Errorf("payload is not an in-toto statement: %w", err)
	}
	if s.Type != StatementType {
		return s, p.Record, fmt.Errorf("payload is of type %q, want %s", s.Type, StatementType)
	}
	if len(s.Subject) == 0 {
		return s, p.Record, errors.New("statement has no subject")
	}
	if err := json.Unmarshal(s.Predicate, &p); err != nil {
		return s, p.Record, fmt.Errorf("predicate is not an object with a record header: %w", err)
	}
	return s, p.Record, checkHeader(p.Record)
}

// Into decodes the predicate, for example into a *signals.PlanPredicate.
func (s Statement) Into(predicate any) error {
	if err := json.Unmarshal(s.Predicate, predicate); err != nil {
		return fmt.Errorf("predicate of type %s: %w", s.PredicateType, err)
	}
	return nil
}
