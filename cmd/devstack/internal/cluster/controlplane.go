package cluster

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

const (
	serviceCIDR = "10.96.0.0/16"
	// serviceAddress is the first of serviceCIDR: the API server, for pods.
	serviceAddress = "10.96.0.1"
)

// controlPlane is etcd, the API server, the controller manager and the
// scheduler of one cluster.
type controlPlane struct {
	o   Options
	sup *proc.Supervisor
	// netns is the file of the namespace that all parts run in, or empty.
	netns string
	// address is where the API server listens and what it gives out.
	address                     string
	apiPort, etcdPort, peerPort int
	// podCIDR is what node ranges are cut from; empty when pods are simulated.
	podCIDR string

	ca         *authority
	kubeletTLS keyPair
	accounts   keyPair
}

func (cp *controlPlane) dir() string    { return kubeDir(cp.o) }
func (cp *controlPlane) server() string { return fmt.Sprintf("https://%s:%d", cp.address, cp.apiPort) }

// kubeconfigFile names the credentials of one of the cluster's users.
func (cp *controlPlane) kubeconfigFile(user string) string {
	return filepath.Join(cp.dir(), user+".kubeconfig")
}

// users of the API server, by the name of their kubeconfig.
var users = map[string]pkix.Name{
	"admin":              {CommonName: "admin", Organization: []string{"system:masters"}},
	"controller-manager": {CommonName: "system:kube-controller-manager"},
	"scheduler":          {CommonName: "system:kube-scheduler"},
	"kube-proxy":         {CommonName: "system:kube-proxy"},
	"kubelet":            {CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}},
	"ingress":            {CommonName: "waybill:ingress"},
}

// part completes the description of a part with where it runs.
func (cp *controlPlane) part(name string, args ...string) proc.Part {
	return proc.Part{
		Name: name, Path: filepath.Join(cp.o.Tools, "kubernetes"), Args: append([]string{name}, args...),
		Env: []string{"PATH=" + systemPath}, NetNS: cp.netns,
		// The state is thrown away, and the API server alone would take ten
		// seconds to say goodbye to its watchers.
		StopGrace: 300 * time.Millisecond,
	}
}

// run starts a part and reports its time.
func (cp *controlPlane) run(ctx context.Context, p proc.Part) error {
	return timed(cp.o, p.Name, func() error {
		_, err := cp.sup.Start(ctx, p)
		return err
	})
}

// prepare writes all certificates and credentials.
func (cp *controlPlane) prepare() error {
	var err error
	if cp.ca, err = newAuthority(cp.dir(), "ca"); err != nil {
		return err
	}
	if cp.accounts, err = serviceAccountKeys(cp.dir()); err != nil {
		return err
	}
	for file, subject := range users {
		if err := cp.ca.kubeconfig(cp.kubeconfigFile(file), cp.server(), subject); err != nil {
			return err
		}
	}
	cp.kubeletTLS, err = cp.ca.issue("kubelet-server", pkix.Name{CommonName: nodeName}, nodeName, cp.address)
	return err
}

// start brings the control plane up; it returns when the API server answers
// and the controllers work.
func (cp *controlPlane) start(ctx context.Context) error {
	if err := cp.prepare(); err != nil {
		return err
	}
	if err := cp.startEtcd(ctx); err != nil {
		return err
	}
	return cp.startAPIServer(ctx)
}

func (cp *controlPlane) startEtcd(ctx context.Context) error {
	pair, err := cp.ca.issue("etcd", pkix.Name{CommonName: "etcd"}, "127.0.0.1", "localhost")
	if err != nil {
		return err
	}
	data := filepath.Join(cp.dir(), "etcd")
	// The cluster is made anew at each start, so old data is of no use.
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("remove the last cluster's data: %w", err)
	}
	client, peer := fmt.Sprintf("https://127.0.0.1:%d", cp.etcdPort), fmt.Sprintf("https://127.0.0.1:%d", cp.peerPort)
	p := cp.part("etcd",
		"--name=waybill", "--data-dir="+data, "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=waybill="+peer,
		"--client-cert-auth", "--trusted-ca-file="+cp.ca.file(), "--cert-file="+pair.cert, "--key-file="+pair.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+cp.ca.file(), "--peer-cert-file="+pair.cert, "--peer-key-file="+pair.key,
	)
	return cp.run(ctx, p)
}

