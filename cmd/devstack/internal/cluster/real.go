package cluster

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// Inside its own network namespace a cluster has its usual ports.
const (
	apiPort     = 6443
	etcdPort    = 2379
	peerPort    = 2380
	ingressPort = 8000
	metricsPort = 8001
)

// startReal brings up a control plane, a node that runs pods, and the ingress,
// all in one network namespace.
func startReal(ctx context.Context, sup *proc.Supervisor, o Options) (*Cluster, error) {
	if err := installPackages(ctx, o); err != nil {
		return nil, err
	}
	id := identity(o)
	// What a stack left behind that lost its guard (the machine went down)
	// would be in the way.
	if err := clean(ctx, id); err != nil {
		return nil, err
	}
	cleanup, err := proc.HelperArgv(cleanHelper, id)
	if err != nil {
		return nil, err
	}
	if err := sup.Cleanup("node", cleanup); err != nil {
		return nil, err
	}
	net, err := makeNetwork(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := o.OnNetwork(net.block.host().String()); err != nil {
		return nil, err
	}
	address := net.block.node().String()
	cp := &controlPlane{
		o: o, sup: sup, netns: net.file(), address: address,
		apiPort: apiPort, etcdPort: etcdPort, peerPort: peerPort, podCIDR: net.block.pods.String(),
	}
	n := &node{cp: cp, id: id, net: net}
	door := ingress{address: address, port: ingressPort, metricsPort: metricsPort}
	if err := startParts(ctx, cp, n, door); err != nil {
		return nil, err
	}
	return &Cluster{
		Kubeconfig: cp.kubeconfigFile("admin"), HostAddress: net.block.host().String(),
		IngressURL: door.url(), TraefikMetrics: door.metrics(), PodCIDR: cp.podCIDR,
	}, nil
}

// startParts starts beside each other what does not need each other.
func startParts(ctx context.Context, cp *controlPlane, n *node, door ingress) error {
	first, firstCtx := errgroup.WithContext(ctx)
	first.Go(func() error { return n.startRuntime(firstCtx) })
	first.Go(func() error { return cp.start(firstCtx) })
	if err := first.Wait(); err != nil {
		return err
	}
	client, err := clientFor(cp.kubeconfigFile("admin"))
	if err != nil {
		return err
	}
	second, ctx := errgroup.WithContext(ctx)
	second.Go(func() error { return cp.startControllers(ctx) })
	second.Go(func() error { return n.startAgents(ctx, client) })
	second.Go(func() error { return door.install(ctx, cp) })
	return second.Wait()
}
