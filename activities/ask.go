package activities

import (
	"time"

	"github.com/waybill-dev/waybill/internal/analysis"
	"github.com/waybill-dev/waybill/signals"
)

// question is what is asked about one check on one track.
type question struct {
	check, track string
}

// asking is what one look asks: for each question the texts of its value and of
// its number of samples, or why they can't be asked.
type asking struct {
	texts   map[string]bool
	value   map[question]string
	samples map[question]string
	faults  map[question]string
}

// ask renders the queries of a look. Both tracks of a check are asked over the
// same range.
func (w *watch) ask() asking {
	a := asking{
		texts: map[string]bool{}, value: map[question]string{}, samples: map[question]string{}, faults: map[question]string{},
	}
	for _, c := range w.in.Plan.Checks {
		_, span := analysis.Range(w.last.Sub(w.looks.From), w.looks.Interval, w.reachOf(c))
		a.add(c, w.vars(w.in.Track, span))
		if w.compares(c) {
			a.add(c, w.vars(signals.TrackStable, span))
		}
	}
	for q, text := range a.value {
		w.queries[q.check+"/"+q.track] = text
	}
	for q, text := range a.samples {
		w.queries[q.check+"/"+q.track+"/samples"] = text
	}
	return a
}

func (a *asking) add(c signals.Check, v analysis.Vars) {
	q := question{check: c.Name, track: v.Track}
	value, err := analysis.Render(c.Query, v)
	if err != nil {
		a.faults[q] = err.Error()
		return
	}
	samples, err := analysis.Render(c.Samples, v)
	if err != nil {
		a.faults[q] = err.Error()
		return
	}
	a.value[q], a.samples[q] = value, samples
	a.texts[value], a.texts[samples] = true, true
}

func (w *watch) vars(track, window string) analysis.Vars {
	p := w.in.Plan
	v := analysis.Vars{
		Service: p.Service, Environment: p.Environment, Namespace: p.Target.Namespace,
		Workload: p.Target.Stable, Track: track, Window: window,
	}
	if track == w.in.Track { // of the other track it isn't known
		v.Digest = w.in.Digest
	}
	if track == signals.TrackCanary {
		v.Workload = p.Target.Canary
	}
	return v
}

// reading puts the answers to one question together.
func (a *asking) reading(check, track string, at time.Time, answers map[string]answer) signals.Reading {
	r := signals.Reading{At: at, Check: check, Track: track}
	q := question{check: check, track: track}
	if fault, bad := a.faults[q]; bad {
		r.Problem = fault
		return r
	}
	value, samples := answers[a.value[q]], answers[a.samples[q]]
	if samples.problem == "" {
		r.Samples = &samples.value
	} else {
		r.Problem = "samples: " + samples.problem
	}
	if value.problem == "" {
		r.Value = &value.value
	} else {
		r.Problem = value.problem
	}
	return r
}
