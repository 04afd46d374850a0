package slackapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a request of Slack's.
const (
	headerSignature = "X-Slack-Signature"
	headerTime      = "X-Slack-Request-Timestamp"
	headerRetry     = "X-Slack-Retry-Num"
)

// window is how old, or how far ahead, a request's time may be: a request that
// was overheard is good for no longer.
const window = 5 * time.Minute

// verify checks that a request is Slack's: an HMAC-SHA256 over version, time and
// the body exactly as it came, by the secret that Slack and this app share.
func verify(header http.Header, body []byte, secret string, now time.Time) error {
	signature, stamp := header.Get(headerSignature), header.Get(headerTime)
	if secret == "" {
		return errors.New("requests over HTTP are not taken: no signing secret is configured")
	}
	if signature == "" || stamp == "" {
		return errors.New("it is not signed")
	}
	if len(header.Values(headerSignature)) != 1 || len(header.Values(headerTime)) != 1 {
		return errors.New("it is signed twice")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != stamp {
		return errors.New("its time is not a number of seconds")
	}
	digits, ok := strings.CutPrefix(signature, "v0=")
	given, err := hex.DecodeString(digits)
	if !ok || err != nil || len(given) != sha256.Size {
		return errors.New("its signature is not of version 0")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	// A hash takes whatever it is given.
	_, _ = fmt.Fprintf(mac, "v0:%s:", stamp)
	_, _ = mac.Write(body)
	if !hmac.Equal(mac.Sum(nil), given) {
		return errors.New("its signature is not by the app's signing secret")
	}
	// Of good signatures alone it is told that the time is wrong.
	if age := now.Sub(time.Unix(seconds, 0)); age > window || age < -window {
		return fmt.Errorf("its time is %s away from now; it is taken for at most %s", age.Abs().Round(time.Second), window)
	}
	return nil
}
