package slackapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

// maxBody bounds what is read of a request: a click brings back the message that
// it was made on, which is kept well below.
const maxBody = 64 << 10

// serve takes one of Slack's requests: it is read once, as it came; its signature
// is checked over exactly that; and then only is it looked into.
func (a *App) serve(read func([]byte) (input, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		d := delivery{remote: remote(r), digest: signals.Digest(body), again: r.Header.Get(headerRetry) != ""}
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			a.reject(d, "it is larger than is read")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := verify(r.Header, body, a.SigningSecret, a.Now()); err != nil {
			a.reject(d, err.Error())
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		in, err := read(body)
		if err != nil {
			a.reject(d, err.Error())
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		write(w, a.handle(r.Context(), in, d))
	}
}

// reject has a request written down that can't be tied to anybody.
func (a *App) reject(d delivery, reason string) {
	a.Desk.Refuse(desk.Refusal{What: whatRequest, Channel: channelSlack, Reasons: []string{reason}, Remote: d.remote, Message: d.digest})
}

// remote is the address that a request came from, without its port.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func write(w http.ResponseWriter, ans answer) {
	if ans.body == nil {
		w.WriteHeader(ans.status)
		return
	}
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(ans.body); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(ans.status)
	// Slack hanging up is Slack's to repeat.
	_, _ = w.Write(body.Bytes())
}
