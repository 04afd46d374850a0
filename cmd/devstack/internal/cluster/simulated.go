package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// simulatedPods is the range that KWOK takes the addresses of pods from;
// nothing answers there.
const simulatedPods = "10.214.0.0/16"

// startSimulated brings up a control plane on loopback with a node that KWOK
// plays, and runs the program of each pod's image as a local process.
func startSimulated(ctx context.Context, sup *proc.Supervisor, o Options) (*Cluster, error) {
	address, err := outerAddress()
	if err != nil {
		return nil, err
	}
	if err := buildKWOK(ctx, o); err != nil {
		return nil, err
	}
	cp := &controlPlane{o: o, sup: sup, address: "127.0.0.1"}
	door := ingress{address: "127.0.0.1"}
	for _, port := range []*int{&cp.apiPort, &cp.etcdPort, &cp.peerPort, &door.port, &door.metricsPort} {
		if *port, err = proc.FreePort(); err != nil {
			return nil, err
		}
	}
	if err := cp.start(ctx); err != nil {
		return nil, err
	}
	client, err := clientFor(cp.kubeconfigFile("admin"))
	if err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return cp.startControllers(groupCtx) })
	group.Go(func() error { return playNode(groupCtx, cp, client, address) })
	group.Go(func() error { return door.install(groupCtx, cp) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s := newSimulator(sup, client, address, filepath.Join(kubeDir(o), "images"))
	if err := s.run(sup.Context()); err != nil {
		return nil, err
	}
	return &Cluster{Kubeconfig: cp.kubeconfigFile("admin"), IngressURL: door.url(), TraefikMetrics: door.metrics()}, nil
}

// outerAddress is an address of this machine that is not loopback, which an
// EndpointSlice would not take.
func outerAddress() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("list this machine's addresses: %w", err)
	}
	for _, address := range addresses {
		if prefix, ok := address.(*net.IPNet); ok && prefix.IP.To4() != nil && prefix.IP.IsGlobalUnicast() {
			return prefix.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no IPv4 address but loopback: a simulated cluster needs one to route to")
}

// buildKWOK builds the one tool that only this kind of cluster needs.
func buildKWOK(ctx context.Context, o Options) error {
	if _, err := os.Stat(filepath.Join(o.Tools, "kwok")); err == nil {
		return nil
	}
	return timed(o, "kwok, built", func() error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
		defer cancel()
		script := filepath.Join(o.Tools, "..", "..", "deploy", "tools", "install.sh")
		out, err := exec.CommandContext(ctx, "bash", script, "kwok").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s kwok: %w: %s", script, err, out)
		}
		return nil
	})
}

// playNode registers the node and has KWOK keep it Ready.
func playNode(ctx context.Context, cp *controlPlane, client kubernetes.Interface, address string) error {
	stages, err := manifests.ReadFile("manifests/kwok.yaml")
	if err != nil {
		return err
	}
	config := filepath.Join(cp.dir(), "kwok.yaml")
	if err := os.WriteFile(config, stages, 0o600); err != nil {
		return fmt.Errorf("write the stages of the simulated node: %w", err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName}}}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("register the simulated node: %w", err)
	}
	return cp.run(ctx, proc.Part{
		Name: "kwok", Path: filepath.Join(cp.o.Tools, "kwok"), StopGrace: time.Second,
		Args: []string{
			"--config=" + config, "--kubeconfig=" + cp.kubeconfigFile("admin"), "--manage-single-node=" + nodeName,
			"--node-ip=" + address, "--cidr=" + simulatedPods, "--node-lease-duration-seconds=40",
		},
		Ready: func(ctx context.Context) error { return nodeReady(ctx, client) },
	})
}
