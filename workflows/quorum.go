package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// skew is how far the gateway's clock, the identity provider's and the server's
// may be apart.
const skew = time.Minute

// Assign gives each approver at most one place of the quorum, so that as many
// places as possible are filled: somebody who is in two groups takes the place
// that nobody else can take. It returns the group per approver ("" for none), in
// the order given, and what is still missing. Deterministic for equal input.
func Assign(q signals.Quorum, approvers []signals.Subject) ([]string, signals.Quorum) {
	var places []signals.GroupQuorum // of one person each
	for _, g := range q.Groups {
		for range g.Count {
			places = append(places, signals.GroupQuorum{Group: g.Group, Count: 1, StepUp: g.StepUp})
		}
	}
	holder := make([]int, len(places)) // approver+1 per place, 0 for free
	var seat func(person int, tried []bool) bool
	seat = func(person int, tried []bool) bool {
		for i, place := range places {
			if tried[i] || !slices.Contains(approvers[person].Groups, place.Group) {
				continue
			}
			tried[i] = true
			if holder[i] == 0 || seat(holder[i]-1, tried) {
				holder[i] = person + 1
				return true
			}
		}
		return false
	}
	for person := range approvers {
		seat(person, make([]bool, len(places)))
	}
	filled := make([]string, len(approvers))
	var missing signals.Quorum
	for i, place := range places {
		if holder[i] > 0 {
			filled[holder[i]-1] = place.Group
			continue
		}
		if n := len(missing.Groups); n > 0 && missing.Groups[n-1].Group == place.Group {
			missing.Groups[n-1].Count++
		} else {
			missing.Groups = append(missing.Groups, place)
		}
	}
	return filled, missing
}

// groupsOf lists the groups of a quorum that a subject is in.
func groupsOf(q signals.Quorum, who signals.Subject) []string {
	var in []string
	for _, g := range q.Groups {
		if slices.Contains(who.Groups, g.Group) && !slices.Contains(in, g.Group) {
			in = append(in, g.Group)
		}
	}
	return in
}

// stepUpMet says why a login does not do for a decision that demands a fresh
// one, "" if it does. The login is held against the time of the decision, so
// that it stays what it was while the decision is on its way.
func stepUpMet(demand signals.StepUp, authn signals.Authentication, decided time.Time) string {
	age := decided.Sub(authn.At)
	switch {
	case authn.Method != "oidc" || authn.At.IsZero():
		return fmt.Sprintf("a click in %s is not a login at the identity provider", orDash(authn.Channel))
	case len(demand.ACR) > 0 && !slices.Contains(demand.ACR, authn.ACR):
		return fmt.Sprintf("the login was of the kind %q, wanted is %s", authn.ACR, strings.Join(demand.ACR, " or "))
	case age > demand.MaxAge.D():
		return fmt.Sprintf("the login was %s before the decision, at most %s is fresh", age.Round(time.Second), demand.MaxAge)
	case age < -skew:
		return fmt.Sprintf("the login is dated %s after the decision", (-age).Round(time.Second))
	}
	return ""
}

// stepUpNeeded tells somebody what to do for a decision to count.
func stepUpNeeded(groups []string, why string) error {
	return refused(signals.ErrStepUp, "a decision for %s needs a fresh login at the identity provider: %s; "+
		"decide on the gateway's page for this release, which asks for one", strings.Join(groups, " and "), why)
}

// describeQuorum says a quorum in words: "1 of payments-leads and 1 of risk".
func describeQuorum(q signals.Quorum) string {
	parts := make([]string, 0, len(q.Groups))
	for _, g := range q.Groups {
		parts = append(parts, fmt.Sprintf("%d of %s", g.Count, g.Group))
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, " and ")
}
