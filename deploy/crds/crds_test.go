package crds

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func TestDefinitionsAreOfTheVersionTraefikNames(t *testing.T) {
	module, err := os.ReadFile("../tools/traefik/go.mod")
	require.NoError(t, err)
	named := regexp.MustCompile(`sigs\.k8s\.io/gateway-api (v\S+)`).FindSubmatch(module)
	require.NotNil(t, named, "Traefik's module no longer names the Gateway API")
	require.Equal(t, GatewayAPIVersion, string(named[1]))

	files, err := GatewayAPI.ReadDir("gateway-api")
	require.NoError(t, err)
	kinds := map[string]bool{}
	for _, file := range files {
		text, err := GatewayAPI.ReadFile("gateway-api/" + file.Name())
		require.NoError(t, err)
		var definition struct {
			Kind     string
			Metadata struct{ Annotations map[string]string }
			Spec     struct{ Names struct{ Kind string } }
		}
		require.NoError(t, yaml.Unmarshal(text, &definition))
		require.Equal(t, "CustomResourceDefinition", definition.Kind, file.Name())
		require.Equal(t, GatewayAPIVersion, definition.Metadata.Annotations["gateway.networking.k8s.io/bundle-version"], file.Name())
		require.Equal(t, "standard", definition.Metadata.Annotations["gateway.networking.k8s.io/channel"], file.Name())
		kinds[definition.Spec.Names.Kind] = true
	}
	for _, kind := range []string{"GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant", "BackendTLSPolicy"} {
		require.True(t, kinds[kind], "%s is missing", kind)
	}
}
