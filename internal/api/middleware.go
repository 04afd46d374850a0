package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/desk"
	"github.com/waybill-dev/waybill/signals"
)

const bearer = "bearer"

// secured marks an operation as open to authenticated callers only.
var secured = []map[string][]string{{bearer: {}}}

type contextKey int

const (
	identityKey contextKey = iota
	callKey
)

// call is what the access log learns about a request on its way inwards.
type call struct{ operation, subject string }

// identity is the caller of a secured operation.
func identity(ctx context.Context) auth.Identity {
	id, _ := ctx.Value(identityKey).(auth.Identity)
	return id
}

// authenticate demands a valid bearer token for every secured operation.
func (s *server) authenticate(api huma.API) func(huma.Context, func(huma.Context)) {
	refuse := func(ctx huma.Context, status int, detail string) {
		if status == http.StatusUnauthorized {
			ctx.SetHeader("WWW-Authenticate", `Bearer realm="waybill"`)
		}
		// The answer is all that could be done about a failure to write it.
		_ = huma.WriteErr(api, ctx, status, detail)
	}
	return func(ctx huma.Context, next func(huma.Context)) {
		seen, _ := ctx.Context().Value(callKey).(*call)
		seen.operation = ctx.Operation().OperationID
		if len(ctx.Operation().Security) == 0 {
			next(ctx)
			return
		}
		scheme, token, _ := strings.Cut(ctx.Header("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			refuse(ctx, http.StatusUnauthorized, "no bearer token; log in with: waybill login")
			return
		}
		id, err := s.Tokens.Verify(ctx.Context(), token)
		switch {
		case errors.Is(err, auth.ErrIssuer):
			refuse(ctx, http.StatusServiceUnavailable, err.Error())
			return
		case err != nil:
			s.Desk.Refuse(desk.Refusal{
				What: "token", Channel: channel(ctx), Reasons: []string{err.Error()}, Claimed: claimed(token),
				Remote: ctx.RemoteAddr(), About: ctx.Param("release"), Message: signals.Digest([]byte(token)),
			})
			refuse(ctx, http.StatusUnauthorized, err.Error())
			return
		}
		id.Authn.Channel = channel(ctx)
		seen.subject = id.Subject.Key()
		if wait, ok := s.perSubject.allow(seen.subject, s.Now()); !ok {
			ctx.SetHeader("Retry-After", retryAfter(wait))
			refuse(ctx, http.StatusTooManyRequests, id.Subject.Display()+" asks too often; slow down")
			return
		}
		next(huma.WithValue(ctx, identityKey, id))
	}
}

// claimed is whom a token that was refused says that it speaks for, as far as it
// can be read. Nothing is believed of it.
func claimed(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return ""
	}
	return claims.Issuer + "#" + claims.Subject
}

func channel(ctx huma.Context) string {
	if strings.HasPrefix(ctx.Header("User-Agent"), "waybill/") {
		return "cli"
	}
	return "api"
}

// named tells the access log what a handler beside the API serves.
func named(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen, ok := r.Context().Value(callKey).(*call); ok {
			seen.operation = strings.Trim(path, "/")
		}
		next.ServeHTTP(w, r)
	})
}

// observe logs and counts every request, under the address that it came from.
// Neither headers nor query strings are logged, so that no token ever is.
func (s *server) observe(next http.Handler) http.Handler {
	duration := promauto.With(s.Metrics).NewHistogramVec(prometheus.HistogramOpts{
		Name:    "waybill_gateway_request_duration_seconds",
		Help:    "Time to answer an API request, by operation and status.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"operation", "status"})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		r.RemoteAddr = remote(r, s.Proxies)
		seen := &call{operation: "other"}
		out := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), callKey, seen)))
		took := time.Since(begin)
		duration.WithLabelValues(seen.operation, strconv.Itoa(out.status)).Observe(took.Seconds())
		s.Log.InfoContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", out.status,
			"took", took, "operation", seen.operation, "subject", seen.subject, "remote", r.RemoteAddr)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status on its way out.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
