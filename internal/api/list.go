package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	common "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/signals"
)

type listInput struct {
	Service     string `query:"service"`
	Environment string `query:"environment"`
	Phase       string `query:"phase" enum:"intake,verification,policy,approval,lane,baseline,canary,ramp,promotion,bake,rollback,settled"`
	Outcome     string `query:"outcome" enum:"promoted,rolled-back,rejected,denied,expired,aborted,superseded"`
	Limit       int32  `query:"limit" default:"20" minimum:"1" maximum:"200"`
	After       string `query:"after" doc:"\"next\" of the page before"`
}

type listOutput struct{ Body wire.List }

func (s *server) registerList(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-releases", Method: http.MethodGet, Path: "/v1/releases", Security: secured,
		Summary: "List releases, newest first", Errors: []int{401, 422, 503},
		Description: "Reads Temporal's visibility store, which follows a release by about a second.",
	}, s.list)
}

func (s *server) list(ctx context.Context, in *listInput) (*listOutput, error) {
	query, err := visibilityQuery(in)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	token, err := base64.RawURLEncoding.DecodeString(in.After)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("after: want \"next\" of the page before, unchanged")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.Namespace, Query: query, PageSize: in.Limit, NextPageToken: token,
	})
	if err != nil {
		return nil, problem(err, "list releases")
	}
	out := &listOutput{Body: wire.List{Releases: []wire.Row{}, Next: base64.RawURLEncoding.EncodeToString(page.GetNextPageToken())}}
	for _, exec := range page.GetExecutions() {
		out.Body.Releases = append(out.Body.Releases, rowOf(exec))
	}
	return out, nil
}

// visibilityQuery is the filter in Temporal's list syntax. Only names of the
// catalog's form and values of closed lists get in, so that nothing can be
// smuggled into the query; quoting is a second fence.
func visibilityQuery(in *listInput) (string, error) {
	terms := []string{"WorkflowType = " + quote(signals.ReleaseWorkflow)}
	for _, filter := range []struct {
		field, value string
		attribute    string
		name         bool
	}{
		{"service", in.Service, signals.AttrService.GetName(), true},
		{"environment", in.Environment, signals.AttrEnvironment.GetName(), true},
		{"phase", in.Phase, signals.AttrPhase.GetName(), false},
		{"outcome", in.Outcome, signals.AttrOutcome.GetName(), false},
	} {
		if filter.value == "" {
			continue
		}
		if filter.name && !signals.ValidName(filter.value) {
			return "", fmt.Errorf("%s %q: want a catalog name (lower case letters, digits, dashes)", filter.field, filter.value)
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
