// Package stack brings the local stack up out of its parts and keeps note of
// where they are.
package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/objectstore"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/seed"
)

// ErrNone says that no stack has left its state in a folder.
var ErrNone = errors.New("no stack is up: start one with make up")

// State is what a running stack tells others, in stack.json of its folder.
type State struct {
	Name    string    `json:"name"`
	Dir     string    `json:"dir"`
	Pid     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Cluster is real, existing or simulated, and why.
	Cluster    string `json:"cluster"`
	ClusterWhy string `json:"clusterWhy"`
	Kubeconfig string `json:"kubeconfig"`
	// Addresses, as reached from this machine.
	Gateway     string `json:"gateway"`
	Temporal    string `json:"temporal"` // host:port
	TemporalUI  string `json:"temporalUI"`
	Prometheus  string `json:"prometheus"`
	Registry    string `json:"registry"` // host:port
	ObjectStore string `json:"objectStore"`
	Bucket      string `json:"bucket"`
	Issuer      string `json:"issuer"`
	Ingress     string `json:"ingress"`
	// Slack is the emulator's page, "" if it was left out.
	Slack string `json:"slack,omitempty"`
	// EvidenceKeys are the files of the public keys that records verify with.
	EvidenceKeys []string       `json:"evidenceKeys"`
	Versions     []seed.Version `json:"versions"`
}

// Layout names the files of a stack's folder.
type Layout struct{ Dir string }

func (l Layout) at(elements ...string) string {
	return filepath.Join(append([]string{l.Dir}, elements...)...)
}

func (l Layout) stateFile() string    { return l.at("stack.json") }
func (l Layout) envFile() string      { return l.at("env") }
func (l Layout) settingsFile() string { return l.at("data", "settings.json") }

// Keys is the folder of all keys.
func (l Layout) Keys() string { return l.at("keys") }

// Issuer is the file of the accounts' passwords.
func (l Layout) Issuer() string { return l.at("keys", "issuer.json") }

// secret is the file of a token or secret that two parts share.
func (l Layout) secret(name string) string { return l.at("keys", name) }

// Logs is the folder of the parts' logs.
func (l Layout) Logs() string { return l.at("logs") }

// WorkerConfig is the worker's configuration.
func (l Layout) WorkerConfig() string { return l.at("worker.yaml") }

// GatewayConfig is the gateway's configuration.
func (l Layout) GatewayConfig() string { return l.at("gateway.yaml") }

// NotaryEnv holds the credentials that the notary's role needs beside its
// configuration, as a shell would read them.
func (l Layout) NotaryEnv() string { return l.at("keys", "notary.env") }

// AuditorEnv is what the auditor needs in the environment, as the stack wrote
// it: the bucket, an account that may read it, and the public keys.
func (l Layout) AuditorEnv() []string {
	text, err := os.ReadFile(l.auditorEnv())
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

func (l Layout) auditorEnv() string { return l.at("keys", "auditor.env") }

// Pid is the process number of a part, as last started.
func (l Layout) Pid(part string) (int, error) {
	text, err := os.ReadFile(l.at("run", part+".pid"))
	if err != nil {
		return 0, fmt.Errorf("process of %s: %w", part, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Read returns the state of the stack in the folder; ErrNone if there is none.
func Read(dir string) (State, error) {
	var s State
	raw, err := os.ReadFile(Layout{dir}.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNone
	}
	if err != nil {
		return s, fmt.Errorf("read the stack's state: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("read the stack's state in %s: %w", Layout{dir}.stateFile(), err)
	}
	return s, nil
}

// Forget removes the state of a stack that has ended.
func Forget(dir string) error {
	var errs []error
	for _, file := range []string{Layout{dir}.stateFile(), Layout{dir}.envFile()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// save writes stack.json and env; stack.json last and at once, since others
// take it for "the stack is up".
func (s State) save(auditor objectstore.Credentials) error {
	l := Layout{s.Dir}
	reading := append(auditor.Env(s.ObjectStore), "WAYBILL_BUCKET="+s.Bucket, "WAYBILL_EVIDENCE_KEYS="+strings.Join(s.EvidenceKeys, ","))
	variables := slices.Concat(reading, []string{"WAYBILL_GATEWAY=" + s.Gateway, "TEMPORAL_ADDRESS=" + s.Temporal, "KUBECONFIG=" + s.Kubeconfig})
	var env strings.Builder
	env.WriteString("# For a shell: . " + l.envFile() + "\n# The S3 account may read evidence and nothing else.\n")
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&env, "export %s='%s'\n", name, value)
	}
	if err := os.WriteFile(l.envFile(), []byte(env.String()), 0o600); err != nil {
		return fmt.Errorf("write the stack's environment: %w", err)
	}
	if err := os.WriteFile(l.auditorEnv(), []byte(strings.Join(reading, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the auditor's environment: %w", err)
	}
	return writeJSON(l.stateFile(), s)
}

// writeJSON replaces a file as a whole.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
