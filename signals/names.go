package signals

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
)

// Workflow types, as given to `temporal workflow start --type`.
const (
	ReleaseWorkflow = "Release"
	LaneWorkflow    = "Lane"
	// AnnounceWorkflow goes on telling people how a release ended after that has
	// closed; JournalWorkflow writes down what belongs to no release.
	AnnounceWorkflow = "Announce"
	JournalWorkflow  = "Journal"
)

// Task queues. Each is polled by one role of the daemon, and a role holds only
// the credentials that its queue's activities need.
const (
	ReleaseQueue = "waybill-release"
	NotaryQueue  = "waybill-notary"
	NotifyQueue  = "waybill-notify"
)

// DeployQueue names the queue of the deploy role that holds the credentials of
// one cluster.
func DeployQueue(cluster string) string { return "waybill-deploy-" + cluster }

// Updates and signals of a release. Each name is accepted in both forms: an
// update is answered, a signal is not. The argument is a Message.
const (
	ApprovalMessage = "approval"
	CommandMessage  = "command"
)

// JournalEntry is the signal by which the gateway and lanes hand an envelope to
// the journal, the workflow JournalID. The argument is a Message.
const (
	JournalEntry = "entry"
	JournalID    = "waybill-journal"
)

// LaneGranted is the signal by which a lane tells a waiting release to ask
// again. It carries no authority: the release asks the lane itself.
const LaneGranted = "lane-granted"

// LaneAcquire is the update by which a release asks its lane for a resource.
// The argument is a LaneClaim, the result a LaneGrant. A release that ends while
// it waits need not say so: the lane notices when its turn comes.
const LaneAcquire = "acquire"

// StatusQuery returns a Status from a release and a LaneStatus from a lane.
const StatusQuery = "status"

// Search attributes, set at start where known and upserted once per phase.
var (
	AttrService     = temporal.NewSearchAttributeKeyKeyword("WaybillService")
	AttrEnvironment = temporal.NewSearchAttributeKeyKeyword("WaybillEnvironment")
	AttrTier        = temporal.NewSearchAttributeKeyInt64("WaybillTier")
	AttrPhase       = temporal.NewSearchAttributeKeyKeyword("WaybillPhase")
	AttrOutcome     = temporal.NewSearchAttributeKeyKeyword("WaybillOutcome")
	AttrDigest      = temporal.NewSearchAttributeKeyKeyword("WaybillDigest")
)

// SearchAttributeTypes maps each search attribute's name to the type that the
// Temporal server must register it with ("Keyword" or "Int").
func SearchAttributeTypes() map[string]string {
	return map[string]string{
		AttrService.GetName():     "Keyword",
		AttrEnvironment.GetName(): "Keyword",
		AttrTier.GetName():        "Int",
		AttrPhase.GetName():       "Keyword",
		AttrOutcome.GetName():     "Keyword",
		AttrDigest.GetName():      "Keyword",
	}
}

// IntakeEnvironment and IntakeService name the lane that keeps the papers of
// requests which could not be tied to any service. A catalog name never begins
// with an underscore, so nothing real collides with them.
const (
	IntakeEnvironment = "_intake"
	IntakeService     = "_requests"
)

// JournalEnvironment and JournalService name the lane of the journal's papers.
const (
	JournalEnvironment = "_gateway"
	JournalService     = "_journal"
)

// JournalRelease stands for the release's id in the papers of one run of the
// journal.
func JournalRelease(run string) string { return "journal-" + run }

// LaneID is the workflow id of the lane of one service in one environment.
func LaneID(environment, service string) string {
	return fmt.Sprintf("lane/%s/%s", environment, service)
}

// ReleaseID proposes a workflow id for a new release. suffix makes it unique,
// for example a timestamp with a few random characters.
func ReleaseID(service, environment, suffix string) string {
	return strings.Join([]string{service, environment, suffix}, "-")
}
