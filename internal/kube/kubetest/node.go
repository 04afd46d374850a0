package kubetest

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Trouble decides what goes wrong with a pod: a reason as the kubelet or the
// scheduler would give it ("ImagePullBackOff", "Unschedulable", …), or "" for a
// pod that runs and is ready.
type Trouble func(pod *corev1.Pod) string

// Node stands in for scheduler and kubelet until ctx ends: it reports each pod
// as trouble says, and removes pods that are being deleted. A pod that runs
// reports the image it was asked for.
func Node(ctx context.Context, clients kubernetes.Interface, trouble Trouble) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pods, err := clients.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue // the server is stopping, or ctx has ended
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if pod.DeletionTimestamp != nil {
				now := int64(0)
				_ = clients.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
				continue
			}
			wanted := status(pod, trouble(pod))
			if same(pod.Status, wanted) {
				continue
			}
			pod.Status = wanted
			// A lost race is mended by the next round.
			_, _ = clients.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		}
	}
}

func same(a, b corev1.PodStatus) bool {
	return a.Phase == b.Phase && reason(a) == reason(b)
}

func reason(s corev1.PodStatus) string {
	var text strings.Builder
	for _, c := range s.Conditions {
		text.WriteString(string(c.Type) + string(c.Status) + c.Reason)
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil {
			text.WriteString(c.State.Waiting.Reason)
		}
	}
	return text.String()
}

func status(pod *corev1.Pod, trouble string) corev1.PodStatus {
	condition := func(kind corev1.PodConditionType, holds corev1.ConditionStatus, why string) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Status: holds, Reason: why, LastTransitionTime: metav1.Now()}
	}
	if trouble == corev1.PodReasonUnschedulable {
		c := condition(corev1.PodScheduled, corev1.ConditionFalse, trouble)
		c.Message = "0/1 nodes are available: 1 Insufficient cpu."
		return corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{c}}
	}
	ready, phase := corev1.ConditionTrue, corev1.PodRunning
	if trouble != "" {
		ready, phase = corev1.ConditionFalse, corev1.PodPending
	}
	s := corev1.PodStatus{Phase: phase, Conditions: []corev1.PodCondition{
		condition(corev1.PodScheduled, corev1.ConditionTrue, ""), condition(corev1.PodReady, ready, ""),
	}}
	for _, c := range pod.Spec.Containers {
		state := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: trouble == ""}
		if trouble == "" {
			state.ImageID = c.Image
			if !strings.Contains(c.Image, "@") {
				state.ImageID = c.Image + "@sha256:" + strings.Repeat("0", 64)
			}
			state.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Now()}
		} else {
			state.State.Waiting = &corev1.ContainerStateWaiting{Reason: trouble, Message: "as the test wants it"}
		}
		s.ContainerStatuses = append(s.ContainerStatuses, state)
	}
	return s
}
