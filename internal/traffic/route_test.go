package traffic

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/kube/kubetest"
	"github.com/waybill-dev/waybill/signals"
)

var _ activities.Traffic = (*Routes)(nil)

// One control plane with a real Gateway controller serves the package.
var (
	kubes    kubernetes.Interface
	gateways versioned.Interface
	routes   *Routes
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, setUp)) }

func setUp(ctx context.Context, server *kubetest.Server) (err error) {
	if err := server.StartTraefik(ctx); err != nil {
		return err
	}
	if kubes, err = kubernetes.NewForConfig(server.Config); err != nil {
		return err
	}
	if gateways, err = versioned.NewForConfig(server.Config); err != nil {
		return err
	}
	routes, err = New(server.Config)
	return err
}

// newRoute makes a namespace with both Services and a route of two rules to
// stable and one to another Service.
func newRoute(t *testing.T, change func(*gatewayv1.HTTPRoute)) signals.Target {
	t.Helper()
	made, err := kubes.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "route-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	namespace := made.Name
	for _, name := range []string{"stable", "canary", "other"} {
		_, err := kubes.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"waybill.dev/workload": name}, Ports: []corev1.ServicePort{{Port: 8080}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	route := &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "route"},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{
				Name: kubetest.GatewayName, Namespace: new(gatewayv1.Namespace(kubetest.GatewayNamespace)),
			}}},
			Hostnames: []gatewayv1.Hostname{gatewayv1.Hostname(namespace + ".example")},
			Rules:     []gatewayv1.HTTPRouteRule{rule("/", "stable"), rule("/v2", "stable"), rule("/other", "other")},
		},
	}
	if change != nil {
		change(route)
	}
	_, err = gateways.GatewayV1().HTTPRoutes(namespace).Create(t.Context(), route, metav1.CreateOptions{})
	require.NoError(t, err)
	return signals.Target{Namespace: namespace, Stable: "stable", Canary: "canary", Route: "route", Port: 8080}
}

func rule(path, service string) gatewayv1.HTTPRouteRule {
	return gatewayv1.HTTPRouteRule{
		Matches:     []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: &path}}},
		BackendRefs: []gatewayv1.HTTPBackendRef{ref(service)},
	}
}

func ref(service string) gatewayv1.HTTPBackendRef {
	return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
		Name: gatewayv1.ObjectName(service), Port: new(gatewayv1.PortNumber(8080)),
	}}}
}

func get(t *testing.T, target signals.Target) *gatewayv1.HTTPRoute {
	t.Helper()
	route, err := gateways.GatewayV1().HTTPRoutes(target.Namespace).Get(t.Context(), target.Route, metav1.GetOptions{})
	require.NoError(t, err)
	return route
}

// refs renders the backends of a rule as name=weight.
func refs(route *gatewayv1.HTTPRoute, rule int) map[string]int32 {
	found := map[string]int32{}
	for _, r := range route.Spec.Rules[rule].BackendRefs {
		found[string(r.Name)] = weight(r)
	}
	return found
}

func TestWeightsGoUpAndBack(t *testing.T) {
	target := newRoute(t, nil)
	w, err := routes.Weights(t.Context(), target)
	require.NoError(t, err)
	require.EqualValues(t, 100, w.Stable)

	for _, canary := range []int32{5, 25, 100, 0} {
		w, err := routes.SetWeights(t.Context(), target, canary)
		require.NoError(t, err)
		require.Equal(t, signals.Weights{Stable: 100 - canary, Canary: canary, Accepted: true, At: w.At}, w)
		route := get(t, target)
		for _, i := range []int{0, 1} {
			require.Equal(t, map[string]int32{"stable": 100 - canary, "canary": canary}, refs(route, i))
		}
		require.Equal(t, map[string]int32{"other": 1}, refs(route, 2))
		ok, why := accepted(route)
		require.True(t, ok, why)
		read, err := routes.Weights(t.Context(), target)
		require.NoError(t, err)
		require.Equal(t, canary, read.Canary)
	}

	generation := get(t, target).Generation
	_, err = routes.SetWeights(t.Context(), target, 0)
	require.NoError(t, err)
	require.Equal(t, generation, get(t, target).Generation, "the second time changes nothing")

	for range 2 {
		w, err = routes.RemoveCanary(t.Context(), target)
		require.NoError(t, err)
		require.EqualValues(t, 100, w.Stable)
		require.Equal(t, map[string]int32{"stable": 100}, refs(get(t, target), 0))
	}
	_, err = routes.SetWeights(t.Context(), target, 0)
	require.NoError(t, err, "back, though no canary ever was")
	require.Equal(t, map[string]int32{"stable": 100}, refs(get(t, target), 0))
}

