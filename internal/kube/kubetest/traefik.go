package kubetest

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// GatewayName and GatewayNamespace are where StartTraefik puts its Gateway.
const (
	GatewayName      = "waybill"
	GatewayNamespace = "default"
)

// StartTraefik installs the Gateway API and runs Traefik as the controller of a
// Gateway that takes routes from all namespaces. It returns when the Gateway is
// accepted.
func (s *Server) StartTraefik(ctx context.Context) error {
	if err := s.InstallGatewayAPI(ctx); err != nil {
		return err
	}
	binary, err := testtools.Tool(ctx, "traefik")
	if err != nil {
		return err
	}
	ports, err := testtools.FreePorts(ctx, 1)
	if err != nil {
		return err
	}
	if err := s.run("traefik", binary,
		fmt.Sprintf("--entrypoints.web.address=127.0.0.1:%d", ports[0]), "--providers.kubernetesgateway=true",
		"--providers.kubernetesgateway.endpoint="+s.Config.Host, "--providers.kubernetesgateway.token="+s.Config.BearerToken,
		"--providers.kubernetesgateway.certauthfilepath="+filepath.Clean(s.Config.CAFile),
		"--providers.providersthrottleduration=100ms", "--log.level=INFO",
		"--global.checknewversion=false", "--global.sendanonymoususage=false"); err != nil {
		return err
	}
	clients, err := versioned.NewForConfig(s.Config)
	if err != nil {
		return err
	}
	if _, err := clients.GatewayV1().GatewayClasses().Create(ctx, &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "traefik"},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: "traefik.io/gateway-controller"},
	}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create GatewayClass: %w", err)
	}
	all := gatewayv1.NamespacesFromAll
	if _, err := clients.GatewayV1().Gateways(GatewayNamespace).Create(ctx, &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: GatewayName},
		Spec: gatewayv1.GatewaySpec{GatewayClassName: "traefik", Listeners: []gatewayv1.Listener{{
			Name: "web", Protocol: gatewayv1.HTTPProtocolType, Port: gatewayv1.PortNumber(ports[0]), //nolint:gosec // a TCP port
			AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: &all}},
		}}},
	}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Gateway: %w", err)
	}
	return s.awaitGateway(ctx, clients)
}

func (s *Server) awaitGateway(ctx context.Context, clients versioned.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		g, err := clients.GatewayV1().Gateways(GatewayNamespace).Get(ctx, GatewayName, metav1.GetOptions{})
		if err == nil {
			for _, c := range g.Status.Conditions {
				if c.Type == string(gatewayv1.GatewayConditionAccepted) && c.Status == metav1.ConditionTrue {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("traefik did not accept the Gateway: %w\n%s", ctx.Err(), s.processes[len(s.processes)-1].tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
