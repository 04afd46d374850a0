package stack

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/objectstore"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// settings are what a stack keeps from one start to the next: evidence, images
// and workflows name addresses, so these should stay.
type settings struct {
	Ports    map[string]int       `json:"ports"`
	Accounts objectstore.Accounts `json:"objectStoreAccounts"`
}

// The ports of a stack, all on loopback.
const (
	portTemporal      = "temporal"
	portTemporalUI    = "temporal-ui"
	portTemporalStats = "temporal-metrics"
	portRegistry      = "registry"
	portObjectStore   = "objectstore"
	portIssuer        = "issuer"
	portPrometheus    = "prometheus"
	portGateway       = "gateway"
	portGatewayStats  = "gateway-metrics"
	portWorker        = "worker-metrics"
	portSlack         = "slack"
)

// preferred are the ports that people know; they are taken when they are free.
var preferred = map[string]int{portTemporal: 7233, portTemporalUI: 8233, portGateway: 8080, portPrometheus: 9090, portSlack: 8090}

// loadSettings reads the settings of an earlier start and replaces each port
// that somebody else has by now; the first start makes them.
func loadSettings(path string, usual bool) (settings, error) {
	s := settings{Ports: map[string]int{}}
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("read the stack's settings in %s (remove it for new ones): %w", path, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		account := func(name string) objectstore.Credentials {
			return objectstore.Credentials{Access: name, Secret: rand.Text()}
		}
		s.Accounts = objectstore.Accounts{Root: account("root"), Notary: account("notary"), Auditor: account("auditor")}
	default:
		return s, fmt.Errorf("read the stack's settings: %w", err)
	}
	for _, name := range []string{
		portTemporal, portTemporalUI, portTemporalStats, portRegistry, portObjectStore, portIssuer, portPrometheus,
		portGateway, portGatewayStats, portWorker, portSlack,
	} {
		port, ok := s.Ports[name]
		if !ok && usual {
			port = preferred[name]
		}
		if port != 0 && free(port) {
			s.Ports[name] = port
			continue
		}
		if s.Ports[name], err = proc.FreePort(); err != nil {
			return s, err
		}
	}
	return s, writeJSON(path, s)
}

func free(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // closed at once
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

func (s settings) local(name string) string { return "127.0.0.1:" + strconv.Itoa(s.Ports[name]) }
