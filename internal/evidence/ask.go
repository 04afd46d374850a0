package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// Question is one of the five that an auditor asks of a release.
type Question string

// The five questions.
const (
	WhatChanged    Question = "changed"
	WhoApproved    Question = "approved"
	WhatWasTested  Question = "tested"
	HowRolledBack  Question = "rolled-back"
	HowFarItSpread Question = "spread"
)

// Questions lists the five in order.
func Questions() []Question {
	return []Question{WhatChanged, WhoApproved, WhatWasTested, HowRolledBack, HowFarItSpread}
}

// Answer is a question's answer with what it rests on: the sequence numbers of
// the signed records, and the state of the papers they belong to.
type Answer struct {
	Release  string   `json:"release"`
	Question Question `json:"question"`
	Papers   State    `json:"papers"`
	Records  []int    `json:"restsOnRecords"`
	Faults   []Fault  `json:"faults,omitempty"`
	Answer   Texter   `json:"answer"`
}

// Texter is an answer that can be read by a person.
type Texter interface{ WriteText(w io.Writer) }

// Ask answers a question from sound records alone. src and o are asked for the
// papers of the release before, if the answer needs them.
func Ask(ctx context.Context, src Source, o Options, p Papers, q Question) (Answer, error) {
	a := Answer{Release: p.Report.Release, Question: q, Papers: p.Report.State, Faults: p.Report.Faults, Records: []int{}}
	var err error
	switch q {
	case WhatChanged:
		a.Answer, err = a.changed(ctx, src, o, p)
	case WhoApproved:
		a.Answer, err = a.approved(p)
	case WhatWasTested:
		a.Answer, err = a.tested(p)
	case HowRolledBack:
		a.Answer, err = a.rolledBack(p)
	case HowFarItSpread:
		a.Answer, err = a.spread(p)
	default:
		return a, fmt.Errorf("question %q: ask one of %v", q, Questions())
	}
	slices.Sort(a.Records)
	a.Records = slices.Compact(a.Records)
	return a, err
}

func (a *Answer) rests(on signals.RecordRef) { a.Records = append(a.Records, on.Sequence) }

// plan is the release's plan, nil if it never came to one.
func (a *Answer) plan(p Papers) (*signals.Plan, string, error) {
	record, err := first[signals.PlanPredicate](p, signals.RecordPlan)
	if err != nil || record == nil {
		return nil, "", err
	}
	a.rests(record.Ref)
	var plan signals.Plan
	if err := json.Unmarshal(record.Body.Plan, &plan); err != nil {
		return nil, "", fmt.Errorf("record %s: the plan is not readable: %w", record.Ref.Key, err)
	}
	if digest := signals.Digest(record.Body.Plan); digest != record.Body.PlanDigest {
		return nil, "", fmt.Errorf("record %s: the plan has digest %s and says %s", record.Ref.Key, digest, record.Body.PlanDigest)
	}
	return &plan, record.Body.PlanDigest, nil
}

// Changed answers what changed: from what to what, why, and who asked.
type Changed struct {
	signals.RequesterView `json:"requester"`
	Environment           string              `json:"environment"`
	Service               string              `json:"service"`
	From                  Running             `json:"from"`
	To                    Running             `json:"to"`
	Ticket                string              `json:"ticket,omitempty"`
	Reason                string              `json:"reason,omitempty"`
	Source                string              `json:"source,omitempty"`
	Config                map[string]string   `json:"configBefore,omitempty"`
	PlanDigest            string              `json:"planDigest,omitempty"`
	PolicyDigest          string              `json:"policyDigest,omitempty"`
	Outcome               signals.OutcomeKind `json:"outcome,omitempty"`
	// Raw is the request as it came, if it never became a plan.
	Raw string `json:"rawRequest,omitempty"`
}

// Running is an artifact with the commit it was built from and the release that
// brought it, as far as the papers tell.
type Running struct {
	Digest  string `json:"digest,omitempty"`
	Image   string `json:"image,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Release string `json:"release,omitempty"`
}

func (a *Answer) changed(ctx context.Context, src Source, o Options, p Papers) (Texter, error) {
	c := &Changed{Environment: p.Report.Environment, Service: p.Report.Service, Outcome: p.Report.Outcome}
	request, err := first[signals.RequestPredicate](p, signals.RecordRequest)
	if err != nil {
		return nil, err
	}
	if request != nil {
		a.rests(request.Ref)
		c.RequesterView, c.Raw = request.Body.Requester, request.Body.Raw
	}
	plan, digest, err := a.plan(p)
	if err != nil || plan == nil {
		return c, err
	}
	c.Raw = ""
	c.To = Running{Digest: plan.Artifact.Digest, Image: plan.Artifact.Reference(), Commit: plan.Request.Commit, Release: p.Report.Release}
	c.Ticket, c.Reason, c.Source = plan.Request.Ticket, plan.Request.Reason, plan.Source
	c.PlanDigest, c.PolicyDigest = digest, plan.Policy
	lane, err := first[signals.LanePredicate](p, signals.RecordLane)
	if err != nil || lane == nil {
		return c, err
	}
	a.rests(lane.Ref)
	c.From = Running{Digest: lane.Body.LKG.Digest, Image: lane.Body.LKG.Image}
	c.Config = lane.Body.LKG.Config
	if before, known := strings.CutPrefix(lane.Body.LKGFrom, "release "); known {
		c.From.Release = before
		c.From.Commit = commitOf(ctx, src, o, p.Report.Lane, before)
	}
	return c, nil
}

// commitOf looks up the commit of an earlier release of the lane; "" if its
// papers don't tell.
func commitOf(ctx context.Context, src Source, o Options, lane Lane, release string) string {
	o.Lane = lane
	earlier, err := Load(ctx, src, release, o)
	if err != nil {
		return ""
	}
	plan, _, err := (&Answer{}).plan(earlier)
	if err != nil || plan == nil {
		return ""
	}
	return plan.Request.Commit
}