func (cp *controlPlane) startAPIServer(ctx context.Context) error {
	serving, err := cp.ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, cp.address, "127.0.0.1", serviceAddress,
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	etcd, err := cp.ca.issue("apiserver-etcd-client", pkix.Name{CommonName: "kube-apiserver"})
	if err != nil {
		return err
	}
	kubelet, err := cp.ca.issue("apiserver-kubelet-client", pkix.Name{CommonName: "kube-apiserver", Organization: []string{"system:masters"}})
	if err != nil {
		return err
	}
	frontCA, err := newAuthority(cp.dir(), "front-proxy-ca")
	if err != nil {
		return err
	}
	front, err := frontCA.issue("front-proxy-client", pkix.Name{CommonName: "front-proxy-client"})
	if err != nil {
		return err
	}
	p := cp.part("kube-apiserver",
		"--advertise-address="+cp.address, "--bind-address="+cp.address, "--secure-port="+strconv.Itoa(cp.apiPort),
		"--etcd-servers=https://127.0.0.1:"+strconv.Itoa(cp.etcdPort), "--etcd-cafile="+cp.ca.file(), "--etcd-certfile="+etcd.cert, "--etcd-keyfile="+etcd.key,
		"--client-ca-file="+cp.ca.file(), "--tls-cert-file="+serving.cert, "--tls-private-key-file="+serving.key,
		"--kubelet-certificate-authority="+cp.ca.file(), "--kubelet-client-certificate="+kubelet.cert, "--kubelet-client-key="+kubelet.key,
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+cp.accounts.cert, "--service-account-signing-key-file="+cp.accounts.key,
		"--service-cluster-ip-range="+serviceCIDR,
		"--requestheader-client-ca-file="+frontCA.file(), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file="+front.cert, "--proxy-client-key-file="+front.key,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
	)
	if cp.netns == "" {
		// On loopback there is no address to give to pods, and no pod to use it.
		p.Args = append(p.Args, "--endpoint-reconciler-type=none")
	}
	client, err := clientFor(cp.kubeconfigFile("admin"))
	if err != nil {
		return err
	}
	p.Ready = func(ctx context.Context) error {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
	return cp.run(ctx, p)
}

// startControllers starts the controller manager and the scheduler beside each
// other and returns when the first has made the default service account.
func (cp *controlPlane) startControllers(ctx context.Context) error {
	manager := cp.part("kube-controller-manager",
		"--kubeconfig="+cp.kubeconfigFile("controller-manager"), "--use-service-account-credentials", "--leader-elect=false", "--secure-port=0",
		"--root-ca-file="+cp.ca.file(), "--service-account-private-key-file="+cp.accounts.key,
		// The defaults throttle its first seconds.
		"--kube-api-qps=500", "--kube-api-burst=1000",
	)
	if cp.podCIDR == "" {
		// The simulator routes Services to the processes that stand in for pods.
		manager.Args = append(manager.Args, "--controllers=*,-endpointslice-controller")
	} else {
		manager.Args = append(manager.Args, "--allocate-node-cidrs", "--cluster-cidr="+cp.podCIDR, "--node-cidr-mask-size=24", "--service-cluster-ip-range="+serviceCIDR)
	}
	client, err := clientFor(cp.kubeconfigFile("admin"))
	if err != nil {
		return err
	}
	manager.Ready = func(ctx context.Context) error { return defaultAccountExists(ctx, client) }
	scheduler := cp.part("kube-scheduler", "--kubeconfig="+cp.kubeconfigFile("scheduler"), "--leader-elect=false", "--secure-port=0")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return cp.run(ctx, manager) })
	group.Go(func() error { return cp.run(ctx, scheduler) })
	return group.Wait()
}

func clientFor(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	config.Timeout = 30 * time.Second
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", kubeconfig, err)
	}
	return client, nil
}
