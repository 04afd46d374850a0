package proc

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// HTTPReady is a Part's check that passes once a GET of url is answered with a
// status below 400.
func HTTPReady(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("check %s: %w", url, err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("check %s: %w", url, err)
		}
		defer func() { _ = answer.Body.Close() }()
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
		if answer.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("check %s: answered %s", url, answer.Status)
		}
		return nil
	}
}

// TCPReady is a Part's check that passes once addr (host:port) accepts a
// connection.
func TCPReady(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

var (
	handedOut   = map[int]bool{}
	handedOutMu sync.Mutex
)

// FreePort returns a TCP port that is free on loopback now and that this
// process has not been given before.
func FreePort() (int, error) {
	handedOutMu.Lock()
	defer handedOutMu.Unlock()
	for range 100 {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		address, known := listener.Addr().(*net.TCPAddr)
		if err := listener.Close(); err != nil || !known {
			return 0, fmt.Errorf("find a free port: closing %s: %w", listener.Addr(), err)
		}
		port := address.Port
		if !handedOut[port] {
			handedOut[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: the system offers only ports that are in use already")
}
