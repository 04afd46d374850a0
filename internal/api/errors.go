package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// refusals maps the types of errors that a release answers with to HTTP.
var refusals = map[string]int{
	signals.ErrBadRequest: http.StatusUnprocessableEntity,
	signals.ErrUntrusted:  http.StatusForbidden,
	signals.ErrNotAllowed: http.StatusForbidden,
	signals.ErrRefused:    http.StatusForbidden,
	signals.ErrNotNow:     http.StatusConflict,
	signals.ErrConflict:   http.StatusConflict,
	signals.ErrReset:      http.StatusConflict,
}

// problem turns an error of Temporal, or of a workflow through Temporal, into
// an answer. what says what was attempted, for the text.
func problem(err error, what string) error {
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		status, known := refusals[refused.Type()]
		if !known {
			status = http.StatusInternalServerError
		}
		return huma.NewError(status, refused.Message())
	}
	return huma.NewError(statusOf(err), fmt.Sprintf("%s: %s", what, explain(err)))
}

func statusOf(err error) int {
	switch {
	case is[*serviceerror.NotFound](err):
		return http.StatusNotFound
	case is[*serviceerror.WorkflowExecutionAlreadyStarted](err):
		return http.StatusConflict
	case is[*serviceerror.InvalidArgument](err):
		return http.StatusBadRequest
	case noAnswer(err):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// noAnswer tells errors after which asking again later makes sense: no server,
// no worker, or none in time.
func noAnswer(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		is[*serviceerror.Unavailable](err) || is[*serviceerror.DeadlineExceeded](err) ||
		is[*serviceerror.Canceled](err) || is[*serviceerror.ResourceExhausted](err) ||
		is[*serviceerror.WorkflowNotReady](err) || is[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err) ||
		// "no poller seen for task queue recently, worker may be down"
		is[*serviceerror.FailedPrecondition](err)
}

func explain(err error) string {
	switch {
	case is[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err), errors.Is(err, context.DeadlineExceeded), is[*serviceerror.DeadlineExceeded](err):
		return "no worker answered in time; is a worker of the release role running?"
	case is[*serviceerror.FailedPrecondition](err) && strings.Contains(err.Error(), "poller"):
		return "no worker of the release role is running"
	case is[*serviceerror.Unavailable](err):
		return "Temporal can't be reached: " + err.Error()
	}
	return err.Error()
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// invalid lists each fault of a request by itself.
func invalid(err error) error {
	var faults []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	if len(faults) == 0 {
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return huma.Error422UnprocessableEntity("the request has faults", faults...)
}
