// Package kubetest starts a real Kubernetes control plane on free loopback ports
// for tests: etcd, the API server and the controller manager, from the pinned
// binary in .tools. There is no kubelet: a Node stands in for it and reports
// pods as a test wants them. Traefik can be added as a real Gateway controller.
package kubetest
