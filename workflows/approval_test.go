package workflows

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func encode(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	require.NoError(tb, err)
	return string(b)
}

func TestAssignGivesTheScarcePlaceToWhoeverCanFillIt(t *testing.T) {
	q := signals.Quorum{Groups: []signals.GroupQuorum{{Group: "leads", Count: 1}, {Group: "risk", Count: 1}}}
	both, lead := person("a", "leads", "risk"), person("b", "leads")
	places, missing := Assign(q, []signals.Subject{both, lead})
	require.Equal(t, []string{"risk", "leads"}, places)
	require.Zero(t, missing.People())
	places, missing = Assign(q, []signals.Subject{both})
	require.Equal(t, []string{"leads"}, places)
	require.Equal(t, []signals.GroupQuorum{{Group: "risk", Count: 1}}, missing.Groups)
}

// Assign is held against its definition by brute force: no assignment of people
// to places fills more, nobody sits where he may not, nobody twice.
func TestAssignIsAMaximumMatching(t *testing.T) {
	groups := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		var q signals.Quorum
		for _, g := range groups {
			q.Groups = append(q.Groups, signals.GroupQuorum{Group: g, Count: rapid.IntRange(0, 2).Draw(t, "count")})
		}
		people := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) signals.Subject {
			return person(rapid.StringMatching(`[a-z]{4}`).Draw(t, "id"), rapid.SliceOfDistinct(rapid.SampledFrom(groups), rapid.ID).Draw(t, "groups")...)
		}), 0, 5).Draw(t, "people")
		places, missing := Assign(q, people)
		filled := 0
		for i, place := range places {
			if place == "" {
				continue
			}
			filled++
			if !slices.Contains(people[i].Groups, place) {
				t.Fatalf("%s sits in %s", people[i].ID, place)
			}
		}
		if filled+missing.People() != q.People() {
			t.Fatalf("%d filled and %d missing of %d", filled, missing.People(), q.People())
		}
		if best := bruteForce(q, people); filled != best {
			t.Fatalf("filled %d places, %d can be", filled, best)
		}
	})
}

func bruteForce(q signals.Quorum, people []signals.Subject) int {
	if len(people) == 0 {
		return 0
	}
	best := bruteForce(q, people[1:])
	for i, g := range q.Groups {
		if g.Count > 0 && slices.Contains(people[0].Groups, g.Group) {
			rest := signals.Quorum{Groups: slices.Clone(q.Groups)}
			rest.Groups[i].Count--
			best = max(best, 1+bruteForce(rest, people[1:]))
		}
	}
	return best
}
