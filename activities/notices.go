package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/signals"
)

// Messenger shows people how a release stands: one message that is kept up to
// date, and below it each reply once, however often it is called. It returns
// where the message is. An error may have a method RetryAfter, which says for how
// long not to try again, or Permanent, which is true if a person must mend
// something first.
type Messenger interface {
	Publish(ctx context.Context, in signals.PublishInput) (signals.MessageRef, error)
}

// mendDelay is the pause after an error that a person must mend: often enough
// that people see their mending work.
const mendDelay = 5 * time.Minute

// Notices tells people.
type Notices struct {
	Messenger Messenger
}

// Publish brings a release's message up to date and tells its replies. Every
// error is worth a retry, at the pace that the messenger asks for.
func (n *Notices) Publish(ctx context.Context, in signals.PublishInput) (signals.PublishOutput, error) {
	at, err := n.Messenger.Publish(ctx, in)
	if err == nil {
		return signals.PublishOutput{Message: at}, nil
	}
	var delay time.Duration
	var limited interface{ RetryAfter() time.Duration }
	var permanent interface{ Permanent() bool }
	switch {
	case errors.As(err, &limited) && limited.RetryAfter() > 0:
		delay = limited.RetryAfter()
	case errors.As(err, &permanent) && permanent.Permanent():
		delay = mendDelay
	}
	return signals.PublishOutput{}, temporal.NewApplicationErrorWithOptions(err.Error(), signals.ErrNotDelivered,
		temporal.ApplicationErrorOptions{NextRetryDelay: delay})
}
