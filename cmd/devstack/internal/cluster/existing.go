package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// What an existing cluster does not say of itself can be set.
const (
	// classVariable names the GatewayClass; needed where there are several.
	classVariable = "WAYBILL_GATEWAY_CLASS"
	// portVariable is the port that the Gateway listens on; 80 when not set.
	portVariable = "WAYBILL_GATEWAY_PORT"
	// urlVariable is how this machine reaches the Gateway; made of the address
	// in the Gateway's status when not set.
	urlVariable = "WAYBILL_INGRESS_URL"
	// metricsVariable is the URL of the ingress's metrics.
	metricsVariable = "WAYBILL_INGRESS_METRICS"
)

var classResource = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}

// leaveHelper takes the stack's Gateway out of an existing cluster.
const leaveHelper = "cluster-leave"

var _ = proc.RegisterHelper(leaveHelper, func(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: guard cluster-leave KUBECONFIG (run by the stack, not by hand)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return leave(ctx, args[0])
})

// useExisting puts a Gateway into the cluster that KUBECONFIG names. The
// cluster brings the implementation of the Gateway API; nothing else that it
// holds is changed.
func useExisting(ctx context.Context, sup *proc.Supervisor, o Options) (*Cluster, error) {
	kubeconfig := filepath.Join(kubeDir(o), "admin.kubeconfig")
	server, err := copyKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(cmp.Or(os.Getenv(portVariable), "80"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", portVariable, err)
	}
	a, err := newApplier(kubeconfig)
	if err != nil {
		return nil, err
	}
	served, err := a.exists(ctx, crdResource, "httproutes.gateway.networking.k8s.io")
	if err != nil {
		return nil, fmt.Errorf("ask the cluster at %s: %w", server, err)
	}
	if !served {
		return nil, fmt.Errorf("the cluster at %s does not serve the Gateway API: install an implementation of it", server)
	}
	class, err := findClass(ctx, a)
	if err != nil {
		return nil, err
	}
	cleanup, err := proc.HelperArgv(leaveHelper, kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := sup.Cleanup("gateway", cleanup); err != nil {
		return nil, err
	}
	host, err := addressTowards(ctx, server)
	if err != nil {
		return nil, err
	}
	if err := o.OnNetwork(host); err != nil {
		return nil, err
	}
	var address string
	err = timed(o, "gateway", func() error {
		if err := applyGateway(ctx, a, class, port); err != nil {
			return err
		}
		address, err = awaitGateway(ctx, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	door := ingress{address: address, port: port}
	return &Cluster{
		Kubeconfig: kubeconfig, HostAddress: host, TraefikMetrics: os.Getenv(metricsVariable),
		IngressURL: cmp.Or(os.Getenv(urlVariable), door.url()),
	}, nil
}

// copyKubeconfig writes what KUBECONFIG names (several files, perhaps) as one
// file of the stack's own and returns the API server's URL.
func copyKubeconfig(file string) (string, error) {
	if os.Getenv("KUBECONFIG") == "" {
		return "", errors.New("KUBECONFIG is not set: it must name the cluster to use")
	}
	config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		return "", fmt.Errorf("read KUBECONFIG: %w", err)
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return "", fmt.Errorf("read KUBECONFIG: %w", err)
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	client, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return "", fmt.Errorf("read KUBECONFIG: %w", err)
	}
	return client.Host, nil
}

// findClass returns the class asked for, or the only one that is accepted.
func findClass(ctx context.Context, a *applier) (string, error) {
	if class := os.Getenv(classVariable); class != "" {
		return class, nil
	}
	list, err := a.dynamic.Resource(classResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the cluster's gateway classes: %w", err)
	}
	var accepted []string
	for _, class := range list.Items {
		if conditionTrue(class.Object, "Accepted", "status", "conditions") == nil {
			accepted = append(accepted, class.GetName())
		}
	}
	if len(accepted) != 1 {
		return "", fmt.Errorf("the cluster has %d accepted gateway classes %v: name one in %s", len(accepted), accepted, classVariable)
	}
	return accepted[0], nil
}

// addressTowards is this machine's address on the way to a server.
func addressTowards(ctx context.Context, server string) (string, error) {
	target, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("address of the API server: %w", err)
	}
	// Connecting a datagram socket sends nothing; it only chooses the route.
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(target.Hostname(), cmp.Or(target.Port(), "443")))
	if err != nil {
		return "", fmt.Errorf("find this machine's address towards %s: %w", server, err)
	}
	defer func() { _ = conn.Close() }()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}

// leave removes the namespace of the Gateway if this program made it.
func leave(ctx context.Context, kubeconfig string) error {
	a, err := newApplier(kubeconfig)
	if err != nil {
		return err
	}
	namespaces := a.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	list, err := namespaces.List(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + GatewayNamespace, LabelSelector: "app.kubernetes.io/managed-by=" + fieldManager,
	})
	if err != nil {
		return fmt.Errorf("look for namespace %s: %w", GatewayNamespace, err)
	}
	for _, namespace := range list.Items {
		uid := namespace.GetUID()
		err := namespaces.Delete(ctx, namespace.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil {
			return fmt.Errorf("remove namespace %s: %w", namespace.GetName(), err)
		}
	}
	return nil
}
