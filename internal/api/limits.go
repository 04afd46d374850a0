package api

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Rate is how many calls per second are served in the long run, and how many at
// once. The zero value is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Rates are the limits of callers.
type Rates struct {
	Subject Rate // of one subject, over all its addresses
	Address Rate // of one address, before anybody is authenticated
}

// callersKnown is how many callers' limits are remembered. Whoever falls out
// starts afresh, which takes as many other callers.
const callersKnown = 10_000

// limiter holds callers to a rate, each by itself.
type limiter struct {
	rate  Rate
	known *lru.Cache[string, *rate.Limiter]
}

func newLimiter(r Rate) *limiter {
	if r.PerSecond <= 0 || r.Burst <= 0 {
		return nil
	}
	known, err := lru.New[string, *rate.Limiter](callersKnown)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &limiter{rate: r, known: known}
}

// allow reports whether the caller may be served now, and if not, when to ask
// again.
func (l *limiter) allow(caller string, now time.Time) (time.Duration, bool) {
	if l == nil {
		return 0, true
	}
	own := rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst)
	if known, ok, _ := l.known.PeekOrAdd(caller, own); ok {
		own = known
		l.known.Get(caller) // it was used just now
	}
	if own.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - own.TokensAt(now)
	return time.Duration(missing / l.rate.PerSecond * float64(time.Second)), false
}

// retryAfter is the header's form of a wait: whole seconds, at least one.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// limitAddress holds each address to its rate.
func (s *server) limitAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait, ok := s.perAddress.allow(r.RemoteAddr, s.Now()); !ok {
			w.Header().Set("Retry-After", retryAfter(wait))
			http.Error(w, "too many calls from this address", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// remote is the address of the caller without its port: the peer's, or, if that
// is one of our proxies, the last one in X-Forwarded-For that is none of them.
func remote(r *http.Request, proxies []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := peer.Addr().Unmap()
	trusted := func(a netip.Addr) bool {
		for _, p := range proxies {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	return addr.String()
}
