package traffic

import (
	"testing"

	"github.com/stretchr/testify/require"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waybill-dev/waybill/signals"
)

func TestShares(t *testing.T) {
	target := signals.Target{Stable: "stable", Canary: "canary"}
	cases := []struct {
		name           string
		rules          [][2]int32 // weights of stable and canary
		stable, canary int32
	}{
		{"percent", [][2]int32{{95, 5}}, 95, 5},
		{"other totals", [][2]int32{{3, 1}}, 75, 25},
		{"a little is not nothing", [][2]int32{{9999, 1}}, 99, 1},
		{"the most exposed rule counts", [][2]int32{{100, 0}, {50, 50}}, 50, 50},
		{"nothing anywhere", [][2]int32{{0, 0}}, 0, 0},
		{"all", [][2]int32{{0, 7}}, 0, 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			route := &gatewayv1.HTTPRoute{}
			for _, w := range c.rules {
				r := gatewayv1.HTTPRouteRule{BackendRefs: []gatewayv1.HTTPBackendRef{ref("stable"), ref("canary")}}
				r.BackendRefs[0].Weight, r.BackendRefs[1].Weight = &w[0], &w[1]
				route.Spec.Rules = append(route.Spec.Rules, r)
			}
			found, err := backends(route, target)
			require.NoError(t, err)
			require.Equal(t, signals.Weights{Stable: c.stable, Canary: c.canary}, shares(route, found))
		})
	}
}
