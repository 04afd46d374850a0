package slackemu

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// Faults are what goes wrong on purpose. The zero value is a Slack that works.
type Faults struct {
	// RateLimitEvery answers each n-th call of the API with 429, to be tried again
	// after RetryAfter seconds (1 if zero).
	RateLimitEvery int `json:"rateLimitEvery,omitempty"`
	RetryAfter     int `json:"retryAfter,omitempty"`
	// Down cuts Slack off for that long: calls end without an answer, or with 503
	// if Answering, and nobody can click.
	Down      signals.Duration `json:"down,omitempty"`
	Answering bool             `json:"answering,omitempty"`
	// Slow is how long each call takes.
	Slow signals.Duration `json:"slow,omitempty"`
	// LoseAnswers carries that many writing calls out and cuts the connection
	// instead of answering.
	LoseAnswers int `json:"loseAnswers,omitempty"`
	// Errors refuses methods with a code of Slack's, such as channel_not_found.
	Errors map[string]string `json:"errors,omitempty"`
	// Methods are those that RateLimitEvery, Slow and LoseAnswers are about; all
	// if empty.
	Methods []string `json:"methods,omitempty"`
	// Retries delivers a callback that was not answered in time, or not with 200,
	// that many times more; Repeats does so with one that was.
	Retries int `json:"retries,omitempty"`
	Repeats int `json:"repeats,omitempty"`
	// RetryDelay is the time before each further delivery, 500ms if zero.
	RetryDelay signals.Duration `json:"retryDelay,omitempty"`
}

// faultState is Faults in force.
type faultState struct {
	Faults
	calls int
	until time.Time // the end of Down
}

// SetFaults makes faults from now on, in place of those before.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faultState{Faults: f}
	if f.Down > 0 {
		s.faults.until = time.Now().Add(f.Down.D())
		for _, c := range s.sockets {
			c.close()
		}
	}
}

// down tells whether Slack is cut off. The caller holds the lock.
func (s *Server) down() bool { return time.Now().Before(s.faults.until) }

// meddle makes the faults of a call: done if it has been answered, lose if it
// is to be carried out without an answer.
func (s *Server) meddle(w http.ResponseWriter, r *http.Request, name string) (lose, done bool) {
	s.mu.Lock()
	f := &s.faults
	down, answering, about := s.down(), f.Answering, len(f.Methods) == 0 || slices.Contains(f.Methods, name)
	var limited bool
	var slow time.Duration
	if about && !down {
		f.calls++
		limited = f.RateLimitEvery > 0 && f.calls%f.RateLimitEvery == 0
		slow = f.Slow.D()
		if f.LoseAnswers > 0 && !limited && methods()[name].write {
			f.LoseAnswers--
			lose = true
		}
	}
	after := max(1, f.RetryAfter)
	s.mu.Unlock()
	switch {
	case down && answering:
		http.Error(w, "<html><body>Service Unavailable</body></html>", http.StatusServiceUnavailable)
		return false, true
	case down:
		cut(w)
		return false, true
	case limited:
		w.Header().Set("Retry-After", strconv.Itoa(after))
		writeJSON(w, http.StatusTooManyRequests, object{"ok": false, "error": "ratelimited"})
		return false, true
	}
	if slow > 0 {
		select {
		case <-r.Context().Done():
		case <-time.After(slow):
		}
	}
	return lose, false
}

// cut ends a connection without an answer.
func cut(w http.ResponseWriter) {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
		return
	}
	panic(http.ErrAbortHandler)
}
