// Command loadgen keeps payment requests flowing at a constant rate, whatever
// the answers are and however long they take, and counts them by version and
// code. It prints a line of JSON totals now and then, whenever it gets SIGUSR1,
// and at the end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are the command's flags.
type settings struct {
	url     string
	host    string
	rps     float64
	bound   time.Duration
	report  time.Duration
	timeout time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.url, "url", "", "URL to POST payments to, for example http://127.0.0.1:8000/authorise")
	flag.StringVar(&s.host, "host", "", "Host header, by which the gateway's route is chosen (default: that of the URL)")
	flag.Float64Var(&s.rps, "rps", 100, "requests started per second")
	flag.DurationVar(&s.bound, "for", time.Hour, "stop by itself after this time")
	flag.DurationVar(&s.report, "report", 5*time.Second, "print totals this often")
	flag.DurationVar(&s.timeout, "timeout", 10*time.Second, "give up on a request after this time")
	flag.Parse()
	if err := run(s); err != nil {
		slog.Error("loadgen ended", "error", err)
		os.Exit(1)
	}
}

func (s settings) validate() error {
	var faults []error
	check := func(ok bool, text string) {
		if !ok {
			faults = append(faults, errors.New(text))
		}
	}
	check(s.url != "", "-url: want the URL to POST payments to")
	check(s.rps > 0 && s.rps <= 10_000, "-rps: want a rate above 0 and at most 10000")
	check(s.bound > 0, "-for: want a time above 0")
	check(s.report > 0, "-report: want a time above 0")
	check(s.timeout > 0, "-timeout: want a time above 0")
	return errors.Join(faults...)
}

func run(s settings) error {
	if err := s.validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	g := newGenerator(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.run(ctx)
	}()
	ticker := time.NewTicker(s.report)
	defer ticker.Stop()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	for {
		select {
		case <-asked:
			if err := printTotals(g.totals()); err != nil {
				return err
			}
		case <-ticker.C:
			if err := printTotals(g.totals()); err != nil {
				return err
			}
		case <-done:
			return printTotals(g.totals())
		}
	}
}

func printTotals(t totals) error {
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	_, err = fmt.Println(string(line))
	return err
}
