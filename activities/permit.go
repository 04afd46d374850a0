package activities

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

const (
	inTotoPayload   = "application/vnd.in-toto+json"
	inTotoStatement = "https://in-toto.io/Statement/v1"
)

// permitStatement is the in-toto statement of a permit, as far as it is judged.
type permitStatement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string               `json:"predicateType"`
	Predicate     signals.VSAPredicate `json:"predicate"`
}

// PermitURI is the resource that a permit for a service in an environment names.
func PermitURI(environment, service string) string {
	return "waybill://" + environment + "/" + service
}

// CheckPermit says whether env is a permit, signed by one of keys, that lets
// digest into service's environment at now. The error says what is wrong.
func CheckPermit(env *signals.Envelope, keys []signals.PublicKey, digest, environment, service string, now time.Time) error {
	if env == nil {
		return errors.New("there is no permit")
	}
	if len(keys) == 0 {
		return errors.New("no evidence key is configured to check permits with")
	}
	statement, err := readPermit(env)
	if err != nil {
		return err
	}
	// The key must have been valid when the permit was made, and not now: a
	// rotation must not strand releases that are under way. The time is believed
	// because the same signature covers it.
	if _, err := env.Open(inTotoPayload, keys, statement.Predicate.TimeVerified); err != nil {
		return fmt.Errorf("the permit is not signed by an evidence key: %w", err)
	}
	p := statement.Predicate
	wantedURI := PermitURI(environment, service)
	switch {
	case statement.Type != inTotoStatement:
		return fmt.Errorf("the permit's statement has the type %q, want %q", statement.Type, inTotoStatement)
	case statement.PredicateType != signals.VSAType:
		return fmt.Errorf("the signed statement is a %q, not a permit (%q)", statement.PredicateType, signals.VSAType)
	case len(statement.Subject) != 1 || "sha256:"+statement.Subject[0].Digest["sha256"] != digest:
		return fmt.Errorf("the permit is for another artifact than %s", digest)
	case p.ResourceURI != wantedURI:
		return fmt.Errorf("the permit is for %q, not for %q", p.ResourceURI, wantedURI)
	case p.VerificationResult != "PASSED":
		return fmt.Errorf("the permit's result is %q, want \"PASSED\"", p.VerificationResult)
	case !now.Before(p.ExpiresAt):
		return fmt.Errorf("the permit expired at %s", p.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// readPermit decodes a permit's statement, whoever signed it.
func readPermit(env *signals.Envelope) (permitStatement, error) {
	var statement permitStatement
	payload, err := base64.StdEncoding.DecodeString(env.Payload)
	if err == nil {
		err = json.Unmarshal(payload, &statement)
	}
	if err != nil {
		return statement, fmt.Errorf("the permit's payload is not an in-toto statement: %w", err)
	}
	return statement, nil
}
