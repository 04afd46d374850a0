package analysis

import (
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
)

// Vars are the variables of a check's queries; see signals.Check.
type Vars struct {
	Service     string
	Environment string
	Namespace   string
	Workload    string
	Track       string
	Digest      string
	Window      string
}

// Render fills a query template. A variable that does not exist is an error.
func Render(text string, v Vars) (string, error) {
	t, err := template.New("query").Parse(text)
	if err != nil {
		return "", fmt.Errorf("query %q is not a valid template: %w", text, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("query %q: %w", text, err)
	}
	return b.String(), nil
}

// Reach is the least and, while samples suffice, the most intervals of a range.
const (
	LeastReach = 2
	FullReach  = 10
)

// Range is how far a look reaches back, and its text in PromQL: at most reach
// intervals, and never before the start of what is judged as long as two
// intervals have passed since. It takes few distinct values, so that the query
// texts of a long window are few.
func Range(elapsed, interval time.Duration, reach int) (time.Duration, string) {
	available := min(int(elapsed/interval), reach)
	n := max(available, LeastReach)
	if n > FullReach {
		for n = FullReach; 2*n <= available; n *= 2 {
			continue
		}
	}
	d := time.Duration(n) * interval
	return d, model.Duration(d).String()
}

// NextReach is how many intervals the next look at a check may reach back, given
// how many samples this one had on the track that had fewer.
func NextReach(reach int, samples, wanted float64) int {
	const most = 1 << 20
	switch {
	case samples < wanted:
		return min(2*reach, most)
	case samples >= 4*wanted && reach > FullReach:
		return reach / 2
	}
	return reach
}

// Looks are the moments at which a window is sampled.
type Looks struct {
	// From is where judging starts: nothing before it counts.
	From     time.Time
	Interval time.Duration
	End      time.Time
}

// Next is the first moment after last, and not before now, at which to look. The
// first look is two intervals after From; the last is at End, or at once if End
// has passed.
func (l Looks) Next(last, now time.Time) time.Time {
	if !now.Before(l.End) {
		return now
	}
	next := l.From.Add(LeastReach * l.Interval)
	after := now
	if last.After(after) {
		after = last
	}
	if missed := after.Sub(next); missed >= 0 {
		if next = after.Add(-(missed % l.Interval)); !next.After(last) || next.Before(now) {
			next = next.Add(l.Interval)
		}
	}
	if next.After(l.End) {
		return l.End
	}
	return next
}
