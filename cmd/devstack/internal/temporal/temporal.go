// Package temporal describes the Temporal dev server of the local stack.
package temporal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/signals"
)

// Namespace is where the stack's workflows live.
const Namespace = "default"

// Server says where the server runs and keeps its data. All ports are on
// loopback.
type Server struct {
	Tools string // folder with the temporal CLI
	Data  string // file of the database
	Port  int
	UI    int
	Stats int // Prometheus metrics
}

// Address is the frontend's host:port.
func (s Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// Part describes the server's process. It is ready when the frontend answers
// and Waybill's search attributes are there.
func (s Server) Part() proc.Part {
	args := []string{
		"server", "start-dev", "--ip=127.0.0.1", "--port=" + strconv.Itoa(s.Port), "--ui-port=" + strconv.Itoa(s.UI),
		"--metrics-port=" + strconv.Itoa(s.Stats), "--db-filename=" + s.Data, "--log-level=error",
	}
	for name, kind := range signals.SearchAttributeTypes() {
		args = append(args, "--search-attribute="+name+"="+kind)
	}
	slices.Sort(args[8:])
	return proc.Part{Name: "temporal", Path: filepath.Join(s.Tools, "temporal"), Args: args, Ready: s.ready}
}

// Dial connects to the server. Close the client after use.
func (s Server) Dial(ctx context.Context) (client.Client, error) {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: s.Address(), Namespace: Namespace,
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Temporal at %s: %w", s.Address(), err)
	}
	return c, nil
}

func (s Server) ready(ctx context.Context) error {
	c, err := s.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: Namespace})
	if err != nil {
		return fmt.Errorf("list Temporal's search attributes: %w", err)
	}
	var faults []error
	for name, kind := range signals.SearchAttributeTypes() {
		if got := known.GetCustomAttributes()[name]; !strings.EqualFold(got.String(), kind) {
			if got == enums.INDEXED_VALUE_TYPE_UNSPECIFIED {
				faults = append(faults, fmt.Errorf("search attribute %s is not registered yet", name))
				continue
			}
			faults = append(faults, fmt.Errorf("search attribute %s is of type %s, want %s: remove %s to start with a new database", name, got, kind, s.Data))
		}
	}
	return errors.Join(faults...)
}
