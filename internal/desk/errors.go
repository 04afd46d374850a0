package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// What can be wrong with what a desk was asked for. Each error of a desk wraps
// one of these.
var (
	ErrInvalid    = errors.New("invalid")
	ErrNotAllowed = errors.New("not allowed")
	// ErrStepUp asks for the same decision after a fresh login.
	ErrStepUp   = errors.New("a fresh login is needed")
	ErrNotFound = errors.New("not found")
	// ErrEnded says that the release has ended; nothing reaches it any more.
	ErrEnded    = errors.New("ended")
	ErrConflict = errors.New("conflict")
	// ErrReplayed says that this very message was counted before.
	ErrReplayed = errors.New("counted before")
	// ErrNoAnswer means that nobody answered in time. It may have arrived; trying
	// again is safe.
	ErrNoAnswer = errors.New("no answer")
)

// Error is why a desk didn't do what it was asked for.
type Error struct {
	// Kind is one of the errors of this package, nil for a technical failure.
	Kind error
	// Type is the release's own error type (signals.Err…), "" if the refusal is
	// not the release's.
	Type string
	// Detail says it for people, whole.
	Detail string
	cause  error
}

// Error is the detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.Kind, e.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Explain says an error of a desk for people.
func Explain(err error) string {
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Detail
	}
	return reason(err)
}

// kinds tells what an error type of a release means here.
var kinds = map[string]error{
	signals.ErrBadRequest: ErrInvalid,
	signals.ErrUntrusted:  ErrNotAllowed,
	signals.ErrNotAllowed: ErrNotAllowed,
	signals.ErrRefused:    ErrNotAllowed,
	signals.ErrStepUp:     ErrStepUp,
	signals.ErrReplayed:   ErrReplayed,
	signals.ErrNotNow:     ErrConflict,
	signals.ErrConflict:   ErrConflict,
	signals.ErrReset:      ErrConflict,
}

func fault(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// answer turns an error of Temporal, or of a workflow through Temporal, into one
// of this package. what says what was attempted.
func answer(err error, what string) error {
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return &Error{Kind: kinds[refused.Type()], Type: refused.Type(), Detail: refused.Message(), cause: err}
	}
	return &Error{Kind: kindOf(err), Detail: fmt.Sprintf("%s: %s", what, reason(err)), cause: err}
}

func kindOf(err error) error {
	switch {
	case is[*serviceerror.NotFound](err):
		return ErrNotFound
	case is[*serviceerror.WorkflowExecutionAlreadyStarted](err):
		return ErrConflict
	case is[*serviceerror.InvalidArgument](err):
		return ErrInvalid
	case noAnswer(err):
		return ErrNoAnswer
	}
	return nil
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

func reason(err error) string {
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
