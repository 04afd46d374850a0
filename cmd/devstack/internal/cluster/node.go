package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

const nodeName = "node-1"

// node is the one node of a real cluster: containerd, kubelet, kube-proxy.
type node struct {
	cp  *controlPlane
	id  string
	net network
}

func (n *node) path(elements ...string) string {
	return filepath.Join(append([]string{nodeDir(n.id)}, elements...)...)
}

func (n *node) socket() string { return n.path("containerd.sock") }

// startRuntime starts containerd and gives it the pause image.
func (n *node) startRuntime(ctx context.Context) error {
	archive, err := pauseArchive(ctx, kubeDir(n.cp.o))
	if err != nil {
		return err
	}
	if err := n.writeRuntimeConfig(ctx); err != nil {
		return err
	}
	return timed(n.cp.o, "containerd", func() error {
		_, err := n.cp.sup.Start(ctx, proc.Part{
			Name: "containerd", Path: "containerd", Args: []string{"--config", n.path("containerd.toml")},
			Env: []string{"PATH=" + systemPath}, NetNS: n.cp.netns, StopGrace: 2 * time.Second,
			Ready: func(ctx context.Context) error {
				return command(ctx, "ctr", "--address", n.socket(), "version")
			},
		})
		if err != nil {
			return err
		}
		return command(ctx, "ctr", "--address", n.socket(), "--namespace", "k8s.io", "images", "import", archive)
	})
}

// writeRuntimeConfig writes containerd's settings, the pod network's and the
// registry's.
func (n *node) writeRuntimeConfig(ctx context.Context) error {
	for _, dir := range []string{"root", "state", "cni/net.d", "registry"} {
		if err := os.MkdirAll(n.path(dir), 0o750); err != nil {
			return fmt.Errorf("make the node's folders: %w", err)
		}
	}
	settings := strings.NewReplacer("${DIR}", n.path(), "${PAUSE}", pauseImage, "${CNI}", cniDir, "${SNAPSHOTTER}", n.snapshotter(ctx))
	files := map[string]string{
		"containerd.toml": settings.Replace(containerdConfig),
		"cni/net.d/10-waybill.conflist": strings.NewReplacer(
			"${NAME}", n.net.namespace, "${DIR}", n.path(), "${PODS}", n.net.block.pods.String()).Replace(cniConfig),
	}
	if port := n.cp.o.RegistryPort; port != 0 {
		// Inside the namespace 127.0.0.1 is not this machine's: images keep
		// the name by which they were pushed and come over the cable.
		mirror := fmt.Sprintf("http://%s:%d", n.net.block.host(), port)
		files[fmt.Sprintf("registry/127.0.0.1:%d/hosts.toml", port)] = fmt.Sprintf(
			"server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror, mirror)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o750); err != nil {
			return fmt.Errorf("make the node's folders: %w", err)
		}
		if err := os.WriteFile(n.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the node's settings: %w", err)
		}
	}
	return nil
}

// snapshotter is overlayfs where this machine can stack it on the node's
// folder; in a container it often cannot, and copies take its place.
func (n *node) snapshotter(ctx context.Context) string {
	probe := n.path("probe")
	defer func() { _ = os.RemoveAll(probe) }()
	options := "lowerdir=" + probe + "/a,upperdir=" + probe + "/b,workdir=" + probe + "/c"
	for _, dir := range []string{"a", "b", "c", "d"} {
		if os.MkdirAll(filepath.Join(probe, dir), 0o750) != nil {
			return "native"
		}
	}
	if command(ctx, "mount", "-t", "overlay", "overlay", "-o", options, probe+"/d") != nil {
		return "native"
	}
	_ = command(ctx, "umount", "--lazy", probe+"/d")
	return "overlayfs"
}

const containerdConfig = `version = 2
root = "${DIR}/root"
state = "${DIR}/state"

[grpc]
  address = "${DIR}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "${DIR}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE}"
  # This machine's kernel profile tool may be missing, and the right to lower
  # an OOM score with it.
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${SNAPSHOTTER}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "${DIR}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI}"
    conf_dir = "${DIR}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${DIR}/registry"
`

