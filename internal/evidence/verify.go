package evidence

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options says what to judge and by what measure.
type Options struct {
	// Keys are the evidence keys that are believed.
	Keys Keyring
	// Now is the time to judge at.
	Now time.Time
	// Closed takes a release without a manifest for truncated, however recent.
	Closed bool
	// OpenWithin is how old the newest record of a running release may be.
	OpenWithin time.Duration
	// Retention is how long after its making a record must be locked at least.
	Retention time.Duration
	// LockMode is the retention mode demanded, "" for any.
	LockMode string
	// Heads are digests of manifests that must be there, as remembered from an
	// earlier verification or from a lane.
	Heads []string
	// Lane narrows the judgement to one lane if it is set.
	Lane Lane
}

// Report is the judgement on a whole bucket or lane.
type Report struct {
	CheckedAt time.Time         `json:"checkedAt"`
	Versioned bool              `json:"versionsAndLocksJudged"`
	Releases  []ReleaseReport   `json:"releases"`
	Lanes     []LaneReport      `json:"lanes"`
	Faults    []Fault           `json:"faults,omitempty"` // of no release and no lane
	Records   int               `json:"records"`
	Complete  int               `json:"complete"`
	Open      int               `json:"open"`
	Faulty    int               `json:"faulty"`
	ByKind    map[FaultKind]int `json:"faultsByKind"`
}

// Total is the number of faults found.
func (r Report) Total() int {
	n := 0
	for _, count := range r.ByKind {
		n += count
	}
	return n
}

// Err is a *FaultsError if anything is wrong.
func (r Report) Err() error {
	if n := r.Total(); n > 0 {
		return &FaultsError{n}
	}
	return nil
}

// Verify judges everything that src holds. Objects are read and checked side by
// side on all processors; one release's records are held at a time by each. An
// error means that the judgement could not be made; faults are in the report.
func Verify(ctx context.Context, src Source, o Options) (Report, error) {
	if len(o.Keys) == 0 {
		return Report{}, ErrNoKeys
	}
	r := Report{CheckedAt: o.Now.UTC(), Versioned: src.Versioned(), ByKind: map[FaultKind]int{}}
	prefix := Root
	if o.Lane != (Lane{}) {
		prefix = o.Lane.Prefix()
	}
	lanes := newLanes()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(4, runtime.GOMAXPROCS(0)))
	var listErr error
	for f, err := range folders(src.List(ctx, prefix)) {
		if err != nil {
			listErr = fmt.Errorf("list %s: %w", prefix, err)
			break
		}
		if f.prefix == "" {
			r.Faults = append(r.Faults, fault(Schema, f.keys[0][0].Key, "it lies in no release's folder"))
			continue
		}
		group.Go(func() error {
			report, _, err := verifyFolder(ctx, src, f, o)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			r.Releases = append(r.Releases, report)
			lanes.add(report)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}
	if listErr != nil {
		return Report{}, listErr
	}
	slices.SortFunc(r.Releases, func(a, b ReleaseReport) int {
		return cmp.Or(cmp.Compare(a.Lane.String(), b.Lane.String()), a.Began.Compare(b.Began), cmp.Compare(a.Release, b.Release))
	})
	var missing []Fault
	r.Lanes, missing = lanes.judge(o.Heads)
	r.Faults = append(r.Faults, missing...)
	r.sum()
	return r, nil
}

func (r *Report) sum() {
	count := func(faults []Fault) {
		for _, f := range faults {
			r.ByKind[f.Kind]++
		}
	}
	count(r.Faults)
	for _, lane := range r.Lanes {
		count(lane.Faults)
	}
	for _, release := range r.Releases {
		count(release.Faults)
		r.Records += release.Records
		switch release.State {
		case Complete:
			r.Complete++
		case Open:
			r.Open++
		case Faulty:
			r.Faulty++
		}
	}
}

// verifyFolder judges one release and returns its sound records in order.
func verifyFolder(ctx context.Context, src Source, f folder, o Options) (ReleaseReport, []Record, error) {
	var entries []*entry
	var strangers []Fault
	for _, all := range f.keys {
		key, err := ParseKey(all[0].Key)
		if err != nil {
			strangers = append(strangers, fault(Schema, all[0].Key, "%v", err))
			continue
		}
		e, err := examine(ctx, src, key, all, o)
		if err != nil {
			return ReleaseReport{}, nil, fmt.Errorf("read %s: %w", key, err)
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		parts := strings.Split(f.prefix, "/")
		return ReleaseReport{Lane: Lane{parts[1], parts[2]}, Release: parts[3], State: Faulty, Faults: strangers}, nil, nil
	}
	report := judgeRelease(f.prefix, entries, o)
	if len(strangers) > 0 {
		report.Faults, report.State = append(report.Faults, strangers...), Faulty
	}
	var records []Record
	for _, e := range entries {
		if e.sound {
			records = append(records, e.Record)
		}
	}
	return report, records, nil
}
