package evidence

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteText writes the judgement: a line per release, its faults below it, the
// lanes' heads, and the totals.
func (r Report) WriteText(w io.Writer) {
	rows := [][]string{{"LANE", "RELEASE", "PAPERS", "RECORDS", "OUTCOME", "LAST RECORD"}}
	for _, release := range r.Releases {
		rows = append(rows, []string{release.Lane.String(), release.Release, string(release.State), strconv.Itoa(release.Records), string(release.Outcome), stamp(release.Ended)})
	}
	table(w, rows...)
	for _, release := range r.Releases {
		writeFaults(w, "", release.Faults)
	}
	writeFaults(w, "", r.Faults)
	for _, lane := range r.Lanes {
		fmt.Fprintf(w, "lane %s: %d release(s), newest manifest %s\n", clean(lane.Lane.String()), lane.Releases, heads(lane.Heads))
		writeFaults(w, "  ", lane.Faults)
	}
	fmt.Fprintf(w, "%d records of %d releases: %d complete, %d open, %d faulty\n", r.Records, len(r.Releases), r.Complete, r.Open, r.Faulty)
	if !r.Versioned {
		fmt.Fprintln(w, "versions, delete markers and retention were not judged: a plain copy keeps none of them")
	}
	if r.Total() == 0 {
		fmt.Fprintln(w, "nothing altered, nothing left out")
		return
	}
	var kinds []string
	for _, kind := range faultKinds {
		if n := r.ByKind[kind]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
		}
	}
	fmt.Fprintf(w, "FAULTS: %s\n", strings.Join(kinds, ", "))
}

func heads(digests []string) string {
	if len(digests) == 0 {
		return "none"
	}
	return strings.Join(digests, " and ")
}

var faultKinds = []FaultKind{
	BitFlipped, SignatureInvalid, UnknownSigner, RecordDropped, Reordered, Truncated, ForeignRecord,
	DeleteMarker, SecondVersion, Unlocked, ExtraRecord, ReleaseMissing, Schema,
}

// WriteText writes the release's records as a timeline.
func (p Papers) WriteText(w io.Writer) {
	fmt.Fprintf(w, "release %s in lane %s: papers %s", clean(p.Report.Release), clean(p.Report.Lane.String()), p.Report.State)
	if p.Report.Outcome != "" {
		fmt.Fprintf(w, ", outcome %s", p.Report.Outcome)
	}
	fmt.Fprintln(w)
	rows := [][]string{{"#", "TIME", "RECORD", "WHAT IT SAYS", "SIGNED BY", "LOCKED UNTIL"}}
	records := slices.Clone(p.Records)
	slices.SortStableFunc(records, func(a, b Record) int { return a.Ref.Sequence - b.Ref.Sequence })
	for _, r := range records {
		until := "unknown"
		if r.Lock != nil {
			until = stamp(r.Lock.RetainUntil)
		}
		rows = append(rows, []string{strconv.Itoa(r.Ref.Sequence), stamp(r.Header.At), string(r.Ref.Kind), Describe(r), r.Signer, until})
	}
	table(w, rows...)
	writeFaults(w, "", p.Report.Faults)
}

// WriteList writes a line per release.
func WriteList(w io.Writer, releases []ReleaseReport) {
	rows := [][]string{{"BEGAN", "LANE", "RELEASE", "OUTCOME", "PAPERS", "RECORDS"}}
	for _, r := range releases {
		rows = append(rows, []string{stamp(r.Began), r.Lane.String(), r.Release, string(r.Outcome), string(r.State), strconv.Itoa(r.Records)})
	}
	table(w, rows...)
}
