package kube

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/waybill-dev/waybill/signals"
)

// ApplyCanary makes the canary's Deployment and Service as asked. The pods are
// those of the stable track but for the image and the labels that tell the
// tracks apart. A canary that is there already, from this release or left over
// from another, is changed into the one asked for; an object of that name that
// is not Waybill's is a conflict.
func (c *Client) ApplyCanary(ctx context.Context, in signals.CanaryInput) error {
	t := in.Target
	stable, err := c.stable(ctx, t)
	if err != nil {
		return err
	}
	full := replicas(&stable.Deployment)
	existing, err := c.deployment(ctx, t.Namespace, t.Canary)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case !ours(existing.Labels):
		return foreign("Deployment", t)
	case existing.Annotations[ReleaseAnnotation] == in.Release:
		full = max(full, fullReplicas(existing))
	}
	pods, err := canaryTemplate(stable, in)
	if err != nil {
		return err
	}
	if err := c.applyCanaryService(ctx, t, pods.strings("labels")); err != nil {
		return err
	}
	annotations := papers(in.DeployInput)
	annotations[fullAnnotation] = strconv.Itoa(int(full))
	return c.apply(ctx, "Deployment", t.Namespace, t.Canary, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": t.Canary, "namespace": t.Namespace, "labels": canaryLabels(t), "annotations": annotations},
		"spec": map[string]any{
			"replicas":        in.Replicas,
			"minReadySeconds": stable.Spec.MinReadySeconds,
			"selector":        map[string]any{"matchLabels": map[string]string{WorkloadLabel: t.Canary}},
			"strategy":        map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxUnavailable": 0, "maxSurge": "25%"}},
			"template":        pods,
		},
	})
}

func canaryLabels(t signals.Target) map[string]string {
	return map[string]string{ManagedLabel: FieldManager, TrackLabel: signals.TrackCanary, WorkloadLabel: t.Canary}
}

func canaryTemplate(stable *deployment, in signals.CanaryInput) (template, error) {
	pods, err := parseTemplate(stable.template)
	if err != nil {
		return nil, err
	}
	if _, _, err := pods.canonical(); err != nil { // drops notes about the stable track
		return nil, err
	}
	t := in.Target
	if err := pods.set("labels", map[string]string{WorkloadLabel: t.Canary, TrackLabel: signals.TrackCanary}); err != nil {
		return nil, err
	}
	if err := pods.set("annotations", papers(in.DeployInput)); err != nil {
		return nil, err
	}
	return pods, pods.setImage(t.Container, in.Artifact.Reference())
}

// applyCanaryService makes the canary's Service with the ports of stable's. A
// stable Service without a selector has its endpoints kept by somebody else, who
// then keeps the canary's as well.
func (c *Client) applyCanaryService(ctx context.Context, t signals.Target, podLabels map[string]string) error {
	services := c.clients.CoreV1().Services(t.Namespace)
	stable, err := services.Get(ctx, t.Stable, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return conflict(err, "the stable Service %s/%s does not exist; the route has nothing to send traffic to", t.Namespace, t.Stable)
	}
	if err != nil {
		return explain("read", "Service", t.Namespace, t.Stable, err)
	}
	if len(stable.Spec.Selector) > 0 && labels.SelectorFromSet(stable.Spec.Selector).Matches(labels.Set(podLabels)) {
		return conflict(nil, "Service %s/%s would select the canary's pods too; add %s: %s to its selector and to the labels of its pods",
			t.Namespace, t.Stable, WorkloadLabel, t.Stable)
	}
	existing, err := services.Get(ctx, t.Canary, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return explain("read", "Service", t.Namespace, t.Canary, err)
	}
	if err == nil && !ours(existing.Labels) {
		return foreign("Service", t)
	}
	spec := map[string]any{"ports": canaryPorts(stable.Spec.Ports)}
	if len(stable.Spec.Selector) > 0 {
		spec["selector"] = map[string]string{WorkloadLabel: t.Canary}
	}
	serviceLabels := maps.Clone(stable.Labels)
	if serviceLabels == nil {
		serviceLabels = map[string]string{}
	}
	maps.Copy(serviceLabels, canaryLabels(t))
	return c.apply(ctx, "Service", t.Namespace, t.Canary, map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": t.Canary, "namespace": t.Namespace, "labels": serviceLabels},
		"spec":     spec,
	})
}

// canaryPorts copies ports without the node ports, which can be used once only.
func canaryPorts(ports []corev1.ServicePort) []corev1.ServicePort {
	copied := make([]corev1.ServicePort, len(ports))
	for i, p := range ports {
		p.NodePort = 0
		copied[i] = p
	}
	return copied
}

func foreign(kind string, t signals.Target) error {
	return conflict(nil, "%s %s/%s exists and is not Waybill's (label %s=%s); remove it or give the canary another name in the catalog",
		kind, t.Namespace, t.Canary, ManagedLabel, FieldManager)
}

// RemoveCanary deletes the canary's Deployment and Service. What is missing, or
// is not Waybill's, is left as it is.
func (c *Client) RemoveCanary(ctx context.Context, t signals.Target) error {
	deployments := c.clients.AppsV1().Deployments(t.Namespace)
	services := c.clients.CoreV1().Services(t.Namespace)
	d, err := deployments.Get(ctx, t.Canary, metav1.GetOptions{})
	if err := remove(ctx, "Deployment", t, d, err, deployments.Delete); err != nil {
		return err
	}
	s, err := services.Get(ctx, t.Canary, metav1.GetOptions{})
	return remove(ctx, "Service", t, s, err, services.Delete)
}

// remove deletes the object that was read, and no other of the same name.
func remove(ctx context.Context, kind string, t signals.Target, object metav1.Object, readErr error,
	del func(context.Context, string, metav1.DeleteOptions) error,
) error {
	if apierrors.IsNotFound(readErr) {
		return nil
	}
	if readErr != nil {
		return explain("read", kind, t.Namespace, t.Canary, readErr)
	}
	if !ours(object.GetLabels()) {
		slog.WarnContext(ctx, "left an object that has the canary's name but is not Waybill's",
			"object", fmt.Sprintf("%s %s/%s", kind, t.Namespace, t.Canary))
		return nil
	}
	background, uid := metav1.DeletePropagationBackground, object.GetUID()
	err := del(ctx, t.Canary, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return explain("delete", kind, t.Namespace, t.Canary, err)
}
