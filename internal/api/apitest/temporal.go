// Package apitest gives tests a gateway that is real on both sides: a Temporal
// development server behind it and HTTP in front of it. Releases run a small
// workflow of the real contract, so that what a gateway has to cope with
// (waiting, deciding, failing) can be brought about at will.
package apitest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/waybill-dev/waybill/internal/testtools"
	"github.com/waybill-dev/waybill/signals"
)

// server is the development server that all tests of a package share.
var server struct {
	once   sync.Once
	dev    *testsuite.DevServer
	client client.Client
	err    error
}

// Temporal is a client of the package's development server, which is started
// on first use. StopTemporal ends it.
func Temporal() (client.Client, error) {
	server.once.Do(func() {
		var tool string
		if tool, server.err = testtools.Tool(context.Background(), "temporal"); server.err != nil {
			return
		}
		args := []string{}
		for name, kind := range signals.SearchAttributeTypes() {
			args = append(args, "--search-attribute", name+"="+kind)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		server.dev, server.err = testsuite.StartDevServer(ctx, testsuite.DevServerOptions{
			ExistingPath: tool, LogLevel: "error", ExtraArgs: args, Stdout: io.Discard, Stderr: io.Discard,
			ClientOptions: &client.Options{Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))},
		})
		if server.err == nil {
			server.client = server.dev.Client()
		}
	})
	return server.client, server.err
}

// Address is the host:port of the package's development server.
func Address() string { return server.dev.FrontendHostPort() }

// StopTemporal ends the development server if it was started. Call it at the
// end of TestMain.
func StopTemporal() {
	if server.dev == nil {
		return
	}
	stopWorker()
	server.client.Close()
	if err := server.dev.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the development server:", err)
	}
}
