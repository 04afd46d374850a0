package signals

import "time"

// Announcement is what people are shown of a release, wherever they are told:
// all that an approver must know, and how it stands. It is a view: nothing is
// decided on it.
type Announcement struct {
	Release     string   `json:"release"`
	Run         string   `json:"run"`
	Service     string   `json:"service"`
	Environment string   `json:"environment"`
	Tier        int      `json:"tier"`
	Owner       string   `json:"owner,omitempty"`
	Runbook     string   `json:"runbook,omitempty"`
	Artifact    Artifact `json:"artifact"`
	Commit      string   `json:"commit"`
	// Compare is the page of the code host that shows what changed since the
	// last known good, "" if either commit or the host is not known.
	Compare   string `json:"compare,omitempty"`
	Ticket    string `json:"ticket,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Requester string `json:"requester"`
	// BreakGlass is the reason of an emergency release.
	BreakGlass string `json:"breakGlass,omitempty"`
	PlanDigest string `json:"planDigest"`
	// Tests and Scans sum up in a line each; Policy gives the verdict and its
	// reasons.
	Tests  string   `json:"tests"`
	Scans  string   `json:"scans"`
	Policy []string `json:"policy"`
	// Steps are the plan's, Radius who is exposed when, in words.
	Steps  []Step   `json:"steps"`
	Radius []string `json:"blastRadius"`
	// LKG is the digest that the release would go back to, with the release and
	// the commit that it came with as far as they are known.
	LKG        string           `json:"lastKnownGood,omitempty"`
	LKGRelease string           `json:"lastKnownGoodRelease,omitempty"`
	LKGCommit  string           `json:"lastKnownGoodCommit,omitempty"`
	Excluded   []Exclusion      `json:"excluded,omitempty"`
	Approval   ApprovalStatus   `json:"approval"`
	Pending    []PendingCommand `json:"pendingCommands,omitempty"`
	Phase      Phase            `json:"phase"`
	Doing      string           `json:"doing"`
	Paused     string           `json:"paused,omitempty"`
	Weight     int32            `json:"weight"`
	// Outcome is "" while the release runs.
	Outcome OutcomeKind  `json:"outcome,omitempty"`
	Reasons []string     `json:"reasons,omitempty"`
	Next    []NextAction `json:"next,omitempty"`
}

// MessageRef finds a message that was posted. Channel is the service's id of it.
type MessageRef struct {
	Channel string `json:"channel,omitempty"`
	ID      string `json:"id,omitempty"`
}

// Reply is one event to tell below a release's message. Event names it once and
// for all within the release, so that it is told once however often it is tried.
type Reply struct {
	Event string `json:"event"`
	Text  string `json:"text"`
	// Loud replies go to the channel as well, Escalate to the channel for that.
	Loud     bool      `json:"loud,omitempty"`
	Escalate bool      `json:"escalate,omitempty"`
	Chart    *Chart    `json:"chart,omitempty"`
	At       time.Time `json:"at"`
}

// Chart is a window's readings of one check, canary against stable, few enough
// to travel with a message.
type Chart struct {
	Title   string       `json:"title"`
	Unit    string       `json:"unit,omitempty"`
	Verdict Verdict      `json:"verdict"`
	Bound   *float64     `json:"bound,omitempty"` // the absolute one
	Canary  []ChartPoint `json:"canary,omitempty"`
	Stable  []ChartPoint `json:"stable"`
	Decided time.Time    `json:"decided"`
}

// ChartPoint is one reading.
type ChartPoint struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// PublishInput brings a release's message up to date and tells the replies that
// were not told yet. Notify is the plan's.
type PublishInput struct {
	Notify       Notify       `json:"notify"`
	Announcement Announcement `json:"announcement"`
	Message      MessageRef   `json:"message,omitzero"`
	Replies      []Reply      `json:"replies,omitempty"`
}

// PublishOutput is where the message is.
type PublishOutput struct {
	Message MessageRef `json:"message"`
}

// AnnounceInput is what a release that has ended leaves to be told. Wait is how
// long a call of the release may still be under way. Review is set if a review
// is due, of which people are reminded once it is overdue.
type AnnounceInput struct {
	Publish PublishInput `json:"publish"`
	Wait    Duration     `json:"wait,omitempty"`
	Review  *ReviewDue   `json:"review,omitempty"`
}

// AnnounceOutput says whether everything was told. Reason is why not.
type AnnounceOutput struct {
	Told    bool       `json:"told"`
	Reason  string     `json:"reason,omitempty"`
	Message MessageRef `json:"message,omitzero"`
}
