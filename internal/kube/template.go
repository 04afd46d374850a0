package kube

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/waybill-dev/waybill/signals"
)

// template is a pod template as plain JSON values.
type template map[string]any

func parseTemplate(raw []byte) (template, error) {
	t := template{}
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("decode pod template: %w", err)
	}
	return t, nil
}

// canonical returns the template's bytes without what Waybill itself wrote into
// it, and their digest. Equal templates have equal bytes: keys are sorted.
func (t template) canonical() ([]byte, string, error) {
	for key := range t.strings("annotations") {
		if strings.HasPrefix(key, ownPrefix) {
			unstructured.RemoveNestedField(t, "metadata", "annotations", key)
		}
	}
	if len(t.strings("annotations")) == 0 {
		unstructured.RemoveNestedField(t, "metadata", "annotations")
	}
	unstructured.RemoveNestedField(t, "metadata", "creationTimestamp")
	b, err := json.Marshal(t)
	if err != nil {
		return nil, "", fmt.Errorf("encode pod template: %w", err)
	}
	return b, signals.Digest(b), nil
}

// strings reads the labels or the annotations.
func (t template) strings(field string) map[string]string {
	values, _, err := unstructured.NestedStringMap(t, "metadata", field)
	if err != nil {
		return nil
	}
	return values
}

// set adds labels or annotations.
func (t template) set(field string, values map[string]string) error {
	for key, value := range values {
		if value == "" {
			continue
		}
		if err := unstructured.SetNestedField(t, value, "metadata", field, key); err != nil {
			return fmt.Errorf("pod template: set %s %q: %w", field, key, err)
		}
	}
	return nil
}

// setImage changes the image of the named container.
func (t template) setImage(name, image string) error {
	containers, _, err := unstructured.NestedSlice(t, "spec", "containers")
	if err != nil {
		return fmt.Errorf("pod template: %w", err)
	}
	for _, c := range containers {
		if fields, ok := c.(map[string]any); ok && fields["name"] == name {
			fields["image"] = image
			return unstructured.SetNestedSlice(t, containers, "spec", "containers")
		}
	}
	return conflict(nil, "the pod template has no container %q", name)
}

// imageDigest is the digest that an image reference names, "" if it has none.
func imageDigest(image string) string {
	_, digest, _ := strings.Cut(image, "@")
	if !signals.ValidDigest(digest) {
		return ""
	}
	return digest
}

// repository is an image reference without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}

// runningDigest is the digest of the named container in a pod: as the pod asks
// for it, else as the node reports it.
func runningDigest(pod *corev1.Pod, name string) string {
	if c, ok := container(pod.Spec, name); ok {
		if d := imageDigest(c.Image); d != "" {
			return d
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == name {
			return imageDigest(s.ImageID)
		}
	}
	return ""
}
