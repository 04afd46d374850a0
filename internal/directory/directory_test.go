package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/internal/directory"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/signals"
)

// world is a directory in front of the local issuer's SCIM service, with a clock
// of its own and a count of the questions that went through.
type world struct {
	issuer    *oidcissuer.Issuer
	directory *directory.Directory
	token     string // path
	asked     *atomic.Int64
	now       time.Time
}

func newWorld(t *testing.T, change func(*directory.Config)) *world {
	t.Helper()
	issuer, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	w := &world{issuer: issuer, token: tokenFile(t, issuer.Secrets().Directory), asked: &atomic.Int64{}, now: time.Unix(1_700_000_000, 0)}
	forward := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		w.asked.Add(1)
		request, err := http.NewRequestWithContext(in.Context(), in.Method, issuer.URL+in.URL.RequestURI(), http.NoBody)
		assert.NoError(t, err)
		request.Header = in.Header.Clone()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		out.WriteHeader(response.StatusCode)
		_, err = io.Copy(out, response.Body)
		assert.NoError(t, err)
	}))
	t.Cleanup(forward.Close)
	config := directory.Config{
		URL: forward.URL + oidcissuer.SCIMPath + "/", Token: w.token, Issuer: issuer.URL, Now: func() time.Time { return w.now },
	}
	if change != nil {
		change(&config)
	}
	w.directory, err = directory.New(config)
	require.NoError(t, err)
	return w
}

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(token+"\n"), 0o600))
	return path
}

func (w *world) subject(id string) signals.Subject {
	return signals.Subject{Issuer: w.issuer.URL, ID: id}
}

func TestPeopleAreFoundByAddressAndBySubject(t *testing.T) {
	for _, attribute := range []string{"", directory.ByExternalID, directory.ByID, directory.ByUserName} {
		t.Run("subject in "+attribute, func(t *testing.T) {
			w := newWorld(t, func(c *directory.Config) { c.Subject = attribute })
			want := signals.Person{Active: true, Subject: signals.Subject{
				Issuer: w.issuer.URL, ID: "risk-officer", Name: "risk-officer", Email: "risk-officer@payments.example",
				Groups: []string{"risk"}, Aliases: []string{"risk-officer", "risk-officer@payments.example"},
			}}
			byEmail, err := w.directory.ByEmail(t.Context(), " Risk-Officer@Payments.Example")
			require.NoError(t, err)
			require.Equal(t, want, byEmail)
			bySubject, err := w.directory.BySubject(t.Context(), w.subject("risk-officer"))
			require.NoError(t, err)
			require.Equal(t, want, bySubject)
		})
	}
}

// Threat 3: somebody's second account is found to be theirs, and an address that
// two accounts list belongs to the one whose own it is.
func TestSecondAccountsAreTold(t *testing.T) {
	w := newWorld(t, nil)
	for id, other := range map[string]string{"developer": "developer-second", "developer-second": "developer"} {
		person, err := w.directory.ByEmail(t.Context(), id+"@payments.example")
		require.NoError(t, err)
		require.Equal(t, id, person.ID)
		require.Equal(t, []string{id, id + "@payments.example", other + "@payments.example"}, person.Aliases)
	}
}

