package evidence

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// LaneReport is the judgement on the chain of a lane's manifests. Heads holds
// the digest of the newest manifest; more than one is a fork. The newest release
// can't be missed from the chain alone: compare the head with the one that the
// lane itself remembers, or that an earlier verification printed.
type LaneReport struct {
	Lane
	Releases int      `json:"releases"`
	Open     int      `json:"open"`
	Heads    []string `json:"heads,omitempty"`
	Faults   []Fault  `json:"faults,omitempty"`
}

// link is one manifest in its lane's chain. What it names as the one before is
// known only if the manifest is sound.
type link struct {
	key, digest                 string
	known                       bool
	previousKey, previousDigest string
}

// lanes gathers what the chain rules need while releases stream by: some
// hundred bytes per release.
type lanes struct {
	byLane map[Lane]*lane
	heads  map[string]bool
}

type lane struct {
	releases, open int
	links          []link
}

func newLanes() *lanes { return &lanes{map[Lane]*lane{}, map[string]bool{}} }

func (l *lanes) add(r ReleaseReport) {
	in := l.byLane[r.Lane]
	if in == nil {
		in = &lane{}
		l.byLane[r.Lane] = in
	}
	in.releases++
	if r.State == Open {
		in.open++
	}
	if r.Manifest == nil {
		return
	}
	one := link{key: r.Manifest.Key, digest: r.Manifest.Digest, known: r.manifest != nil}
	if one.known && r.manifest.Previous != nil {
		one.previousKey, one.previousDigest = r.manifest.Previous.Key, r.manifest.Previous.Digest
	}
	in.links = append(in.links, one)
}

// judge returns the lanes in order of their names, each with its faults, and
// the faults of heads that were to be there and are not.
func (l *lanes) judge(expected []string) ([]LaneReport, []Fault) {
	var reports []LaneReport
	present := map[string]bool{}
	for _, name := range slices.SortedFunc(maps.Keys(l.byLane), func(a, b Lane) int { return cmp.Compare(a.String(), b.String()) }) {
		in := l.byLane[name]
		slices.SortFunc(in.links, func(a, b link) int { return cmp.Compare(a.key, b.key) })
		for _, one := range in.links {
			present[one.digest] = true
		}
		heads, faults := in.judge(name)
		reports = append(reports, LaneReport{Lane: name, Releases: in.releases, Open: in.open, Heads: heads, Faults: faults})
	}
	var faults []Fault
	for _, head := range expected {
		if !present[head] {
			faults = append(faults, fault(ReleaseMissing, Root, "no release has the manifest %s that was to be there", head))
		}
	}
	return reports, faults
}

// judge follows one lane's chain: one beginning, one end, no hole between.
func (in *lane) judge(name Lane) (heads []string, faults []Fault) {
	present := map[string]bool{}
	doubt := false
	for _, one := range in.links {
		present[one.digest] = true
		doubt = doubt || !one.known
	}
	followers := map[string][]string{}
	for _, one := range in.links {
		if !one.known {
			continue
		}
		followers[one.previousDigest] = append(followers[one.previousDigest], one.key)
		if one.previousDigest != "" && !present[one.previousDigest] {
			faults = append(faults, fault(ReleaseMissing, one.previousKey, "%s names this manifest as the lane's one before; it is not there", one.key))
		}
	}
	for _, one := range in.links {
		if len(followers[one.digest]) == 0 {
			heads = append(heads, one.digest)
		}
	}
	for _, previous := range slices.Sorted(maps.Keys(followers)) {
		keys := followers[previous]
		if len(keys) < 2 {
			continue
		}
		after := previous
		if after == "" {
			after = "nothing"
		}
		faults = append(faults, fault(ReleaseMissing, name.Prefix(), "the chain forks: %d manifests come after %s: %s", len(keys), after, strings.Join(keys, ", ")))
	}
	if len(in.links) > 0 && len(followers[""]) == 0 && len(faults) == 0 && !doubt {
		faults = append(faults, fault(ReleaseMissing, name.Prefix(), "the chain has no beginning"))
	}
	return heads, faults
}
