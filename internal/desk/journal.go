package desk

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/signals"
)

// Bounds of the journal: how many refusals wait to be counted, how long equal
// ones are counted together, how many different ones wait to be handed over, and
// how many are handed over at once and in the long run. What is beyond is logged and counted, so
// that a flood of bad requests can't become a flood of locked records.
const (
	refusalsQueued  = 4096
	refusalsWindow  = time.Second
	refusalsPending = 512
	refusalsAtOnce  = 50
	refusalsPerSec  = 2
	// refusalValidity is how long a signed refusal may take to be written down:
	// the worker may be away for a while.
	refusalValidity = 24 * time.Hour
	// handOverTimeout bounds each hand-over; one that fails is tried again.
	handOverTimeout = 5 * time.Second
)

// Bounds of the text in a refusal, which comes from whoever was refused.
const (
	longestText = 512
	mostReasons = 10
)

// Refusal is what the gateway refused before it reached a release. Subject is
// who it was as far as that is proven, Claimed as far as it isn't; Message is a
// digest of what was refused.
type Refusal struct {
	What    string
	Channel string
	Reasons []string
	Subject *signals.Subject
	Claimed string
	Remote  string
	About   string
	Message string
}

// same is what makes refusals equal, so that they are counted together.
type same struct{ what, channel, reasons, subject, claimed, remote, about string }

func (r Refusal) key() same {
	k := same{what: r.What, channel: r.Channel, reasons: strings.Join(r.Reasons, "\n"), claimed: r.Claimed, remote: r.Remote, about: r.About}
	if r.Subject != nil {
		k.subject = r.Subject.Key()
	}
	return k
}

// bounded cuts what came from outside.
func (r Refusal) bounded() Refusal {
	cut := func(s string) string {
		if len(s) > longestText {
			return strings.ToValidUTF8(s[:longestText], "") + "…"
		}
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	out := r
	out.Reasons = nil
	for _, reason := range r.Reasons[:min(len(r.Reasons), mostReasons)] {
		out.Reasons = append(out.Reasons, cut(reason))
	}
	out.Claimed, out.Remote, out.About, out.Message = cut(r.Claimed), cut(r.Remote), cut(r.About), cut(r.Message)
	return out
}

// counted is a refusal that waits to be handed over. Its nonce lets the journal
// know it when it comes twice.
type counted struct {
	Refusal
	nonce string
	at    time.Time
	count int
}

// journal hands refusals to the journal's workflow, a second's equal ones as one.
type journal struct {
	temporal Temporal
	signer   Signer
	now      func() time.Time
	log      *slog.Logger

	queue chan Refusal
	stop  chan context.Context
	done  chan error

	refused *prometheus.CounterVec
	dropped prometheus.Counter

	rate    *rate.Limiter
	pending []*counted
	byKey   map[same]*counted
}

func openJournal(o Options) *journal {
	j := &journal{
		temporal: o.Temporal, signer: o.Signer, now: o.Now, log: o.Log,
		queue: make(chan Refusal, refusalsQueued), stop: make(chan context.Context, 1), done: make(chan error, 1),
		rate: rate.NewLimiter(refusalsPerSec, refusalsAtOnce), byKey: map[same]*counted{},
		refused: promauto.With(o.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "waybill_gateway_refusals_total", Help: "Messages that the gateway refused, by what they were and the channel.",
		}, []string{"what", "channel"}),
		dropped: promauto.With(o.Metrics).NewCounter(prometheus.CounterOpts{
			Name: "waybill_gateway_refusals_dropped_total", Help: "Refusals that went to the log alone, because there were too many.",
		}),
	}
	go j.run()
	return j
}

// Refuse writes down that something was refused. It never blocks: the record is
// made in the background, and if there are too many, by the log alone.
func (d *Desk) Refuse(r Refusal) {
	j := d.journal
	r = r.bounded()
	j.refused.WithLabelValues(r.What, r.Channel).Inc()
	j.log.Warn("refused", "what", r.What, "channel", r.Channel, "reasons", r.Reasons, "claimed", r.Claimed,
		"subject", r.key().subject, "remote", r.Remote, "about", r.About, "message", r.Message)
	select {
	case j.queue <- r:
	default:
		j.dropped.Inc()
	}
}

// run counts refusals and hands them over, until it is told to stop.
func (j *journal) run() {
	tick := time.NewTicker(refusalsWindow)
	defer tick.Stop()
	for {
		select {
		case r := <-j.queue:
			j.count(r)
		case <-tick.C:
			// What went wrong is logged, and tried again at the next tick.
			_ = j.handOver(context.Background(), j.rate.Allow)
		case ctx := <-j.stop:
			j.drain(ctx)
			return
		}
	}
}

func (j *journal) count(r Refusal) {
	if known := j.byKey[r.key()]; known != nil {
		known.count++
		return
	}
	if len(j.pending) >= refusalsPending {
		j.dropped.Inc()
		return
	}
	c := &counted{Refusal: r, nonce: auth.Nonce(), at: j.now().UTC(), count: 1}
	j.pending = append(j.pending, c)
	j.byKey[r.key()] = c
}

// handOver sends refusals, oldest first, while more may be sent. The first that
// can't be sent stays, with those behind it, for the next time.
func (j *journal) handOver(ctx context.Context, more func() bool) error {
	for len(j.pending) > 0 && more() {
		next := j.pending[0]
		// It may arrive although no answer does, so that it stays as it is now.
		if j.byKey[next.key()] == next {
			delete(j.byKey, next.key())
		}
		if err := j.send(ctx, *next); err != nil {
			j.log.Warn("a refusal can't be handed to the journal yet", "waiting", len(j.pending), "error", err)
			return err
		}
		j.pending = j.pending[1:]
	}
	return nil
}

func (j *journal) send(ctx context.Context, c counted) error {
	envelope, err := j.signer.Sign(signals.RefusalPayload, signals.RefusalStatement{
		Binding: signals.Binding{Release: signals.JournalID, Nonce: c.nonce, IssuedAt: c.at, ExpiresAt: c.at.Add(refusalValidity)},
		What:    c.What, Channel: c.Channel, Reasons: c.Reasons, Subject: c.Subject, Claimed: c.Claimed,
		Remote: c.Remote, About: c.About, Message: c.Message, Count: c.count,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	_, err = j.temporal.SignalWithStartWorkflow(ctx, signals.JournalID, signals.JournalEntry, signals.Message{Envelope: envelope},
		client.StartWorkflowOptions{
			ID: signals.JournalID, TaskQueue: signals.ReleaseQueue,
			WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			StaticSummary:         "what was refused at the gateway, and commands to lanes",
		}, signals.JournalWorkflow, signals.JournalInput{})
	return err
}

// close stops the journal after handing over what is held.
func (j *journal) close(ctx context.Context) error {
	select {
	case j.stop <- ctx:
	default:
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *journal) drain(ctx context.Context) {
	for len(j.queue) > 0 {
		j.count(<-j.queue)
	}
	j.done <- j.handOver(ctx, func() bool { return true })
	close(j.done)
}