func TestNobodyIsNoTechnicalFault(t *testing.T) {
	w := newWorld(t, nil)
	byID := newWorld(t, func(c *directory.Config) { c.Subject = directory.ByID })
	for name, look := range map[string]func() (signals.Person, error){
		"address":    func() (signals.Person, error) { return w.directory.ByEmail(t.Context(), "nobody@payments.example") },
		"no address": func() (signals.Person, error) { return w.directory.ByEmail(t.Context(), " ") },
		"filter in disguise": func() (signals.Person, error) {
			return w.directory.ByEmail(t.Context(), `x" or userName eq "risk-officer`)
		},
		"subject":          func() (signals.Person, error) { return w.directory.BySubject(t.Context(), w.subject("nobody")) },
		"subject by id":    func() (signals.Person, error) { return byID.directory.BySubject(t.Context(), byID.subject("nobody")) },
		"path in disguise": func() (signals.Person, error) { return byID.directory.BySubject(t.Context(), byID.subject("../Users")) },
		"machine":          func() (signals.Person, error) { return w.directory.BySubject(t.Context(), w.subject("ci")) },
		"another issuer": func() (signals.Person, error) {
			return w.directory.BySubject(t.Context(), signals.Subject{Issuer: "https://other.example", ID: "risk-officer"})
		},
		"other case":         func() (signals.Person, error) { return w.directory.BySubject(t.Context(), w.subject("Risk-Officer")) },
		"subject without id": func() (signals.Person, error) { return w.directory.BySubject(t.Context(), w.subject("")) },
	} {
		_, err := look()
		require.ErrorIs(t, err, directory.ErrUnknown, name)
	}
}

func TestAnswersAreRememberedForAWhile(t *testing.T) {
	w := newWorld(t, nil)
	inactive := false
	active := func() bool {
		person, err := w.directory.BySubject(t.Context(), w.subject("risk-officer"))
		require.NoError(t, err)
		return person.Active
	}
	require.True(t, active())
	require.NoError(t, w.issuer.Amend(t.Context(), "risk-officer", oidcissuer.Standing{Active: &inactive, Groups: []string{}}))
	w.now = w.now.Add(time.Minute - time.Second)
	require.True(t, active())
	require.EqualValues(t, 1, w.asked.Load())
	w.now = w.now.Add(time.Second)
	require.False(t, active())
	require.EqualValues(t, 2, w.asked.Load())

	nobody := func() {
		_, err := w.directory.ByEmail(t.Context(), "nobody@payments.example")
		require.ErrorIs(t, err, directory.ErrUnknown)
	}
	nobody()
	nobody()
	require.EqualValues(t, 3, w.asked.Load())
	w.now = w.now.Add(10 * time.Second)
	nobody()
	require.EqualValues(t, 4, w.asked.Load())
}

func TestFaultsAreNotRememberedAndTheTokenIsReadAnew(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.WriteFile(w.token, []byte("old"), 0o600))
	_, err := w.directory.BySubject(t.Context(), w.subject("risk-officer"))
	require.ErrorContains(t, err, "refuses the token in "+w.token)
	require.NotErrorIs(t, err, directory.ErrUnknown)
	require.NoError(t, os.WriteFile(w.token, []byte(w.issuer.Secrets().Directory), 0o600))
	_, err = w.directory.BySubject(t.Context(), w.subject("risk-officer"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(w.token))
	_, err = w.directory.BySubject(t.Context(), w.subject("on-call"))
	require.ErrorContains(t, err, "directory's token")
}

// answering is a directory whose service answers as told.
func answering(t *testing.T, serve http.HandlerFunc) *directory.Directory {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	d, err := directory.New(directory.Config{URL: server.URL, Token: tokenFile(t, "secret"), Issuer: "https://idp.example"})
	require.NoError(t, err)
	return d
}

