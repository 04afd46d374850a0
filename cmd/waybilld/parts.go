package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/kube"
	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/promql"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/sigstore"
	"github.com/waybill-dev/waybill/internal/slackapp"
	"github.com/waybill-dev/waybill/internal/traffic"
	"github.com/waybill-dev/waybill/policies"
	"github.com/waybill-dev/waybill/signals"
	"github.com/waybill-dev/waybill/workflows"
)

// parts builds what the roles are made of. Credentials and keys are read here,
// and only for the roles that were asked for.
type parts struct {
	config   Config
	temporal client.Client
	metrics  *prometheus.Registry
	log      *slog.Logger
}

func (p *parts) queues(ctx context.Context, roles []Role) ([]queue, error) {
	build := map[Role]func(context.Context) ([]queue, error){
		RoleRelease: p.release, RoleDeploy: p.deploy, RoleNotary: p.notary, RoleNotify: p.notify,
	}
	var all []queue
	for _, role := range roles {
		queues, err := build[role](ctx)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", role, err)
		}
		all = append(all, queues...)
	}
	return all, nil
}

// release runs the workflows and the activities that only read.
func (p *parts) release(ctx context.Context) ([]queue, error) {
	services, err := openCatalog(p.config.Catalog, p.metrics, p.log)
	if err != nil {
		return nil, err
	}
	policy, err := policies.Load(ctx, p.config.Policies)
	if err != nil {
		return nil, err
	}
	trust := signals.Trust{}
	if trust.Gateway, err = publicKeys(p.config.Trust.Gateway); err != nil {
		return nil, err
	}
	if trust.Evidence, err = publicKeys(p.config.Trust.Evidence); err != nil {
		return nil, err
	}
	images := registry.New(p.config.Registry.PlainHTTP)
	release := &activities.Release{
		Catalog: services, Registry: images, Verifier: sigstore.New(images, time.Now), Policy: policy, Trust: trust,
	}
	people, err := newDirectory(p.config.Directory)
	if err != nil {
		return nil, err
	}
	if people != nil {
		release.Directory = people
	}
	lanes := &activities.Lanes{Client: p.temporal, Catalog: services, Gateway: trust.Gateway}
	journal := &activities.Journal{Gateway: trust.Gateway}
	return []queue{{signals.ReleaseQueue, releaseActivities, func(r worker.Registry) {
		workflows.Register(r)
		r.RegisterActivity(release)
		r.RegisterActivity(lanes)
		r.RegisterActivity(journal)
	}}}, nil
}

// deploy changes and watches clusters, one queue each.
func (p *parts) deploy(context.Context) ([]queue, error) {
	keys, err := publicKeys(p.config.Trust.Evidence)
	if err != nil {
		return nil, err
	}
	var queues []queue
	for _, c := range p.config.Clusters {
		access, err := clusterAccess(c.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		cluster, err := kube.New(access)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		routes, err := traffic.New(kube.Limits(access))
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		telemetry, err := promql.New(c.Prometheus)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		deploy := &activities.Deploy{Cluster: cluster, Traffic: routes, Telemetry: telemetry, PermitKeys: keys}
		queues = append(queues, queue{signals.DeployQueue(c.Name), deployActivities, func(r worker.Registry) { r.RegisterActivity(deploy) }})
	}
	return queues, nil
}

// clusterAccess reads a kubeconfig, or takes the service account of the pod that
// the daemon runs in.
func clusterAccess(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// notary signs and stores evidence.
func (p *parts) notary(ctx context.Context) ([]queue, error) {
	n := p.config.Notary
	key, err := os.ReadFile(n.Key)
	if err != nil {
		return nil, fmt.Errorf("evidence key: %w", err)
	}
	signer, err := evidence.NewLocalSigner(n.KeyID, key)
	if err != nil {
		return nil, err
	}
	bucket, err := objectlock.NewWriter(ctx, objectlock.Config{
		Bucket: n.Bucket, Endpoint: n.Endpoint, Region: n.Region, PathStyle: n.PathStyle,
	}, n.LockMode)
	if err != nil {
		return nil, err
	}
	go p.checkBucket(ctx, bucket)
	notary, err := activities.NewNotary(signer, bucket, p.config.retention())
	if err != nil {
		return nil, err
	}
	return []queue{{signals.NotaryQueue, notaryActivities, func(r worker.Registry) { r.RegisterActivity(notary) }}}, nil
}

// notify tells people. It holds the bot token of the Slack app and nothing else.
func (p *parts) notify(context.Context) ([]queue, error) {
	token, err := readSecret("slack.botToken", p.config.Slack.BotToken)
	if err != nil {
		return nil, err
	}
	notices := &activities.Notices{Messenger: slackapp.New(slackapp.Options{
		Token: token, APIURL: p.config.Slack.APIURL, Gateway: p.config.Slack.Gateway, Now: time.Now, Log: p.log,
	})}
	return []queue{{signals.NotifyQueue, notifyActivities, func(r worker.Registry) { r.RegisterActivity(notices) }}}, nil
}

// checkBucket says early that the bucket can't hold evidence. It does not keep
// the process from starting: records wait for the bucket to be mended, and a
// rollback must not wait for anything.
func (p *parts) checkBucket(ctx context.Context, bucket *objectlock.Writer) {
	if err := bucket.Check(ctx); err != nil {
		p.log.ErrorContext(ctx, "the bucket is not fit for evidence; forward steps will wait until it is", "bucket", p.config.Notary.Bucket, "error", err)
	}
}

func publicKeys(list []KeyConfig) ([]signals.PublicKey, error) {
	var keys []signals.PublicKey
	for _, k := range list {
		key, err := auth.LoadPublicKeyWithin(k.ID, k.PublicKey, k.NotBefore, k.NotAfter)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
