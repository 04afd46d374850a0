package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// ErrUnknown means that the directory has nobody, or not exactly one, of that
// name. Errors that don't wrap it are technical: nothing can be said now.
var ErrUnknown error = unknownError{}

// unknownError is how callers that don't import this package know ErrUnknown.
type unknownError struct{}

func (unknownError) Error() string { return "not in the directory" }

// Unknown is true: the directory answered, and the answer was no.
func (unknownError) Unknown() bool { return true }

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnknown}, args...)...)
}

const (
	// askTimeout bounds one question, whoever waits for it.
	askTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

// Config says which directory to ask and how.
type Config struct {
	// URL is the base of the SCIM service, such as https://idp.example/scim/v2.
	URL string
	// Token is the path of a file with the bearer token; it is read anew for each
	// question, so that the token can be changed at any time.
	Token string
	// Issuer is the identity provider whose subjects the directory's users are.
	Issuer string
	// Subject is the attribute that holds the subject there: ByExternalID (as if
	// empty), ByID or ByUserName.
	Subject string
	// Fresh is how long an answer counts, a minute if zero; Unknown how long
	// "nobody" does, ten seconds if zero.
	Fresh, Unknown time.Duration
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

func (c Config) complete() (Config, error) {
	if c.Subject == "" {
		c.Subject = ByExternalID
	}
	if c.Fresh == 0 {
		c.Fresh = time.Minute
	}
	if c.Unknown == 0 {
		c.Unknown = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	base, err := url.Parse(c.URL)
	var faults []error
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		faults = append(faults, fmt.Errorf("url %q: want the address of a SCIM 2.0 service, such as https://idp.example/scim/v2", c.URL))
	}
	if c.Token == "" {
		faults = append(faults, errors.New("token: want the path of a file with the bearer token"))
	}
	if c.Issuer == "" {
		faults = append(faults, errors.New("issuer: want the URL of the identity provider whose subjects the directory lists"))
	}
	if !slices.Contains([]string{ByExternalID, ByID, ByUserName}, c.Subject) {
		faults = append(faults, fmt.Errorf("subject %q: want %s, %s or %s", c.Subject, ByExternalID, ByID, ByUserName))
	}
	if err := errors.Join(faults...); err != nil {
		return c, fmt.Errorf("directory: %w", err)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	return c, nil
}

// scim asks the directory, each time anew.
type scim struct {
	config Config
	http   *http.Client
}

func newSCIM(c Config) *scim {
	return &scim{config: c, http: &http.Client{
		Timeout: askTimeout,
		// The token is for this service; where it points to is not asked.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *scim) byEmail(ctx context.Context, address string) (signals.Person, error) {
	users, err := s.find(ctx, "emails.value", address)
	if err != nil {
		return signals.Person{}, err
	}
	found, err := chosen(users, address)
	if err != nil {
		return signals.Person{}, err
	}
	return found.person(s.config.Issuer, s.config.Subject)
}

func (s *scim) bySubject(ctx context.Context, id string) (signals.Person, error) {
	var users []user
	var err error
	if s.config.Subject == ByID {
		users, err = s.get(ctx, id)
	} else {
		users, err = s.find(ctx, s.config.Subject, id)
	}
	if err != nil {
		return signals.Person{}, err
	}
	// A service that takes a filter for a hint must not hand over somebody else.
	users = slices.DeleteFunc(users, func(u user) bool { return u.subject(s.config.Subject) != id })
	if len(users) != 1 {
		return signals.Person{}, unknown("%d accounts have the %s %q, want exactly one", len(users), s.config.Subject, id)
	}
	return users[0].person(s.config.Issuer, s.config.Subject)
}

// find lists the users of which an attribute equals value.
func (s *scim) find(ctx context.Context, attribute, value string) ([]user, error) {
	// A filter's string is a JSON string (RFC 7644, section 3.4.2.2).
	quoted, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("ask the directory for %s %q: %w", attribute, value, err)
	}
	var answer list
	query := url.Values{"filter": {attribute + " eq " + string(quoted)}, "count": {"20"}}
	if err := s.ask(ctx, "/Users?"+query.Encode(), &answer); err != nil {
		return nil, err
	}
	if answer.TotalResults > len(answer.Resources) {
		return nil, unknown("%d accounts have the %s %q, want exactly one", answer.TotalResults, attribute, value)
	}
	return answer.Resources, nil
}

func (s *scim) get(ctx context.Context, id string) ([]user, error) {
	var found user
	if err := s.ask(ctx, "/Users/"+url.PathEscape(id), &found); err != nil {
		return nil, err
	}
	return []user{found}, nil
}

// ask gets one resource. That it isn't there is ErrUnknown.
func (s *scim) ask(ctx context.Context, resource string, into any) error {
	token, err := os.ReadFile(s.config.Token)
	if err != nil {
		return fmt.Errorf("directory's token: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.URL+resource, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask the directory: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Accept", "application/scim+json, application/json")
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the directory: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the directory's answer: %w", err)
	case response.StatusCode == http.StatusNotFound && strings.HasPrefix(resource, "/Users/"):
		return unknown("no account has the id %q", strings.TrimPrefix(resource, "/Users/"))
	case response.StatusCode == http.StatusUnauthorized, response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("the directory at %s refuses the token in %s (%s): put a good one there", s.config.URL, s.config.Token, response.Status)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the directory at %s answered %s: %.200q", s.config.URL, response.Status, body)
	case len(body) > maxAnswer:
		return fmt.Errorf("the directory at %s answered more than %d bytes to a question about one person", s.config.URL, maxAnswer)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the directory at %s answered what is no SCIM resource: %w", s.config.URL, err)
	}
	return nil
}
