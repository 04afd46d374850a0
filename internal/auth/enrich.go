package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-dev/waybill/signals"
)

// Directory knows people as they are now. That there is nobody, or more than
// one, by a subject is an error with a method Unknown that returns true; all
// others are technical.
type Directory interface {
	BySubject(ctx context.Context, subject signals.Subject) (signals.Person, error)
}

// What a directory can say against an identity that a login proved.
var (
	// ErrStranger means that the directory doesn't know the account. Machines'
	// accounts often are in none.
	ErrStranger = errors.New("account is not in the directory")
	// ErrInactive means that the account was deactivated.
	ErrInactive = errors.New("account is deactivated in the directory")
	// ErrDirectory means that the directory could not be asked. Trying again later
	// may help.
	ErrDirectory = errors.New("directory can't be reached")
)

// Enrich makes a function that adds to an identity what directory knows of it:
// the person's other accounts and addresses, and the groups that they are in now,
// which count instead of those that a token listed when it was issued. The error
// wraps ErrStranger, ErrInactive or ErrDirectory, and the identity is then as it
// was.
func Enrich(directory Directory) func(context.Context, Identity) (Identity, error) {
	return func(ctx context.Context, id Identity) (Identity, error) {
		person, err := directory.BySubject(ctx, id.Subject)
		if err != nil {
			var fault interface{ Unknown() bool }
			if errors.As(err, &fault) && fault.Unknown() {
				return id, fmt.Errorf("%w: %w", ErrStranger, err)
			}
			return id, fmt.Errorf("%w, so nothing can be decided in the name of %s now: %w", ErrDirectory, id.Subject.Display(), err)
		}
		if !person.Active {
			return id, fmt.Errorf("%w: %s", ErrInactive, id.Subject.Display())
		}
		id.Subject.Aliases, id.Subject.Groups = person.Aliases, person.Groups
		if id.Subject.Email == "" {
			id.Subject.Email = person.Email
		}
		return id, nil
	}
}
