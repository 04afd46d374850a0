package cluster

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/deploy/crds"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// gatewayClass is the class of this stack's own ingress.
const gatewayClass = "waybill"

// gatewayTimeout bounds the wait for the ingress to accept the Gateway.
const gatewayTimeout = time.Minute

var gatewayResource = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}

// ingress is where Traefik listens: for requests, and for whoever reads its
// metrics.
type ingress struct {
	address           string
	port, metricsPort int
}

func (i ingress) url() string { return fmt.Sprintf("http://%s:%d", i.address, i.port) }
func (i ingress) metrics() string {
	return fmt.Sprintf("http://%s:%d/metrics", i.address, i.metricsPort)
}

// install brings the Gateway API into the cluster and starts Traefik for it;
// it returns when the Gateway is programmed.
func (i ingress) install(ctx context.Context, cp *controlPlane) error {
	a, err := newApplier(cp.kubeconfigFile("admin"))
	if err != nil {
		return err
	}
	if err := installGatewayAPI(ctx, a); err != nil {
		return err
	}
	access, err := manifests.ReadFile("manifests/access.yaml")
	if err != nil {
		return err
	}
	if err := a.apply(ctx, access); err != nil {
		return err
	}
	if err := applyGateway(ctx, a, gatewayClass, i.port); err != nil {
		return err
	}
	return timed(cp.o, "traefik", func() error {
		if _, err := cp.sup.Start(ctx, i.part(cp)); err != nil {
			return err
		}
		_, err := awaitGateway(ctx, a)
		return err
	})
}

func (i ingress) part(cp *controlPlane) proc.Part {
	return proc.Part{
		Name: "traefik", Path: filepath.Join(cp.o.Tools, "traefik"), NetNS: cp.netns, Dir: cp.dir(),
		Env: []string{"KUBECONFIG=" + cp.kubeconfigFile("ingress")},
		Args: []string{
			"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=INFO",
			"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.statusaddress.ip=" + i.address,
			// The default of two seconds is the time that a new weight would wait.
			"--providers.providersthrottleduration=100ms",
			"--entrypoints.web.address=" + i.address + ":" + strconv.Itoa(i.port),
			"--entrypoints.metrics.address=" + i.address + ":" + strconv.Itoa(i.metricsPort),
			"--ping=true", "--ping.entrypoint=metrics",
			"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=metrics", "--metrics.prometheus.addserviceslabels=true",
			"--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5",
		},
		StopGrace: time.Second,
		Ready:     proc.HTTPReady(fmt.Sprintf("http://%s:%d/ping", i.address, i.metricsPort)),
	}
}

// installGatewayAPI applies the definitions and waits until they are served.
func installGatewayAPI(ctx context.Context, a *applier) error {
	files, err := crds.GatewayAPI.ReadDir("gateway-api")
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, file := range files {
		group.Go(func() error {
			manifest, err := crds.GatewayAPI.ReadFile("gateway-api/" + file.Name())
			if err != nil {
				return err
			}
			if err := a.apply(ctx, manifest); err != nil {
				return err
			}
			group, plural, _ := strings.Cut(strings.TrimSuffix(file.Name(), ".yaml"), "_")
			return a.established(ctx, plural+"."+group)
		})
	}
	return group.Wait()
}

// applyGateway makes the Gateway that routes of all namespaces attach to.
func applyGateway(ctx context.Context, a *applier, class string, port int) error {
	manifest, err := manifests.ReadFile("manifests/gateway.yaml")
	if err != nil {
		return err
	}
	filled := strings.NewReplacer("${CLASS}", class, "${PORT}", strconv.Itoa(port)).Replace(string(manifest))
	return a.apply(ctx, []byte(filled))
}

// awaitGateway waits until the Gateway's listener takes traffic and returns
// the address that its status names.
func awaitGateway(ctx context.Context, a *applier) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	var address string
	err := poll(ctx, func(ctx context.Context) error {
		gateway, err := a.dynamic.Resource(gatewayResource).Namespace(GatewayNamespace).Get(ctx, GatewayName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := conditionTrue(gateway.Object, "Programmed", "status", "conditions"); err != nil {
			return err
		}
		addresses, _, err := unstructured.NestedSlice(gateway.Object, "status", "addresses")
		if err != nil {
			return err
		}
		if len(addresses) == 0 {
			return errors.New("it has no address")
		}
		first, _ := addresses[0].(map[string]any)
		address, _ = first["value"].(string)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("gateway %s/%s does not take traffic: %w", GatewayNamespace, GatewayName, err)
	}
	return address, nil
}
