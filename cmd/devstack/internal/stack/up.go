package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/cluster"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/objectstore"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/prometheus"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/repo"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/seed"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/temporal"
	"github.com/waybill-dev/waybill/internal/sigstore/sigtest"
)

// Parts that can be left out.
const (
	Worker  = "worker"
	Gateway = "gateway"
	Load    = "load"
	Slack   = "slack"
)

// Options say which stack to bring up.
type Options struct {
	Name string
	Dir  string // the stack's folder
	// UsualPorts takes the ports that people know where they are free.
	UsualPorts bool
	// Without names parts to leave out: Worker, Gateway, Load, Slack.
	Without []string
	// Progress gets a line for each part that is up, possibly from several
	// goroutines.
	Progress func(part, about string, took time.Duration)
	// Failed is told of a part that ended by itself and can't be brought back.
	Failed func(part string, err error)
}

// tools are what the stack runs on any machine; a cluster of simulated nodes
// installs its own beside them.
var tools = []string{"kubernetes", "traefik", "temporal", "versitygw", "prometheus", "cosign"}

// up is a stack on its way.
type up struct {
	Layout
	Options
	root     string
	self     string // this program
	bin      string // folder of waybilld
	settings settings
	sup      *proc.Supervisor
	temporal temporal.Server
	store    objectstore.Server
	cosign   sigtest.Cosign
	cluster  *cluster.Cluster
	versions []seed.Version
	daemons  daemons
}

// Up brings a stack up and returns when releases can be started. Stopping the
// supervisor ends all of it; after an error that has been done.
func Up(ctx context.Context, o Options) (*proc.Supervisor, State, error) {
	u, err := prepare(ctx, o)
	if err != nil {
		return nil, State{}, err
	}
	state, err := u.start(ctx)
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, State{}, errors.Join(err, u.sup.Stop(stopCtx))
	}
	return u.sup, state, nil
}

// prepare takes the folder and finds programs, ports and accounts.
func prepare(ctx context.Context, o Options) (*up, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("the stack's folder: %w", err)
	}
	o.Dir = dir
	u := &up{Layout: Layout{dir}, Options: o, daemons: daemons{parts: map[string]*restartable{}}}
	if u.root, err = repo.Root(); err != nil {
		return nil, err
	}
	if u.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	u.bin = filepath.Dir(u.self)
	if _, err := os.Stat(filepath.Join(u.bin, "waybilld")); err != nil {
		return nil, fmt.Errorf("waybilld is not beside %s: build all programs with make build", u.self)
	}
	if err := repo.Install(ctx, u.root, tools...); err != nil {
		return nil, err
	}
	if u.sup, err = proc.New(dir); err != nil {
		return nil, err
	}
	if u.settings, err = loadSettings(u.settingsFile(), o.UsualPorts); err != nil {
		return nil, errors.Join(err, u.sup.Stop(ctx))
	}
	u.sup.OnExit(u.ended)
	bin := repo.Tools(u.root)
	u.cosign = sigtest.Cosign{Path: filepath.Join(bin, "cosign")}
	u.temporal = temporal.Server{
		Tools: bin, Data: u.at("data", "temporal.db"),
		Port: u.port(portTemporal), UI: u.port(portTemporalUI), Stats: u.port(portTemporalStats),
	}
	u.store = objectstore.Server{Tools: bin, Dir: u.at("data", "s3"), Port: u.port(portObjectStore), Accounts: u.settings.Accounts}
	return u, nil
}

func (u *up) port(name string) int     { return u.settings.Ports[name] }
func (u *up) local(name string) string { return u.settings.local(name) }

func (u *up) wants(part string) bool { return !slices.Contains(u.Without, part) }

// start brings up beside each other what does not need each other.
func (u *up) start(ctx context.Context) (State, error) {
	if err := u.shareSecrets(); err != nil {
		return State{}, err
	}
	base, baseCtx := errgroup.WithContext(ctx)
	base.Go(func() error { return u.startCluster(baseCtx) })
	base.Go(func() error { return u.startTemporal(baseCtx) })
	base.Go(func() error { return u.startObjectStore(baseCtx) })
	base.Go(func() error { return u.startIssuer(baseCtx) })
	base.Go(func() error { return u.startSlack(baseCtx) })
	base.Go(func() error { return u.startImages(baseCtx) })
	if err := base.Wait(); err != nil {
		return State{}, err
	}
	if err := u.writeConfigs(u.cluster.Kubeconfig); err != nil {
		return State{}, err
	}
	if err := seed.Catalog(u.root, u.at("catalog"), u.local(portRegistry), ClusterName, u.Keys()); err != nil {
		return State{}, err
	}
	daemons, daemonsCtx := errgroup.WithContext(ctx)
	daemons.Go(func() error { return u.startPrometheus(daemonsCtx) })
	daemons.Go(func() error { return u.startWorker(daemonsCtx) })
	daemons.Go(func() error { return u.startGateway(daemonsCtx) })
	if err := daemons.Wait(); err != nil {
		return State{}, err
	}
	if err := u.deploy(ctx); err != nil {
		return State{}, err
	}
	state := u.state()
	return state, state.save(u.settings.Accounts.Auditor)
}

