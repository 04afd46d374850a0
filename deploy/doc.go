// Package deploy holds what Waybill is deployed with (a Compose file, a
// kustomize base, the configuration of its neighbours, the pinned tools) and the
// tests that hold it true: against the Compose specification, against a real
// Kubernetes API server, and against the daemon's own configuration loader.
package deploy
