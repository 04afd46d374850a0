package api

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/desk"
)

// statuses gives each kind of a desk's errors its HTTP status.
var statuses = []struct {
	kind   error
	status int
}{
	{desk.ErrInvalid, http.StatusUnprocessableEntity},
	{desk.ErrStepUp, http.StatusForbidden},
	{desk.ErrNotAllowed, http.StatusForbidden},
	{desk.ErrNotFound, http.StatusNotFound},
	{desk.ErrReplayed, http.StatusConflict},
	{desk.ErrConflict, http.StatusConflict},
	{desk.ErrEnded, http.StatusConflict},
	{desk.ErrNoAnswer, http.StatusServiceUnavailable},
}

func statusOf(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// problem turns an error of the desk into an answer.
func problem(err error) error { return huma.NewError(statusOf(err), desk.Explain(err)) }

// problemWith is the answer about a message to a release: it says where a
// decision can be made that asks for a fresh login.
func (s *server) problemWith(err error, release string) error {
	out := &huma.ErrorModel{Status: statusOf(err), Title: http.StatusText(statusOf(err)), Detail: desk.Explain(err)}
	switch {
	case errors.Is(err, desk.ErrStepUp) && s.PublicURL != "":
		out.Type = wire.StepUpProblem
		out.Instance = s.PublicURL + "/decide/" + url.PathEscape(release)
	case errors.Is(err, desk.ErrReplayed):
		out.Type = wire.ReplayedProblem
	}
	return out
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
