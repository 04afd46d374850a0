package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
)

// Exit statuses that are the client's own; those of outcomes are in
// signals.OutcomeKind.ExitCode. docs/cli.md lists them all.
const (
	exitError       = 1
	exitUsage       = 2
	exitAuth        = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitUnreachable = 7
)

// exit is an error that decides the exit status. Without an error inside it
// ends the program silently: what there was to say has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// ExitCode is the exit status that the error asks for.
func (e *exit) ExitCode() int { return e.code }

func failed(code int, err error) error { return &exit{code: code, err: err} }

// exitCode finds the exit status for an error of a command. An error of any
// package may choose its own by an ExitCode method.
func exitCode(err error) int {
	var chosen interface{ ExitCode() int }
	var refusal *apiclient.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &chosen):
		return chosen.ExitCode()
	case errors.As(err, &refusal):
		return codeOfStatus(refusal.Status)
	case errors.Is(err, apiclient.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exitUnreachable
	}
	return exitError
}

func codeOfStatus(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitAuth
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict:
		return exitConflict
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnreachable
	}
	return exitError
}
