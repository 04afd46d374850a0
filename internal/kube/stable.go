package kube

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// Observe reads what the stable track runs and keeps an immutable copy of the
// configuration that its template refers to. CanaryWeight is left zero.
func (c *Client) Observe(ctx context.Context, t signals.Target) (signals.Snapshot, error) {
	d, err := c.stable(ctx, t)
	if err != nil {
		return signals.Snapshot{}, err
	}
	pods, err := c.pods(ctx, d)
	if err != nil {
		return signals.Snapshot{}, err
	}
	observed := rollout(&d.Deployment, pods, t.Container)
	if observed.Digest == "" {
		return signals.Snapshot{}, conflict(nil,
			"Deployment %s/%s names its image by tag and its ready pods do not agree on a digest; pin the image by digest or wait until they do", t.Namespace, t.Stable)
	}
	parsed, err := parseTemplate(d.template)
	if err != nil {
		return signals.Snapshot{}, err
	}
	text, hash, err := parsed.canonical()
	if err != nil {
		return signals.Snapshot{}, err
	}
	config, err := c.snapshotConfig(ctx, t.Namespace, d.Spec.Template.Spec)
	if err != nil {
		return signals.Snapshot{}, err
	}
	canary, err := c.Workload(ctx, t, signals.TrackCanary)
	if err != nil {
		return signals.Snapshot{}, err
	}
	app, _ := container(d.Spec.Template.Spec, t.Container)
	return signals.Snapshot{
		Digest: observed.Digest, Image: repository(app.Image) + "@" + observed.Digest,
		Template: text, TemplateHash: hash,
		Replicas: observed.Desired, Ready: observed.Ready,
		Config: config, CanaryExists: canary.Exists, At: time.Now().UTC(),
	}, nil
}

// SetImage has the stable track's container run the artifact. The pod template
// is otherwise left alone; release and ticket are noted on the Deployment.
func (c *Client) SetImage(ctx context.Context, in signals.DeployInput) error {
	t := in.Target
	if _, err := c.stable(ctx, t); err != nil {
		return err
	}
	return c.apply(ctx, "Deployment", t.Namespace, t.Stable, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": t.Stable, "namespace": t.Namespace, "annotations": papers(in)},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": t.Container, "image": in.Artifact.Reference()}},
		}}},
	})
}

// papers are the annotations by which an object names the release it is of.
func papers(in signals.DeployInput) map[string]string {
	annotations := map[string]string{ReleaseAnnotation: in.Release}
	if in.Ticket != "" {
		annotations[TicketAnnotation] = in.Ticket
	}
	return annotations
}