// cniConfig routes to each pod by a cable of its own. A bridge would need the
// kernel to filter bridged packets before Services could work between pods.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "${NAME}",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "dataDir": "${DIR}/cni/addresses",
      "ranges": [[{"subnet": "${PODS}"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

// startAgents starts kubelet and kube-proxy and returns when the node is Ready.
func (n *node) startAgents(ctx context.Context, client kubernetes.Interface) error {
	if err := makeCgroups(n.id); err != nil {
		return err
	}
	if err := n.writeAgentConfig(); err != nil {
		return err
	}
	proxy := n.cp.part("kube-proxy", "--config="+n.path("kube-proxy.json"))
	if _, err := n.cp.sup.Start(ctx, proxy); err != nil {
		return err
	}
	kubelet := n.cp.part("kubelet",
		"--config="+n.path("kubelet.json"), "--kubeconfig="+n.cp.kubeconfigFile("kubelet"),
		"--root-dir="+n.path("kubelet"), "--hostname-override="+nodeName, "--node-ip="+n.net.block.node().String())
	kubelet.StopGrace = 2 * time.Second
	kubelet.Ready = func(ctx context.Context) error { return nodeReady(ctx, client) }
	return n.cp.run(ctx, kubelet)
}

func (n *node) writeAgentConfig() error {
	kubelet := map[string]any{
		"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
		"address":        n.net.block.node().String(),
		"authentication": map[string]any{"x509": map[string]any{"clientCAFile": n.cp.ca.file()}, "anonymous": map[string]any{"enabled": false}},
		"tlsCertFile":    n.cp.kubeletTLS.cert, "tlsPrivateKeyFile": n.cp.kubeletTLS.key,
		"containerRuntimeEndpoint": "unix://" + n.socket(),
		"cgroupDriver":             "cgroupfs", "cgroupRoot": "/" + cgroupName(n.id), "enforceNodeAllocatable": []string{"pods"},
		"failCgroupV1": false, "failSwapOn": false, "makeIPTablesUtilChains": false, "localStorageCapacityIsolation": false,
		"podLogsDir":        n.path("pod-logs"),
		"imageMaximumGCAge": "0s", "imageGCHighThresholdPercent": 100,
		// A laptop's disk is often nearly full, and nothing here is worth an eviction.
		"evictionHard":              map[string]string{"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
		"nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s", "serializeImagePulls": false,
		"registryPullQPS": 0, "eventRecordQPS": 0,
	}
	proxy := map[string]any{
		"kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
		"clientConnection": map[string]any{"kubeconfig": n.cp.kubeconfigFile("kube-proxy")},
		"mode":             "nftables", "clusterCIDR": n.net.block.pods.String(), "hostnameOverride": nodeName,
		// The limits are the whole machine's and none of a local stack's business.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
	for name, config := range map[string]any{"kubelet.json": kubelet, "kube-proxy.json": proxy} {
		text, err := json.MarshalIndent(config, "", "  ")
		if err != nil {
			return fmt.Errorf("write the node's settings: %w", err)
		}
		if err := os.WriteFile(n.path(name), text, 0o600); err != nil {
			return fmt.Errorf("write the node's settings: %w", err)
		}
	}
	return nil
}

// makeCgroups makes the cgroup that all pods go below, in every hierarchy.
func makeCgroups(id string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		return errors.New("no cgroup hierarchy is mounted")
	}
	for _, root := range roots {
		// Version 2 hands controllers down only where that is asked for; a
		// hierarchy of version 1 has no such file.
		control := filepath.Join(root, "cgroup.subtree_control")
		if _, err := os.Stat(control); err == nil && len(roots) == 1 {
			if err := os.WriteFile(control, []byte("+cpu +cpuset +memory +pids"), 0o600); err != nil {
				return fmt.Errorf("hand the cgroup controllers down from %s: %w", root, err)
			}
		}
		if err := os.Mkdir(filepath.Join(root, cgroupName(id)), 0o750); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make the node's cgroup: %w", err)
		}
	}
	return nil
}

func nodeReady(ctx context.Context, client kubernetes.Interface) error {
	n, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready", nodeName)
}
