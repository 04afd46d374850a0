package api_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	common "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// oneRelease is a Temporal with one release that takes everything, so that what
// the handlers let through can be looked at millions of times.
type oneRelease struct {
	client.Client
	status  *common.Payloads
	updates []client.UpdateWorkflowOptions
}

func (o *oneRelease) DescribeWorkflowExecution(_ context.Context, id, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if id != "r-1" {
		return nil, serviceerror.NewNotFound("no such workflow")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflow.WorkflowExecutionInfo{
		Execution: &common.WorkflowExecution{WorkflowId: id, RunId: "run-1"}, Status: enums.WORKFLOW_EXECUTION_STATUS_RUNNING,
		Type: &common.WorkflowType{Name: signals.ReleaseWorkflow},
	}}, nil
}

func (o *oneRelease) QueryWorkflow(context.Context, string, string, string, ...any) (converter.EncodedValue, error) {
	return client.NewValue(o.status), nil
}

func (o *oneRelease) NewWithStartWorkflowOperation(client.StartWorkflowOptions, any, ...any) client.WithStartWorkflowOperation {
	return nil
}

func (o *oneRelease) UpdateWorkflow(_ context.Context, options client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	o.updates = append(o.updates, options)
	return accepted{}, nil
}

func (o *oneRelease) SignalWithStartWorkflow(context.Context, string, string, any, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	return nil, nil
}

type accepted struct{ client.WorkflowUpdateHandle }

func (accepted) Get(_ context.Context, into any) error {
	*into.(*signals.Receipt) = signals.Receipt{Accepted: true}
	return nil
}

// whoever takes each token for the same operator.
type whoever struct{}

func (whoever) Verify(context.Context, string) (auth.Identity, error) {
	return auth.Identity{
		Subject: signals.Subject{Issuer: "https://issuer.example", ID: "on-call", Groups: []string{apitest.Operators}},
		Authn:   signals.Authentication{Method: "oidc"},
	}, nil
}

// FuzzAPIBodies sends bodies of decisions, of commands and of commands to lanes
// through the real handler. What gets as far as a release is well-formed, says
// what the body says, and is bound to the release that the path names.
func FuzzAPIBodies(f *testing.F) {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(signals.Status{
		Release: "r-1", Run: "run-1", PlanDigest: apitest.PlanDigest, Phase: signals.Approving,
	})
	if err != nil {
		f.Fatal(err)
	}
	temporal := &oneRelease{status: payloads}
	signer, err := auth.NewSigners([]auth.SigningKey{apitest.NewKey(f, "gateway-1")})
	if err != nil {
		f.Fatal(err)
	}
	public, err := signer.PublicKeys()
	if err != nil {
		f.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	counter := desk.New(desk.Options{
		Temporal: temporal, Signer: signer, Operators: []string{apitest.Operators}, Now: time.Now, Log: log, Metrics: prometheus.NewRegistry(),
	})
	handler := api.New(api.Options{
		Desk: counter, Tokens: whoever{}, Now: time.Now, Log: log, Metrics: prometheus.NewRegistry(), PublicURL: "https://waybill.example",
	})
	paths := []string{"/v1/releases/r-1/approvals", "/v1/releases/r-1/commands", "/v1/lanes/prod/payments-api/commands"}
	for path, bodies := range [][]string{
		{decision("approve"), decision("withdraw"), decision("maybe"), strings.Replace(decision("deny"), `"reason"`, `"command":"c0ffee","reason"`, 1)},
		{`{"command":"extend","by":"10m","reason":"x"}`, `{"command":"extend","by":"-10m","reason":"x"}`, `{"command":"abort","reason":"x","by":1e9}`},
		{`{"command":"unfreeze","reason":"x"}`, `{"command":"close-review","reviewed":"r-0","reason":"x"}`, `{"command":"unfreeze","until":"9999-99-99","reason":"x"}`},
	} {
		for _, body := range bodies {
			f.Add(uint8(path), []byte(body), "")
			f.Add(uint8(path), []byte(body), "key")
		}
	}
	f.Add(uint8(0), []byte(`[`), "")
	f.Add(uint8(1), []byte("\x00\xff"), "\x00")
	f.Fuzz(func(t *testing.T, which uint8, body []byte, key string) {
		temporal.updates = nil
		path := paths[int(which)%len(paths)]
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer x")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if res.Code >= http.StatusInternalServerError {
			t.Fatalf("%s: %d %s", path, res.Code, res.Body)
		}
		if (res.Code == http.StatusOK) != (len(temporal.updates) == 1) {
			t.Fatalf("%s answered %d and sent %d messages", path, res.Code, len(temporal.updates))
		}
		for _, update := range temporal.updates {
			judge(t, public, path, body, update)
		}
	})
}

// judge holds what was sent against what was asked for.
func judge(t *testing.T, keys []signals.PublicKey, path string, body []byte, update client.UpdateWorkflowOptions) {
	t.Helper()
	var asked struct{ Decision, Command, Reason string }
	if err := json.Unmarshal(body, &asked); err != nil {
		t.Fatalf("sent although the body is no JSON: %v", err)
	}
	envelope := update.Args[0].(signals.Message).Envelope
	open := func(payloadType string, into any) {
		if err := envelope.OpenInto(payloadType, keys, time.Now(), into); err != nil {
			t.Fatal(err)
		}
	}
	var binding signals.Binding
	var reason string
	switch {
	case strings.HasSuffix(path, "/approvals"):
		var s signals.ApprovalStatement
		open(signals.ApprovalPayload, &s)
		binding, reason = s.Binding, s.Reason
		if !slices.Contains([]signals.Decision{signals.Approve, signals.Deny, signals.Withdraw}, s.Decision) || s.PlanDigest != apitest.PlanDigest {
			t.Fatalf("sent %+v", s)
		}
	case strings.HasPrefix(path, "/v1/releases/"):
		var s signals.CommandStatement
		open(signals.CommandPayload, &s)
		binding, reason = s.Binding, s.Reason
		if !slices.Contains(signals.CommandKinds(), s.Command) {
			t.Fatalf("sent %+v", s)
		}
	default:
		var s signals.LaneCommandStatement
		open(signals.LaneCommandPayload, &s)
		binding, reason = s.Binding, s.Reason
		if !slices.Contains([]signals.LaneCommandKind{signals.Freeze, signals.Unfreeze, signals.CloseReview}, s.Command) {
			t.Fatalf("sent %+v", s)
		}
	}
	if binding.Release != update.WorkflowID || binding.Nonce == "" || update.UpdateID == "" || reason == "" {
		t.Fatalf("sent %+v because of %q to %s", binding, reason, update.WorkflowID)
	}
}
