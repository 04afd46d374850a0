package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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

// Start signs a request and starts a release of it as who. id may be "" for one
// that is made here. A second start with the same id is an ErrConflict.
func (d *Desk) Start(ctx context.Context, who auth.Identity, request signals.Request, id string) (wire.Started, error) {
	started, err := d.start(ctx, who, request, id)
	if errors.Is(err, ErrNotAllowed) {
		d.record("request", who, id, err)
	}
	return started, err
}

func (d *Desk) start(ctx context.Context, who auth.Identity, request signals.Request, id string) (wire.Started, error) {
	if request.Envelope != nil {
		return wire.Started{}, fault(ErrInvalid, "envelope: the gateway signs requests itself; leave the field out")
	}
	who, err := d.enrich(ctx, who, toStart)
	if err != nil {
		return wire.Started{}, err
	}
	now := d.Now().UTC()
	if id == "" {
		id = signals.ReleaseID(request.Service, request.Environment, now.Format("20060102-150405-")+auth.Nonce()[:4])
	}
	if !signals.ValidReleaseID(id) {
		return wire.Started{}, fault(ErrInvalid, "id %q: want up to 127 letters, digits, dots, dashes and underscores, beginning with a letter or digit", id)
	}
	request.RequestedBy = who.Subject.Display()
	envelope, err := d.Signer.Sign(signals.RequestPayload, signals.RequestStatement{
		Binding: signals.Binding{Release: id, Nonce: auth.Nonce(), IssuedAt: now, ExpiresAt: now.Add(requestValidity)},
		Request: request, Requester: who.Subject, Authn: who.Authn,
	})
	if err != nil {
		return wire.Started{}, &Error{Detail: err.Error(), cause: err}
	}
	request.Envelope = &envelope

	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	run, err := d.Temporal.ExecuteWorkflow(ctx, startOptions(id, request, who.Subject), signals.ReleaseWorkflow, request)
	if taken, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return wire.Started{}, fault(ErrConflict,
			"release %s exists already (run %s), and an id is used once only; see it with: waybill status %s", id, taken.RunId, id)
	}
	if err != nil {
		return wire.Started{}, answer(err, "start release "+id)
	}
	return wire.Started{Release: id, Run: run.GetRunID()}, nil
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
