package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/repo"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/seed"
	"github.com/waybill-dev/waybill/signals"
)

// requestRates are how many payments flow through each environment's route per
// second: enough for a canary at five percent to be judged within seconds.
var requestRates = map[string]string{"staging": "150", "prod": "200"}

// loadBound ends a load generator that nobody stopped.
const loadBound = "24h"

func (u *up) startWorker(ctx context.Context) error {
	if !u.wants(Worker) {
		return nil
	}
	return u.run(ctx, "release, deploy, notary and notify roles", proc.Part{
		Name: Worker, Path: filepath.Join(u.bin, "waybilld"),
		Args:  []string{"worker", "--config=" + u.WorkerConfig(), "--roles=release,deploy,notary,notify"},
		Env:   u.settings.Accounts.Notary.Env(u.store.URL()),
		Ready: proc.HTTPReady("http://" + u.local(portWorker) + "/readyz"), StopGrace: 10 * time.Second,
	})
}

func (u *up) startGateway(ctx context.Context) error {
	if !u.wants(Gateway) {
		return nil
	}
	return u.run(ctx, "http://"+u.local(portGateway), proc.Part{
		Name: Gateway, Path: filepath.Join(u.bin, "waybilld"), Args: []string{"gateway", "--config=" + u.GatewayConfig()},
		Ready: proc.HTTPReady("http://" + u.local(portGateway) + "/readyz"),
	})
}

// deploy makes the environments and sends requests through them.
func (u *up) deploy(ctx context.Context) error {
	where := seed.Cluster{
		Kubectl: []string{filepath.Join(repo.Tools(u.root), "kubernetes"), "kubectl"}, Kubeconfig: u.cluster.Kubeconfig, Root: u.root,
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, e := range seed.Environments() {
		group.Go(func() error {
			image, err := where.Stable(ctx, e)
			if err != nil {
				return err
			}
			if image == "" {
				if image, err = u.firstImage(ctx, e); err != nil {
					return err
				}
			}
			err = u.timed(e.Name, seed.Service+" "+u.tagOf(image), func() error {
				if err := where.Deploy(ctx, e, image); err != nil {
					return err
				}
				return seed.AwaitRoute(ctx, u.cluster.IngressURL, e)
			})
			if err != nil || !u.wants(Load) {
				return err
			}
			return u.run(ctx, requestRates[e.Name]+" requests a second to "+e.Host, proc.Part{
				Name: Load + "-" + e.Name, Path: u.at("bin", "loadgen"),
				Args: []string{
					"-url=" + u.cluster.IngressURL + "/authorise", "-host=" + e.Host, "-rps=" + requestRates[e.Name], "-for=" + loadBound,
				},
			})
		})
	}
	return group.Wait()
}

// firstImage is what stable starts with in a new cluster: what the lane last
// promoted, so that a lane that outlived its cluster finds what it left, or v1.
func (u *up) firstImage(ctx context.Context, e seed.Environment) (string, error) {
	if u.wants(Worker) {
		lane, err := u.lane(ctx, e)
		if err != nil {
			return "", err
		}
		if lane.LKG != nil && signals.ValidDigest(lane.LKG.Digest) {
			// The registry's port, a part of the name, may be another by now.
			return u.local(portRegistry) + "/" + seed.Service + "@" + lane.LKG.Digest, nil
		}
	}
	first, err := seed.Find(u.versions, "v1")
	return first.Image, err
}

// lane asks the environment's lane for its state, which is empty if there was
// no release yet.
func (u *up) lane(ctx context.Context, e seed.Environment) (signals.LaneStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var status signals.LaneStatus
	c, err := u.temporal.Dial(ctx)
	if err != nil {
		return status, err
	}
	defer c.Close()
	id := signals.LaneID(e.Name, seed.Service)
	answer, err := c.QueryWorkflow(ctx, id, "", signals.StatusQuery)
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return status, nil
	}
	if err != nil {
		return status, fmt.Errorf("ask %s what it last promoted: %w", id, err)
	}
	var raw json.RawMessage
	if err := answer.Get(&raw); err != nil {
		return status, fmt.Errorf("ask %s what it last promoted: %w", id, err)
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return status, fmt.Errorf("ask %s what it last promoted: %w", id, err)
	}
	return status, nil
}

func (u *up) tagOf(image string) string {
	for _, v := range u.versions {
		if v.Image == image {
			return v.Tag
		}
	}
	return image
}
