package kubetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// startTimeout bounds the start of the whole control plane on a busy machine.
const startTimeout = 3 * time.Minute

// Server is a running control plane.
type Server struct {
	// Config is the connection of a cluster administrator.
	Config *rest.Config
	// Kubeconfig is the path of a file with the same connection.
	Kubeconfig string

	dir       string
	processes []*process
}

// Start brings a control plane up with its state in dir and returns when the
// API server answers and the controllers run. The caller stops it.
func Start(ctx context.Context, dir string) (*Server, error) {
	// Building it, where that has not been done yet, takes longer than the start.
	binary, err := testtools.Tool(ctx, "kubernetes")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.start(ctx, binary); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop kills every part. Nothing is kept.
func (s *Server) Stop() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
	s.processes = nil
}

func (s *Server) start(ctx context.Context, binary string) error {
	ports, err := testtools.FreePorts(ctx, 3)
	if err != nil {
		return err
	}
	client := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := s.run("etcd", binary, "etcd",
		"--data-dir="+filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer); err != nil {
		return err
	}

	token, accounts, err := s.credentials()
	if err != nil {
		return err
	}
	certs := filepath.Join(s.dir, "certs")
	if err := s.run("apiserver", binary, "kube-apiserver",
		"--etcd-servers="+client, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
		"--cert-dir="+certs, "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--token-auth-file="+filepath.Join(s.dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts); err != nil {
		return err
	}
	s.Config = &rest.Config{
		Host:            fmt.Sprintf("https://127.0.0.1:%d", ports[2]),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(certs, "apiserver.crt")},
		QPS:             200, Burst: 400,
	}
	s.Kubeconfig = filepath.Join(s.dir, "kubeconfig")
	if err := writeKubeconfig(s.Kubeconfig, s.Config); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	return s.run("controllers", binary, "kube-controller-manager",
		"--kubeconfig="+s.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000", "--service-account-private-key-file="+accounts,
		"--controllers=deployment-controller,replicaset-controller,garbage-collector-controller,"+
			"namespace-controller,serviceaccount-controller,resourcequota-controller,endpointslice-controller")
}

func (s *Server) run(name, path string, args ...string) error {
	p, err := startProcess(s.dir, name, path, args...)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

// credentials writes the administrator's token and the key of service accounts.
func (s *Server) credentials() (token, accounts string, err error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", "", err
	}
	token = hex.EncodeToString(secret)
	if err := os.WriteFile(filepath.Join(s.dir, "tokens.csv"), []byte(token+",kubetest,kubetest,system:masters\n"), 0o600); err != nil {
		return "", "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", "", err
	}
	accounts = filepath.Join(s.dir, "accounts.key")
	return token, accounts, os.WriteFile(accounts, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func writeKubeconfig(path string, config *rest.Config) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"kubetest": {Server: config.Host, CertificateAuthority: config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"kubetest": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"kubetest": {Cluster: "kubetest", AuthInfo: "kubetest"}},
		CurrentContext: "kubetest",
	}, path)
}

// awaitReady polls /readyz. The certificate is read anew each time, because the
// API server writes it while it starts.
func (s *Server) awaitReady(ctx context.Context) error {
	var last error
	for {
		clients, err := kubernetes.NewForConfig(s.Config)
		if err == nil {
			_, err = clients.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx)
		}
		if err == nil {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			logs := make([]error, 0, len(s.processes))
			for _, p := range s.processes {
				logs = append(logs, errors.New(p.tail()))
			}
			return fmt.Errorf("the API server did not become ready: %w\n%w", last, errors.Join(logs...))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
