// Package cluster brings up the Kubernetes half of the local stack: a control
// plane, a node that runs pods, and a Gateway API implementation that splits
// traffic.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// The kinds of cluster.
const (
	// Real is a control plane and a node of this stack's own that runs pods in
	// containerd, in a network namespace of its own.
	Real = "real"
	// Existing is a cluster that KUBECONFIG names, with an implementation of
	// the Gateway API in it.
	Existing = "existing"
	// Simulated is a control plane of this stack's own with a node that only
	// pretends (KWOK); local processes stand in for pods.
	Simulated = "simulated"
)

// ModeVariable names the environment variable that forces a kind of cluster.
const ModeVariable = "WAYBILL_CLUSTER"

// Options say what to bring up.
type Options struct {
	// Name of the stack; stacks of other names, or with another state
	// directory, run beside it.
	Name string
	// StateDir is the stack's folder: kubeconfig and certificates go to
	// StateDir/kube, logs to StateDir/logs.
	StateDir string
	// Tools is the folder of the built tools (kubernetes, traefik).
	Tools string
	// Mode forces a kind of cluster; empty chooses one.
	Mode string
	// RegistryPort is the port of a registry on this machine: the node pulls
	// images named 127.0.0.1:<port>/... from it. Zero for none.
	RegistryPort int
	// OnNetwork is called with the address by which the cluster reaches this
	// machine, before anything is pulled; nil when nobody waits for it.
	OnNetwork func(hostAddress string) error
	// Progress is told of each part that is up, possibly from several
	// goroutines; nil for silence.
	Progress func(part string, took time.Duration)
}

// Cluster is a running cluster.
type Cluster struct {
	// Mode is Real, Existing or Simulated; Why says what chose it.
	Mode, Why string
	// Kubeconfig is the file of an administrator's credentials.
	Kubeconfig string
	// HostAddress is the address by which the cluster reaches this machine;
	// empty when it has none of its own.
	HostAddress string
	// IngressURL is the Gateway's listener, http://address:port, as reached
	// from this machine.
	IngressURL string
	// TraefikMetrics is the URL of the ingress's Prometheus metrics; empty for
	// an existing cluster that names none.
	TraefikMetrics string
	// PodCIDR is the range of pod addresses, reachable from this machine;
	// empty where that is not so.
	PodCIDR string
}

// Gateway is the namespace and name of the Gateway that routes attach to.
const (
	GatewayNamespace = "waybill-ingress"
	GatewayName      = "waybill"
)

// Start brings a cluster up and returns when its Gateway accepts routes. What
// it starts ends with the supervisor.
func Start(ctx context.Context, sup *proc.Supervisor, o Options) (*Cluster, error) {
	dir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	o.StateDir = dir
	// client-go logs each broken connection of a stopping cluster to stderr;
	// what matters comes back as errors.
	klog.SetLogger(logr.Discard())
	if o.Progress == nil {
		o.Progress = func(string, time.Duration) {}
	}
	if o.OnNetwork == nil {
		o.OnNetwork = func(string) error { return nil }
	}
	mode, why, err := choose(ctx, o.Mode)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(kubeDir(o), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var c *Cluster
	switch mode {
	case Real:
		c, err = startReal(ctx, sup, o)
	case Existing:
		c, err = useExisting(ctx, sup, o)
	default:
		c, err = startSimulated(ctx, sup, o)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cluster (%s): %w", mode, why, err)
	}
	c.Mode, c.Why = mode, why
	return c, nil
}

func kubeDir(o Options) string { return filepath.Join(o.StateDir, "kube") }

// choose picks the kind of cluster: the one asked for, else the best that this
// machine allows.
func choose(ctx context.Context, asked string) (mode, why string, err error) {
	if asked == "" {
		asked = os.Getenv(ModeVariable)
	}
	switch asked {
	case Real:
		if err := realPossible(ctx); err != nil {
			return "", "", fmt.Errorf("a real cluster was asked for: %w", err)
		}
		return Real, "asked for", nil
	case Existing, Simulated:
		return asked, "asked for", nil
	case "":
	default:
		return "", "", fmt.Errorf("%s=%s: want %s, %s or %s", ModeVariable, asked, Real, Existing, Simulated)
	}
	impossible := realPossible(ctx)
	if impossible == nil {
		return Real, "this machine can run a node", nil
	}
	if os.Getenv("KUBECONFIG") != "" && os.Geteuid() != 0 {
		return Existing, fmt.Sprintf("KUBECONFIG is set, and no node can run here: %v", impossible), nil
	}
	return Simulated, fmt.Sprintf("no node can run here: %v", impossible), nil
}

// realPossible says what keeps a node from running on this machine.
func realPossible(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("it needs Linux, this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	if missing := missingPackages(); len(missing) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			return fmt.Errorf("what %s hold is not installed, and there is no apt-get to install it", strings.Join(missing, ", "))
		}
	}
	if err := command(ctx, "unshare", "--net", "--mount", "--pid", "--fork", "true"); err != nil {
		return fmt.Errorf("namespaces cannot be made: %w", err)
	}
	return nil
}

// command runs a program that is expected to end at once.
func command(ctx context.Context, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(argv[0]), argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// identity is a short name for what a stack makes outside its own folder.
func identity(o Options) string {
	sum := sha256.Sum256([]byte(o.Name + "\x00" + o.StateDir))
	return hex.EncodeToString(sum[:4])
}

// timed reports a step of the start with the time that it took.
func timed(o Options, part string, step func() error) error {
	began := time.Now()
	if err := step(); err != nil {
		return err
	}
	o.Progress(part, time.Since(began))
	return nil
}