func TestServicesThatMisbehave(t *testing.T) {
	const one = `{"id":"1","externalId":"u-1","userName":"a","active":true,"emails":[{"value":"a@x.example"}]}`
	const other = `{"id":"2","externalId":"u-2","userName":"b","active":true,"emails":[{"value":"b@x.example"}]}`
	list := func(total int, users ...string) string {
		return fmt.Sprintf(`{"totalResults":%d,"Resources":[%s]}`, total, strings.Join(users, ","))
	}
	for name, c := range map[string]struct {
		status  int
		body    string
		unknown bool
		says    string
	}{
		"takes no filter":     {200, list(2, other, other), true, "0 accounts have the address"},
		"gives somebody else": {200, list(1, other), true, "0 accounts have the address"},
		"two have it":         {200, list(2, one, one), true, "2 accounts have the address"},
		"more than it shows":  {200, list(90, one), true, "90 accounts have the emails.value"},
		"no subject":          {200, list(1, strings.Replace(one, "externalId", "other", 1)), false, "has no externalId"},
		"not JSON":            {200, "<html>", false, "no SCIM resource"},
		"empty":               {200, "", false, "no SCIM resource"},
		"endless":             {200, `{"x":"` + strings.Repeat("x", 2<<20), false, "more than"},
		"down":                {503, "later", false, "answered 503"},
		"no such service":     {404, "", false, "answered 404"},
		"points elsewhere":    {302, "", false, "answered 302"},
		"slow down":           {429, "", false, "answered 429"},
		"refuses the token":   {403, "", false, "put a good one there"},
	} {
		t.Run(name, func(t *testing.T) {
			d := answering(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			_, err := d.ByEmail(t.Context(), "a@x.example")
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.unknown, isUnknown(err))
		})
	}
	// By subject, nobody but the subject asked for is taken.
	d := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(list(1, other))) })
	_, err := d.BySubject(t.Context(), signals.Subject{Issuer: "https://idp.example", ID: "u-1"})
	require.ErrorIs(t, err, directory.ErrUnknown)
	// Who isn't said to be active isn't.
	d = answering(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(list(1, strings.Replace(one, `"active":true,`, "", 1))))
	})
	person, err := d.ByEmail(t.Context(), "a@x.example")
	require.NoError(t, err)
	require.False(t, person.Active)
}

// isUnknown asks as those do who don't import the package.
func isUnknown(err error) bool {
	var fault interface{ Unknown() bool }
	return errors.As(err, &fault) && fault.Unknown()
}

func TestABurstAsksOnce(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 1)
	var asked atomic.Int64
	d := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		arrived <- struct{}{}
		<-release
		_, _ = w.Write([]byte(`{"totalResults":1,"Resources":[{"externalId":"u-1","active":true,"emails":[{"value":"a@x.example"}]}]}`))
	})
	// Who comes first and gives up must not spoil it for the others.
	first, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := d.ByEmail(first, "a@x.example")
		gone <- err
	}()
	<-arrived
	giveUp()
	require.ErrorIs(t, <-gone, context.Canceled)

	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			person, err := d.ByEmail(t.Context(), "A@x.example")
			assert.Equal(t, "u-1", person.ID, "%v", err)
		})
	}
	close(release)
	crowd.Wait()
	require.EqualValues(t, 1, asked.Load())
}

func TestConfigurationIsChecked(t *testing.T) {
	good := directory.Config{URL: "https://idp.example/scim/v2", Token: "token", Issuer: "https://idp.example"}
	_, err := directory.New(good)
	require.NoError(t, err)
	_, err = directory.New(directory.Config{URL: "idp.example", Subject: "mail"})
	for _, says := range []string{`url "idp.example"`, "token:", "issuer:", `subject "mail"`} {
		require.ErrorContains(t, err, says)
	}
}

// Whatever somebody calls themselves, the filter asks for that and nothing else.
func TestFiltersCannotBeEscapedFrom(t *testing.T) {
	var mu sync.Mutex
	var filter string
	d := answering(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		filter = r.FormValue("filter")
		_, _ = w.Write([]byte(`{"totalResults":0}`))
	})
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, 40, -1).Draw(t, "id")
		_, err := d.BySubject(context.Background(), signals.Subject{Issuer: "https://idp.example", ID: id})
		if err == nil {
			t.Fatal("nobody was found")
		}
		mu.Lock()
		defer mu.Unlock()
		quoted, ok := strings.CutPrefix(filter, "externalId eq ")
		if !ok || !isOneString(quoted) {
			t.Fatalf("filter %q", filter)
		}
	})
}

// isOneString tells whether text is one JSON string and nothing after it.
func isOneString(text string) bool {
	var value string
	return json.Unmarshal([]byte(text), &value) == nil
}
