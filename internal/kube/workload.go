package kube

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/activities"
	"github.com/waybill-dev/waybill/signals"
)

// Workload reads the Deployment of a track with its pods.
func (c *Client) Workload(ctx context.Context, t signals.Target, track string) (activities.Workload, error) {
	name := t.Stable
	if track == signals.TrackCanary {
		name = t.Canary
	}
	w := activities.Workload{Rollout: signals.Rollout{Name: name}}
	d, err := c.deployment(ctx, t.Namespace, name)
	if apierrors.IsNotFound(err) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	pods, err := c.pods(ctx, d)
	if err != nil {
		return w, err
	}
	w.Rollout = rollout(&d.Deployment, pods, t.Container)
	w.Settled = settled(&d.Deployment) && w.Ready == w.Desired
	w.Exists = true
	if track == signals.TrackCanary {
		w.Exists, err = c.ownCanary(ctx, t, d)
		return w, err
	}
	w.Full = w.Desired
	canary, err := c.deployment(ctx, t.Namespace, t.Canary)
	if err != nil && !apierrors.IsNotFound(err) {
		return w, err
	}
	if err == nil {
		w.Full = max(w.Full, fullReplicas(canary))
	}
	return w, nil
}

// ownCanary says whether the canary is Waybill's own and has its Service.
func (c *Client) ownCanary(ctx context.Context, t signals.Target, d *deployment) (bool, error) {
	service, err := c.clients.CoreV1().Services(t.Namespace).Get(ctx, t.Canary, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain("read", "Service", t.Namespace, t.Canary, err)
	}
	return ours(d.Labels) && ours(service.Labels), nil
}

func ours(labels map[string]string) bool { return labels[ManagedLabel] == FieldManager }

// fullReplicas reads how many pods carried all of the traffic when the canary
// was made; 0 if that was not written down.
func fullReplicas(canary *deployment) int32 {
	n, err := strconv.ParseInt(canary.Annotations[fullAnnotation], 10, 32)
	if err != nil || !ours(canary.Labels) {
		return 0
	}
	return int32(n)
}

// pods lists the Deployment's pods that are not being deleted, by ownership:
// another Deployment's pods may carry the same labels.
func (c *Client) pods(ctx context.Context, d *deployment) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, conflict(err, "Deployment %s/%s has a malformed selector", d.Namespace, d.Name)
	}
	options := metav1.ListOptions{LabelSelector: selector.String()}
	sets, err := c.clients.AppsV1().ReplicaSets(d.Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list ReplicaSets of %s/%s: %w", d.Namespace, d.Name, err)
	}
	list, err := c.clients.CoreV1().Pods(d.Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", d.Namespace, d.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || !slices.ContainsFunc(sets.Items, func(s appsv1.ReplicaSet) bool {
			return metav1.IsControlledBy(&s, d) && metav1.IsControlledBy(&p, &s)
		})
	}), nil
}

// rollout counts as ready only the pods that run the digest which the template
// asks for. If the template names a tag, that is the digest which all ready pods
// report; if they differ there is none.
func rollout(d *appsv1.Deployment, pods []corev1.Pod, name string) signals.Rollout {
	r := signals.Rollout{Name: d.Name, Desired: replicas(d)}
	if c, ok := container(d.Spec.Template.Spec, name); ok {
		r.Digest = imageDigest(c.Image)
	}
	byDigest := map[string]int32{}
	for i := range pods {
		if ready(&pods[i]) {
			byDigest[runningDigest(&pods[i], name)]++
		}
	}
	if r.Digest == "" && len(byDigest) == 1 {
		for digest := range byDigest {
			r.Digest = digest
		}
	}
	if r.Digest != "" {
		r.Ready = byDigest[r.Digest]
	}
	if r.Ready < r.Desired {
		r.Blocked = blocked(d, pods)
	}
	return r
}

func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// settled says whether the controller has carried out the newest template in full.
func settled(d *appsv1.Deployment) bool {
	want := replicas(d)
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want &&
		d.Status.Replicas == want && d.Status.AvailableReplicas == want
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// blocked says in words why pods don't become ready: the trouble that most of
// them have, or what keeps them from being made. "" if they are just starting.
func blocked(d *appsv1.Deployment, pods []corev1.Pod) string {
	counts, example := map[string]int{}, map[string]string{}
	for i := range pods {
		if ready(&pods[i]) {
			continue
		}
		if reason, message := trouble(&pods[i]); reason != "" {
			counts[reason]++
			example[reason] = message
		}
	}
	worst := ""
	for reason, n := range counts {
		if n > counts[worst] || n == counts[worst] && reason < worst {
			worst = reason
		}
	}
	if worst != "" {
		return phrase(fmt.Sprintf("%s on %d of %d pods", worst, counts[worst], len(pods)), example[worst])
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return phrase(c.Reason, c.Message)
		}
	}
	return ""
}

// trouble names what keeps one pod from being ready, as the kubelet or the
// scheduler calls it. A container that is being created has none yet.
func trouble(p *corev1.Pod) (reason, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason, c.Message
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		waiting := c.State.Waiting
		if waiting == nil || waiting.Reason == "ContainerCreating" || waiting.Reason == "PodInitializing" {
			continue
		}
		message = waiting.Message
		if ended := c.LastTerminationState.Terminated; ended != nil {
			message = fmt.Sprintf("container %s ended with exit code %d (%s)", c.Name, ended.ExitCode, ended.Reason)
		}
		return waiting.Reason, message
	}
	return "", ""
}

// phrase joins a reason and its message, which may be long.
func phrase(reason, message string) string {
	const most = 240
	message = strings.TrimSpace(strings.ToValidUTF8(message[:min(len(message), most)], ""))
	if message == "" {
		return reason
	}
	return reason + ": " + message
}
