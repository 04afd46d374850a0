package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/waybill-dev/waybill/signals"
)

// remembered is how many answers are kept.
const remembered = 10_000

// Directory finds people. It is safe for concurrent use.
type Directory struct {
	scim   *scim
	config Config
	flight singleflight.Group
	known  *lru.Cache[string, answer]
}

// answer is what the directory said, until when it counts.
type answer struct {
	person signals.Person
	err    error
	until  time.Time
}

// New prepares to ask a directory; it is first asked when somebody is looked for.
func New(c Config) (*Directory, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	known, err := lru.New[string, answer](remembered)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return &Directory{scim: newSCIM(c), config: c, known: known}, nil
}

// ByEmail finds whose address it is. Errors other than ErrUnknown are technical
// and worth a retry.
func (d *Directory) ByEmail(ctx context.Context, email string) (signals.Person, error) {
	email = strings.TrimSpace(email)
	if email == "" {
		return signals.Person{}, unknown("no e-mail address was given")
	}
	return d.look(ctx, "email "+strings.ToLower(email), func(ctx context.Context) (signals.Person, error) {
		return d.scim.byEmail(ctx, email)
	})
}

// BySubject finds the person that the identity provider knows as subject. Errors
// other than ErrUnknown are technical and worth a retry.
func (d *Directory) BySubject(ctx context.Context, subject signals.Subject) (signals.Person, error) {
	if subject.Issuer != d.config.Issuer || subject.ID == "" {
		return signals.Person{}, unknown("%s is no subject of %s", subject.Key(), d.config.Issuer)
	}
	return d.look(ctx, "subject "+subject.ID, func(ctx context.Context) (signals.Person, error) {
		return d.scim.bySubject(ctx, subject.ID)
	})
}

// look answers from memory, or asks once for all who want to know the same.
func (d *Directory) look(ctx context.Context, key string, ask func(context.Context) (signals.Person, error)) (signals.Person, error) {
	if known, ok := d.known.Get(key); ok && d.config.Now().Before(known.until) {
		return known.person, known.err
	}
	asked := d.flight.DoChan(key, func() (any, error) {
		// The question is everybody's who waits: it doesn't end with who came first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		person, err := ask(ctx)
		switch {
		case err == nil:
			d.known.Add(key, answer{person: person, until: d.config.Now().Add(d.config.Fresh)})
		case errors.Is(err, ErrUnknown):
			d.known.Add(key, answer{err: err, until: d.config.Now().Add(d.config.Unknown)})
		}
		return person, err
	})
	select {
	case <-ctx.Done():
		return signals.Person{}, fmt.Errorf("ask the directory for %s: %w", key, context.Cause(ctx))
	case got := <-asked:
		person, _ := got.Val.(signals.Person)
		return person, got.Err
	}
}
