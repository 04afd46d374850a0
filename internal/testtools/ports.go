package testtools

import (
	"context"
	"fmt"
	"net"
)

// FreePorts returns n different loopback ports that were free a moment ago.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, n)
	var held []net.Listener // until all are chosen, so that they differ
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for i := range ports {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, listener)
		address, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("find a free port: the listener has the address %v, want a TCP address", listener.Addr())
		}
		ports[i] = address.Port
	}
	return ports, nil
}

// FreeAddress returns a loopback host:port that was free a moment ago.
func FreeAddress(ctx context.Context) (string, error) {
	ports, err := FreePorts(ctx, 1)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0]), nil
}