func (u *up) state() State {
	slack := ""
	if u.wants(Slack) {
		slack = "http://" + u.local(portSlack)
	}
	return State{
		Name: u.Name, Dir: u.Layout.Dir, Pid: os.Getpid(), Started: time.Now().UTC(),
		Cluster: u.cluster.Mode, ClusterWhy: u.cluster.Why, Kubeconfig: u.cluster.Kubeconfig,
		Gateway: "http://" + u.local(portGateway), Temporal: u.temporal.Address(), TemporalUI: "http://" + u.local(portTemporalUI),
		Prometheus: "http://" + u.local(portPrometheus), Registry: u.local(portRegistry),
		ObjectStore: u.store.URL(), Bucket: objectstore.Bucket, Issuer: "http://" + u.local(portIssuer), Ingress: u.cluster.IngressURL, Slack: slack,
		EvidenceKeys: []string{u.at("keys", seed.EvidenceKey+".pub")}, Versions: u.versions,
	}
}

// timed runs a step and reports it.
func (u *up) timed(part, about string, step func() error) error {
	began := time.Now()
	if err := step(); err != nil {
		return err
	}
	u.Progress(part, about, time.Since(began))
	return nil
}

// run starts a part and reports it.
func (u *up) run(ctx context.Context, about string, p proc.Part) error {
	return u.timed(p.Name, about, func() error {
		process, err := u.sup.Start(ctx, p)
		if err != nil {
			return err
		}
		u.watch(p.Name, process)
		return nil
	})
}

func (u *up) startCluster(ctx context.Context) error {
	c, err := cluster.Start(ctx, u.sup, cluster.Options{
		Name: u.Name, StateDir: u.Layout.Dir, Tools: repo.Tools(u.root), RegistryPort: u.port(portRegistry),
		OnNetwork: func(host string) error {
			at := host + ":" + strconv.Itoa(u.port(portRegistry))
			_, err := u.sup.Start(ctx, proc.Part{
				Name: "registry-cable", Path: u.self, Args: []string{"serve", "forward", "--listen=" + at, "--to=" + u.local(portRegistry)},
				Ready: proc.TCPReady(at),
			})
			return err
		},
		Progress: func(part string, took time.Duration) { u.Progress(part, "", took) },
	})
	u.cluster = c
	return err
}

func (u *up) startTemporal(ctx context.Context) error {
	if err := os.MkdirAll(u.at("data"), 0o750); err != nil {
		return fmt.Errorf("the stack's folder: %w", err)
	}
	return u.run(ctx, "UI http://"+u.local(portTemporalUI), u.temporal.Part())
}

func (u *up) startObjectStore(ctx context.Context) error {
	part, err := u.store.Part()
	if err != nil {
		return err
	}
	if err := u.run(ctx, u.store.URL(), part); err != nil {
		return err
	}
	return u.timed("bucket", objectstore.Bucket, func() error { return u.store.SetUp(ctx) })
}

func (u *up) startIssuer(ctx context.Context) error {
	at := u.local(portIssuer)
	return u.run(ctx, "http://"+at, proc.Part{
		Name: "issuer", Path: u.self, Args: []string{"serve", "issuer", "--listen=" + at, "--secrets=" + u.Issuer()},
		Ready: proc.HTTPReady("http://" + at + "/.well-known/openid-configuration"),
	})
}

// startImages brings up the registry and fills it.
func (u *up) startImages(ctx context.Context) error {
	ready, readyCtx := errgroup.WithContext(ctx)
	at := u.local(portRegistry)
	ready.Go(func() error {
		return u.run(readyCtx, at, proc.Part{
			Name: "registry", Path: u.self, Args: []string{"serve", "registry", "--listen=" + at, "--dir=" + u.at("data", "registry")},
			Ready: proc.HTTPReady("http://" + at + "/v2/"),
		})
	})
	ready.Go(func() error { return seed.Keys(readyCtx, u.Keys(), u.cosign) })
	ready.Go(func() error {
		return u.timed("demo programs", "", func() error {
			return repo.Build(readyCtx, u.root, u.at("bin"), "./deploy/demo/payments-api", "./deploy/demo/loadgen")
		})
	})
	if err := ready.Wait(); err != nil {
		return err
	}
	return u.timed("images", "v1 to v6, signed by cosign", func() error {
		var err error
		u.versions, err = seed.Images{
			Registry: at, Keys: u.Keys(), Cosign: u.cosign, Binary: u.at("bin", seed.Service),
		}.Push(ctx)
		return err
	})
}

func (u *up) startPrometheus(ctx context.Context) error {
	server := prometheus.Server{
		Tools: repo.Tools(u.root), Dir: u.at("data", "prometheus"), Port: u.port(portPrometheus),
		Kubeconfig: u.cluster.Kubeconfig, Namespaces: seed.Namespaces(), Service: seed.Service, Ingress: u.cluster.TraefikMetrics,
		Others: map[string]string{"temporal": u.local(portTemporalStats)},
	}
	if u.wants(Worker) {
		server.Others["waybilld-worker"] = u.local(portWorker)
	}
	if u.wants(Gateway) {
		server.Others["waybilld-gateway"] = u.local(portGatewayStats)
	}
	part, err := server.Part()
	if err != nil {
		return err
	}
	return u.run(ctx, server.URL(), part)
}
