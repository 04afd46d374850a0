package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/signals"
)

// Unreadable stands in place of a digest in Snapshot.Config for a Secret that
// Waybill's account may not read. It is then not restored either.
const Unreadable = "unreadable"

// content is the data of a ConfigMap or a Secret.
type content struct {
	Kind      string            `json:"kind"`
	Type      corev1.SecretType `json:"type,omitempty"`
	Text      map[string]string `json:"text,omitempty"`
	Binary    map[string][]byte `json:"binary,omitempty"`
	immutable bool
}

// digest is over sorted keys, so that equal contents have equal digests.
func (c content) digest() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return signals.Digest(b), nil
}

// copyName is the name of the immutable copy of a content.
func copyName(digest string) string {
	return "waybill-snapshot-" + strings.TrimPrefix(digest, "sha256:")[:12]
}

// reference is an object that a pod template takes configuration from.
type reference struct {
	kind, name string
	optional   bool
}

func (r reference) String() string { return r.kind + "/" + r.name }

func parseReference(s string) (reference, error) {
	kind, name, _ := strings.Cut(s, "/")
	if kind != "ConfigMap" && kind != "Secret" || name == "" {
		return reference{}, fmt.Errorf("snapshot names the configuration %q, want ConfigMap/name or Secret/name", s)
	}
	return reference{kind: kind, name: name}, nil
}

// references lists the ConfigMaps and Secrets of a pod's environment and
// volumes, each once, sorted. One that is optional in one place and required in
// another is required.
func references(spec corev1.PodSpec) []reference {
	var all []reference
	add := func(kind, name string, optional *bool) {
		all = append(all, reference{kind: kind, name: name, optional: optional != nil && *optional})
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, e := range c.EnvFrom {
			if e.ConfigMapRef != nil {
				add("ConfigMap", e.ConfigMapRef.Name, e.ConfigMapRef.Optional)
			}
			if e.SecretRef != nil {
				add("Secret", e.SecretRef.Name, e.SecretRef.Optional)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
				add("ConfigMap", e.ValueFrom.ConfigMapKeyRef.Name, e.ValueFrom.ConfigMapKeyRef.Optional)
			}
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				add("Secret", e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Optional)
			}
		}
	}
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil {
			add("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
		}
		if v.Secret != nil {
			add("Secret", v.Secret.SecretName, v.Secret.Optional)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				add("ConfigMap", s.ConfigMap.Name, s.ConfigMap.Optional)
			}
			if s.Secret != nil {
				add("Secret", s.Secret.Name, s.Secret.Optional)
			}
		}
	}
	slices.SortFunc(all, func(a, b reference) int {
		return cmp.Or(cmp.Compare(a.String(), b.String()), compareBool(a.optional, b.optional))
	})
	return slices.CompactFunc(all, func(a, b reference) bool { return a.String() == b.String() })
}

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// content reads a ConfigMap or a Secret.
func (c *Client) content(ctx context.Context, namespace string, r reference) (content, error) {
	if r.kind == "ConfigMap" {
		m, err := c.clients.CoreV1().ConfigMaps(namespace).Get(ctx, r.name, metav1.GetOptions{})
		if err != nil {
			return content{}, explain("read", r.kind, namespace, r.name, err)
		}
		return content{Kind: r.kind, Text: m.Data, Binary: m.BinaryData, immutable: isTrue(m.Immutable)}, nil
	}
	s, err := c.clients.CoreV1().Secrets(namespace).Get(ctx, r.name, metav1.GetOptions{})
	if err != nil {
		return content{}, explain("read", r.kind, namespace, r.name, err)
	}
	return content{Kind: r.kind, Type: s.Type, Binary: s.Data, immutable: isTrue(s.Immutable)}, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// create makes an object with a content.
func (c *Client) create(ctx context.Context, meta metav1.ObjectMeta, with content) error {
	var err error
	if with.Kind == "ConfigMap" {
		_, err = c.clients.CoreV1().ConfigMaps(meta.Namespace).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: meta, Data: with.Text, BinaryData: with.Binary, Immutable: &with.immutable,
		}, metav1.CreateOptions{FieldManager: FieldManager})
	} else {
		_, err = c.clients.CoreV1().Secrets(meta.Namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: meta, Type: with.Type, Data: with.Binary, Immutable: &with.immutable,
		}, metav1.CreateOptions{FieldManager: FieldManager})
	}
	return explain("create", with.Kind, meta.Namespace, meta.Name, err)
}

// keep makes sure that an immutable copy of a content is in the namespace, and
// that it is what its name says.
func (c *Client) keep(ctx context.Context, namespace string, of reference, with content, digest string) error {
	with.immutable = true
	name := copyName(digest)
	err := c.create(ctx, metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{ManagedLabel: FieldManager, snapshotLabel: "config"},
		Annotations: map[string]string{copyOfAnnotation: of.String(), contentAnnotation: digest},
	}, with)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = c.kept(ctx, namespace, of.kind, digest)
	return err
}

// kept reads the copy of a content and checks it against its digest.
func (c *Client) kept(ctx context.Context, namespace, kind, digest string) (content, error) {
	r := reference{kind: kind, name: copyName(digest)}
	found, err := c.content(ctx, namespace, r)
	if apierrors.IsNotFound(err) {
		return content{}, conflict(err, "the kept copy %s in namespace %s is gone; the configuration with digest %s can't be restored from it", r, namespace, digest)
	}
	if err != nil {
		return content{}, err
	}
	actual, err := found.digest()
	if err != nil {
		return content{}, err
	}
	if actual != digest {
		return content{}, conflict(nil, "the kept copy %s in namespace %s has the digest %s, want %s; somebody replaced it", r, namespace, actual, digest)
	}
	return found, nil
}

// snapshotConfig keeps a copy of everything that a pod template refers to and
// returns the digests.
func (c *Client) snapshotConfig(ctx context.Context, namespace string, spec corev1.PodSpec) (map[string]string, error) {
	config := map[string]string{}
	for _, r := range references(spec) {
		found, err := c.content(ctx, namespace, r)
		switch {
		case apierrors.IsForbidden(err) && r.kind == "Secret":
			config[r.String()] = Unreadable
			continue
		case apierrors.IsNotFound(err) && r.optional:
			continue
		case err != nil:
			return nil, err
		}
		digest, err := found.digest()
		if err != nil {
			return nil, err
		}
		if err := c.keep(ctx, namespace, r, found, digest); err != nil {
			return nil, err
		}
		config[r.String()] = digest
	}
	return config, nil
}
