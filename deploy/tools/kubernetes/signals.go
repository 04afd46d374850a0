package main

import (
	"context"

	genericserver "k8s.io/apiserver/pkg/server"
)

// setupSignals gives the kubelet a context that ends on SIGTERM or SIGINT.
func setupSignals() context.Context { return genericserver.SetupSignalContext() }
