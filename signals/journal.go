package signals

import "encoding/json"

// JournalInput starts a run of the journal. A run that is begun by an entry gets
// none; one that follows on another takes over what that one did not get to.
type JournalInput struct {
	Entries []Message `json:"entries,omitempty"`
	// Dropped is how many entries came late that are not among them.
	Dropped int `json:"dropped,omitempty"`
}

// JournalRecord is what an entry of the journal is recorded as. Nonce names the
// entry; Problem says why it is not recorded at all.
type JournalRecord struct {
	Kind      RecordKind      `json:"kind,omitempty"`
	Subject   RecordSubject   `json:"subject,omitzero"`
	Predicate json.RawMessage `json:"predicate,omitempty"`
	Nonce     string          `json:"nonce,omitempty"`
	Problem   string          `json:"problem,omitempty"`
}
