package desk

import (
	"context"
	"encoding/base64"
	"strings"

	common "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

// maxPage bounds a page of a list.
const maxPage = 200

// Filter narrows a list of releases; empty fields don't. After is "next" of the
// page before, Limit the size of a page.
type Filter struct {
	Service, Environment, Phase, Outcome, After string
	Limit                                       int
}

// List is one page of releases, newest first, and what to ask for the next page
// with ("" on the last). It reads Temporal's visibility store, which follows a
// release by about a second.
func (d *Desk) List(ctx context.Context, f Filter) ([]wire.Row, string, error) {
	query, err := visibilityQuery(f)
	if err != nil {
		return nil, "", err
	}
	token, err := base64.RawURLEncoding.DecodeString(f.After)
	if err != nil {
		return nil, "", fault(ErrInvalid, "after: want \"next\" of the page before, unchanged")
	}
	if f.Limit < 1 || f.Limit > maxPage {
		return nil, "", fault(ErrInvalid, "limit %d: want 1 to %d", f.Limit, maxPage)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := d.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: d.Namespace, Query: query, PageSize: int32(f.Limit), NextPageToken: token,
	})
	if err != nil {
		return nil, "", answer(err, "list releases")
	}
	rows := []wire.Row{}
	for _, exec := range page.GetExecutions() {
		rows = append(rows, rowOf(exec))
	}
	return rows, base64.RawURLEncoding.EncodeToString(page.GetNextPageToken()), nil
}

// visibilityQuery is the filter in Temporal's list syntax. Only names of the
// catalog's form get in, so that nothing can be smuggled into the query; quoting
// is a second fence.
func visibilityQuery(in Filter) (string, error) {
	terms := []string{"WorkflowType = " + quote(signals.ReleaseWorkflow)}
	for _, filter := range []struct {
		field, value string
		attribute    string
	}{
		{"service", in.Service, signals.AttrService.GetName()},
		{"environment", in.Environment, signals.AttrEnvironment.GetName()},
		{"phase", in.Phase, signals.AttrPhase.GetName()},
		{"outcome", in.Outcome, signals.AttrOutcome.GetName()},
	} {
		if filter.value == "" {
			continue
		}
		if !signals.ValidName(filter.value) {
			return "", fault(ErrInvalid, "%s %q: want a name in lower case letters, digits and dashes", filter.field, filter.value)
		}
		terms = append(terms, filter.attribute+" = "+quote(filter.value))
	}
	return strings.Join(terms, " AND "), nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func rowOf(exec *workflow.WorkflowExecutionInfo) wire.Row {
	attrs := exec.GetSearchAttributes().GetIndexedFields()
	row := wire.Row{
		Release:     exec.GetExecution().GetWorkflowId(),
		Run:         exec.GetExecution().GetRunId(),
		Service:     attribute[string](attrs, signals.AttrService),
		Environment: attribute[string](attrs, signals.AttrEnvironment),
		Tier:        attribute[int64](attrs, signals.AttrTier),
		Phase:       signals.Phase(attribute[string](attrs, signals.AttrPhase)),
		Outcome:     signals.OutcomeKind(attribute[string](attrs, signals.AttrOutcome)),
		Digest:      attribute[string](attrs, signals.AttrDigest),
		State:       stateOf(exec.GetStatus()),
		StartedAt:   exec.GetStartTime().AsTime(),
	}
	if exec.GetCloseTime() != nil {
		row.ClosedAt = exec.GetCloseTime().AsTime()
	}
	return row
}

// attribute reads one search attribute, the zero value if it isn't set.
func attribute[T any](fields map[string]*common.Payload, key temporal.SearchAttributeKey) T {
	var v T
	if p, ok := fields[key.GetName()]; ok && converter.GetDefaultDataConverter().FromPayload(p, &v) != nil {
		return *new(T)
	}
	return v
}