// TestBackWithCanaryServiceGone: somebody deleted the canary while the route
// still refers to it. Weight 0 is not enough then; dropping the reference is.
func TestBackWithCanaryServiceGone(t *testing.T) {
	target := newRoute(t, nil)
	_, err := routes.SetWeights(t.Context(), target, 25)
	require.NoError(t, err)
	require.NoError(t, kubes.CoreV1().Services(target.Namespace).Delete(t.Context(), "canary", metav1.DeleteOptions{}))
	w, err := routes.RemoveCanary(t.Context(), target)
	require.NoError(t, err)
	require.True(t, w.Accepted)
	require.Equal(t, map[string]int32{"stable": 100}, refs(get(t, target), 0))
}

// TestEditedByOthers has somebody else write the route without pause until the
// weights are in it. (Writing on would starve the controller's status as well.)
func TestEditedByOthers(t *testing.T) {
	target := newRoute(t, nil)
	for _, canary := range []int32{5, 50, 0} {
		edits := make(chan int)
		go func() {
			n := 0
			for {
				route, err := gateways.GatewayV1().HTTPRoutes(target.Namespace).Patch(context.WithoutCancel(t.Context()), "route", types.MergePatchType,
					[]byte(`{"metadata":{"annotations":{"edit":"`+time.Now().Format(time.RFC3339Nano)+`"}}}`), metav1.PatchOptions{})
				if err == nil {
					n++
				}
				if err != nil || refs(route, 1)["canary"] == canary && refs(route, 1)["stable"] == 100-canary {
					edits <- n
					return
				}
			}
		}()
		w, err := routes.SetWeights(t.Context(), target, canary)
		require.NoError(t, err)
		require.Equal(t, canary, w.Canary)
		require.Positive(t, <-edits)
	}
	require.NotEmpty(t, get(t, target).Annotations["edit"], "the other's edits are kept")
}

// TestWeightsPutBackByOthers: a controller that restores its own weights, as
// GitOps tools do, is reported and not fought without end.
func TestWeightsPutBackByOthers(t *testing.T) {
	// Never accepted, so that the change is under way for as long as it takes.
	target := newRoute(t, func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs[0].Name = "nobody" })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_, _ = gateways.GatewayV1().HTTPRoutes(target.Namespace).Patch(ctx, "route", types.JSONPatchType,
				[]byte(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":100}]`), metav1.PatchOptions{})
		}
	}()
	_, err := routes.SetWeights(t.Context(), target, 50)
	require.ErrorContains(t, err, "somebody else undid its weights 5 times")
}

func TestRoutesThatCannotBeSplit(t *testing.T) {
	cases := map[string]struct {
		change func(*gatewayv1.HTTPRoute)
		want   string
	}{
		"third backend": {func(r *gatewayv1.HTTPRoute) {
			r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, ref("other"))
		}, `sends traffic to "other" besides "stable"`},
		"no stable": {func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = r.Spec.Rules[2:] }, `no rule of HTTPRoute`},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			target := newRoute(t, c.change)
			_, err := routes.SetWeights(t.Context(), target, 5)
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, signals.ErrConflict, app.Type())
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := routes.Weights(t.Context(), signals.Target{Namespace: "default", Route: "none"})
	require.ErrorContains(t, err, "does not exist")
	w, err := routes.RemoveCanary(t.Context(), signals.Target{Namespace: "default", Route: "none"})
	require.NoError(t, err, "no route, no reference")
	require.Zero(t, w.Canary)
}

// TestNotAccepted: a Gateway that doesn't take the route means that the weights
// don't hold, whatever the route says.
func TestNotAccepted(t *testing.T) {
	target := newRoute(t, func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs[0].Name = "nobody" })
	impatient := &Routes{clients: gateways, AcceptWithin: time.Second}
	_, err := impatient.SetWeights(t.Context(), target, 5)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, `Gateway "nobody" has not reported on the route`)
}
