// Command payments-api is the demo's service: it authorises card payments that
// nobody makes. What an image of it does, well or badly, is baked into the
// image's environment (see config), so that each version differs by its digest.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("payments-api ended", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	cfg, err := configFrom(os.Getenv)
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(stop, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s (set LISTEN to another address): %w", cfg.Listen, err)
	}
	log.Info("payments-api serves", "address", listener.Addr().String(), "version", cfg.Version,
		"errorRatio", cfg.ErrorRatio, "latency", cfg.Latency)
	return serve(stop, listener, newService(cfg), cfg)
}

// serve answers requests until stop ends. Then it reports itself not ready,
// goes on answering for cfg.Drain, because whoever routes to it learns that
// late, and lets the requests that are left finish.
func serve(stop context.Context, listener net.Listener, s *service, cfg config) error {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Longer than a proxy keeps its idle connections, so that this side is
		// never the one to close a connection that a request is just sent on.
		IdleTimeout: 5 * time.Minute,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-stop.Done():
	}
	s.draining.Store(true)
	time.Sleep(cfg.Drain)
	rest, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(rest); err != nil {
		return fmt.Errorf("requests were still running 10s after the drain: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
