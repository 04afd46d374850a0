package signals

import "time"

// LaneResource is one of the two things that a lane hands out, one release at a
// time.
type LaneResource string

// The resources of a lane: the right to change the environment, and the turn to
// write the next manifest of the lane's chain.
const (
	LaneEnvironment LaneResource = "environment"
	LanePapers      LaneResource = "papers"
)

// LaneInput starts a lane, and is its state across continue-as-new.
type LaneInput struct {
	Environment  string        `json:"environment"`
	Service      string        `json:"service"`
	LKG          *Snapshot     `json:"lastKnownGood,omitempty"`
	LKGRelease   string        `json:"lastKnownGoodRelease,omitempty"`
	LastManifest *RecordRef    `json:"lastManifest,omitempty"`
	Hold         LaneQueue     `json:"environmentQueue"`
	Papers       LaneQueue     `json:"papersQueue"`
	Recent       []LaneRelease `json:"recent,omitempty"`
	// Closed lists the releases whose manifests came last, newest first.
	Closed []string `json:"closed,omitempty"`
	// Unclean is set when the last holder of the environment ended without
	// putting it in order: terminated, or failed in an undo.
	Unclean bool `json:"unclean,omitempty"`
	// LKGCommit is what the last known good was built from, if it is known.
	LKGCommit string `json:"lastKnownGoodCommit,omitempty"`
	// Frozen keeps ordinary releases out; Reviews are due for as long as they
	// stand here, and keep them out, too.
	Frozen  *LaneFreeze `json:"frozen,omitempty"`
	Reviews []ReviewDue `json:"reviewsDue,omitempty"`
	// Nonces of the commands taken lately, newest last.
	Nonces []string `json:"nonces,omitempty"`
}

// LaneFreeze is who froze a lane, why and until when (never, if zero).
type LaneFreeze struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"`
}

// LaneQueue is who holds a resource and who waits for it, first come first
// served.
type LaneQueue struct {
	Holder  *LaneClaim  `json:"holder,omitempty"`
	Waiting []LaneClaim `json:"waiting,omitempty"`
}

// LaneClaim asks for a resource. Asking again is harmless.
type LaneClaim struct {
	Resource LaneResource `json:"resource"`
	Release  string       `json:"release"`
	Run      string       `json:"run"`
	At       time.Time    `json:"at,omitzero"`
	// BreakGlass lets a claim in while the lane is frozen or a review is due.
	BreakGlass bool `json:"breakGlass,omitempty"`
	// Abandoned is the state of a release that ended without closing its papers;
	// the lane itself makes such a claim, to close them in its turn.
	Abandoned string `json:"abandoned,omitempty"`
}

// LaneGrant answers a claim. LKG and LastManifest are set on a grant only.
type LaneGrant struct {
	Granted      bool       `json:"granted"`
	Position     int        `json:"position"` // 0 is the holder
	Holder       string     `json:"holder,omitempty"`
	LKG          *Snapshot  `json:"lastKnownGood,omitempty"`
	LKGRelease   string     `json:"lastKnownGoodRelease,omitempty"`
	LastManifest *RecordRef `json:"lastManifest,omitempty"`
	// Blocked says what keeps the lane from being granted besides its holder: a
	// freeze, or a review that is due.
	Blocked string `json:"blocked,omitempty"`
	// Unclean tells the new holder that the one before left no order behind.
	Unclean bool `json:"unclean,omitempty"`
}

// LaneRelease is a line of a lane's recent past.
type LaneRelease struct {
	Release string      `json:"release"`
	Outcome OutcomeKind `json:"outcome"`
	Digest  string      `json:"digest,omitempty"`
	EndedAt time.Time   `json:"endedAt"`
}

// LaneStatus is what a lane's status query returns.
type LaneStatus struct {
	LaneInput
}

// AcquireInput asks the lane of one service in one environment for a resource.
type AcquireInput struct {
	Environment string    `json:"environment"`
	Service     string    `json:"service"`
	Claim       LaneClaim `json:"claim"`
}

// LaneName names the lane of one service in one environment.
type LaneName struct {
	Environment string `json:"environment"`
	Service     string `json:"service"`
}

// LaneMessage is a message to a lane, as it came.
type LaneMessage struct {
	LaneName
	Message Message `json:"message"`
}

// HolderEnd is how a holder of a lane ended. Outcome is nil if it ended in any
// other way than by completing: failed, terminated, or never found.
type HolderEnd struct {
	Outcome *Outcome `json:"outcome,omitempty"`
	State   string   `json:"state"`
}
