package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

const (
	// requestValidity is how long a signed request may wait to be started.
	requestValidity = 10 * time.Minute
	// memoRequester is the memo that names the requester's subject.
	memoRequester = "waybillRequester"
	// maxSummary is the server's limit for a summary, in bytes.
	maxSummary = 200
)

type startInput struct {
	ID      string `query:"id" doc:"The release's id, chosen by the caller: a second start with the same id is refused, so that a start can be repeated safely. Letters, digits, dot, dash, underscore. A new id is made if absent." maxLength:"127"`
	RawBody []byte `contentType:"application/json"`
}

type startOutput struct {
	Location string `header:"Location"`
	Body     wire.Started
}

func (s *server) registerStart(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "start-release", Method: http.MethodPost, Path: "/v1/releases", Security: secured,
		Summary:       "Start a release",
		Description:   "The body is the request itself, the same JSON that `temporal workflow start --input` takes. It is read strictly: unknown fields are refused.",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: signals.MaxRequestBytes, SkipValidateBody: true,
		Errors: []int{400, 401, 409, 422, 503},
	}, s.start)
	// The body is read raw, to be parsed with the same rules as in the
	// workflow; its type has to be told by hand.
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[signals.Request](), true, "")
	api.OpenAPI().Paths["/v1/releases"].Post.RequestBody.Content["application/json"].Schema = schema
}

func (s *server) start(ctx context.Context, in *startInput) (*startOutput, error) {
	request, err := signals.ParseRequest(in.RawBody)
	if err != nil {
		return nil, invalid(err)
	}
	if request.Envelope != nil {
		return nil, huma.Error422UnprocessableEntity("envelope: the gateway signs requests itself; leave the field out")
	}
	now := s.Now().UTC()
	id := in.ID
	if id == "" {
		id = signals.ReleaseID(request.Service, request.Environment, now.Format("20060102-150405-")+auth.Nonce()[:4])
	}
	if !signals.ValidReleaseID(id) {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("id %q: want up to 127 letters, digits, dots, dashes and underscores, beginning with a letter or digit", id))
	}
	who := identity(ctx)
	request.RequestedBy = who.Subject.Display()
	envelope, err := s.Signer.Sign(signals.RequestPayload, signals.RequestStatement{
		Binding: signals.Binding{Release: id, Nonce: auth.Nonce(), IssuedAt: now, ExpiresAt: now.Add(requestValidity)},
		Request: request, Requester: who.Subject, Authn: who.Authn,
	})
	if err != nil {
		return nil, huma.Error500InternalServerError(err.Error())
	}
	request.Envelope = &envelope

	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	run, err := s.Temporal.ExecuteWorkflow(ctx, startOptions(id, request, who.Subject), signals.ReleaseWorkflow, request)
	if taken, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return nil, huma.Error409Conflict(fmt.Sprintf(
			"release %s exists already (run %s), and an id is used once only; see it with: waybill status %s", id, taken.RunId, id))
	}
	if err != nil {
		return nil, problem(err, "start release "+id)
	}
	return &startOutput{Location: "/v1/releases/" + id, Body: wire.Started{Release: id, Run: run.GetRunID()}}, nil
}

// startOptions never lets a second start join or replace a release, running or
// past: its papers are kept under its id.
func startOptions(id string, r signals.Request, who signals.Subject) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                signals.ReleaseQueue,
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			signals.AttrService.ValueSet(r.Service),
			signals.AttrEnvironment.ValueSet(r.Environment),
			signals.AttrPhase.ValueSet(string(signals.Intake)),
		),
		Memo:          map[string]any{memoRequester: who.Key()},
		StaticSummary: summary(r),
		StaticDetails: details(r, who),
	}
}

// summary is the release's line in Temporal's lists.
func summary(r signals.Request) string {
	image := r.Image
	if i := strings.LastIndex(image, "/"); i >= 0 {
		image = image[i+1:]
	}
	if i := strings.Index(image, "@sha256:"); i >= 0 && len(image) > i+20 {
		image = image[:i+20]
	}
	text := fmt.Sprintf("%s → %s · %s", r.Service, r.Environment, image)
	if r.Ticket != "" {
		text += " · " + r.Ticket
	}
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "")
	}
	return text
}

// details is what Temporal's page of the release says at its top. The values
// come from outside and are quoted as code, so that they can't pose as markup.
func details(r signals.Request, who signals.Subject) string {
	code := func(s string) string {
		if s == "" {
			return "–"
		}
		return "`" + strings.NewReplacer("`", "'", "\n", " ", "|", "/").Replace(s) + "`"
	}
	return fmt.Sprintf("| | |\n|---|---|\n| image | %s |\n| commit | %s |\n| ticket | %s |\n| asked for by | %s |\n| reason | %s |\n",
		code(r.Image), code(r.Commit), code(r.Ticket), code(who.Display()), code(r.Reason))
}
