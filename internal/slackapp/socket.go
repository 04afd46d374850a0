package slackapp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/waybill-dev/waybill/signals"
)

// Bounds of Socket Mode: how many inputs are handled at a time, how the pause
// before the next try to connect grows, and the size of one input in bytes.
const (
	socketAtOnce  = 64
	firstPause    = time.Second
	longestPause  = 30 * time.Second
	socketMessage = 1 << 20
	// flushTime lets the last answers be written: the library doesn't tell when
	// they are.
	flushTime = 200 * time.Millisecond
)

// Run takes inputs from Slack through Socket Mode until ctx ends, connecting
// anew whenever the connection is lost. It returns an error only if it can't
// begin.
func (a *App) Run(ctx context.Context) error {
	if a.AppToken == "" {
		return errors.New("slack: Socket Mode needs appToken, the app-level token (xapp-…) with the scope connections:write")
	}
	pause := firstPause
	for ctx.Err() == nil {
		connected, err := a.session(ctx)
		if connected {
			pause = firstPause
		}
		a.rest(ctx, pause, err)
		pause = min(2*pause, longestPause)
	}
	return nil
}

// rest waits before the next try to connect.
func (a *App) rest(ctx context.Context, pause time.Duration, why error) {
	if ctx.Err() != nil {
		return
	}
	a.Log.Warn("no connection to Slack's Socket Mode; clicks and commands don't arrive", "retry", pause, "error", fault("apps.connections.open", "", why))
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// session is one connection, and those that follow it at Slack's wish. It ends
// when one can't be made or is lost. When ctx ends, inputs under way are answered
// before the connection is given up.
func (a *App) session(ctx context.Context) (connected bool, err error) {
	alive, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	client := socketmode.New(a.api, socketmode.OptionReadLimit(socketMessage))
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(alive) }()

	var work sync.WaitGroup
	defer func() {
		work.Wait()
		time.Sleep(flushTime)
	}()
	slots := make(chan struct{}, socketAtOnce)
	for {
		select {
		case <-ctx.Done():
			return connected, ctx.Err()
		case err := <-ended:
			return connected, err
		case event := <-client.Events:
			switch data := event.Data.(type) {
			case *socketmode.ConnectedEvent:
				connected = true
				a.Log.Info("connected to Slack's Socket Mode")
			case *slack.ConnectionErrorEvent:
				// The library would try again after pauses of up to minutes.
				return connected, data.ErrorObj
			case *socketmode.ErrorBadMessage:
				a.reject(delivery{digest: signals.Digest(data.Message)}, fmt.Sprintf("it can't be read: %v", data.Cause))
			case slack.InteractionCallback, slack.SlashCommand:
				slots <- struct{}{}
				work.Go(func() {
					defer func() { <-slots }()
					a.envelope(alive, client, event.Type, *event.Request)
				})
			}
		}
	}
}

// envelope handles one input and acknowledges it with its answer. What was not
// taken is not acknowledged, so that Slack says so, or sends it again.
func (a *App) envelope(ctx context.Context, client *socketmode.Client, kind socketmode.EventType, request socketmode.Request) {
	d := delivery{digest: signals.Digest(request.Payload), again: request.RetryAttempt > 0}
	read := readInteraction
	if kind == socketmode.EventTypeSlashCommand {
		read = readCommand
	}
	in, err := read(request.Payload)
	if err != nil {
		a.reject(d, err.Error())
		return
	}
	ans := a.handle(ctx, in, d)
	if ans.status != done.status {
		return
	}
	// The connection may be gone, and nobody there to take the answer.
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := client.AckCtx(ctx, request.EnvelopeID, ans.body); err != nil {
		a.Log.Warn("Slack can't be told the answer", "user", in.account(), "error", err)
	}
}
