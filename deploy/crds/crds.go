// Package crds holds the custom resource definitions that the local stack puts
// into its cluster.
package crds

import "embed"

// GatewayAPIVersion is the release of the Gateway API whose standard channel
// GatewayAPI holds: the one that the pinned Traefik is built against. Traefik
// waits for every kind that it knows, so older definitions stop it.
const GatewayAPIVersion = "v1.4.0"

// GatewayAPI holds the definitions, one YAML file each, in the folder
// gateway-api.
//
//go:embed gateway-api/*.yaml
var GatewayAPI embed.FS
