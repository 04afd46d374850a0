package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/waybill-dev/waybill/signals"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Restore puts the stable track back to a snapshot: configuration first, then
// the pod template with its image pinned to the snapshot's digest, then at least
// as many pods. What is as it was is left alone. Configuration that can't be
// restored does not keep the template from being restored; it is an error after.
func (c *Client) Restore(ctx context.Context, in signals.RestoreInput) error {
	t := in.Target
	configErr := c.restoreConfig(ctx, in)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := c.stable(ctx, t)
		if err != nil {
			return err
		}
		return c.restoreTemplate(ctx, d, in)
	})
	if err == nil {
		err = c.Scale(ctx, t, in.To.Replicas)
	}
	return errors.Join(configErr, err)
}

// restoreConfig rewrites what differs from the snapshot. Pods read most of their
// configuration at start only, so the Deployment is marked first: should this
// process die between the two writes, the next attempt still restarts the pods.
func (c *Client) restoreConfig(ctx context.Context, in signals.RestoreInput) error {
	var failed []error
	for _, key := range slices.Sorted(maps.Keys(in.To.Config)) {
		digest := in.To.Config[key]
		if digest == Unreadable {
			continue
		}
		r, err := parseReference(key)
		if err == nil {
			err = c.restoreContent(ctx, in, r, digest)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (c *Client) restoreContent(ctx context.Context, in signals.RestoreInput, r reference, digest string) error {
	namespace := in.Target.Namespace
	current, err := c.content(ctx, namespace, r)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return err
	}
	if now, err := current.digest(); err != nil || now == digest && !missing {
		return err
	}
	wanted, err := c.kept(ctx, namespace, r.kind, digest)
	if err != nil {
		return err
	}
	wanted.immutable = current.immutable
	if err := c.markRestoring(ctx, in); err != nil {
		return err
	}
	if current.immutable {
		if err := c.deleteConfig(ctx, namespace, r); err != nil {
			return err
		}
		missing = true
	}
	if missing {
		return c.create(ctx, metav1.ObjectMeta{Namespace: namespace, Name: r.name}, wanted)
	}
	return c.overwrite(ctx, namespace, r, wanted)
}

func (c *Client) deleteConfig(ctx context.Context, namespace string, r reference) error {
	var err error
	if r.kind == "ConfigMap" {
		err = c.clients.CoreV1().ConfigMaps(namespace).Delete(ctx, r.name, metav1.DeleteOptions{})
	} else {
		err = c.clients.CoreV1().Secrets(namespace).Delete(ctx, r.name, metav1.DeleteOptions{})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return explain("delete", r.kind, namespace, r.name, err)
}

// overwrite replaces the data of an object and leaves its metadata alone.
func (c *Client) overwrite(ctx context.Context, namespace string, r reference, with content) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if r.kind == "ConfigMap" {
			m, err := c.clients.CoreV1().ConfigMaps(namespace).Get(ctx, r.name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			m.Data, m.BinaryData = with.Text, with.Binary
			_, err = c.clients.CoreV1().ConfigMaps(namespace).Update(ctx, m, metav1.UpdateOptions{FieldManager: FieldManager})
			return err
		}
		s, err := c.clients.CoreV1().Secrets(namespace).Get(ctx, r.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s.Data = with.Binary
		_, err = c.clients.CoreV1().Secrets(namespace).Update(ctx, s, metav1.UpdateOptions{FieldManager: FieldManager})
		return err
	})
	return explain("restore", r.kind, namespace, r.name, err)
}

func (c *Client) markRestoring(ctx context.Context, in signals.RestoreInput) error {
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{restoringAnnotation: in.Release}}}
	return c.patchStable(ctx, in.Target, types.MergePatchType, patch)
}

// restoreTemplate writes the snapshot's template if the Deployment's differs, or
// if its pods must start again to read restored configuration.
func (c *Client) restoreTemplate(ctx context.Context, d *deployment, in signals.RestoreInput) error {
	wanted, err := parseTemplate(in.To.Template)
	if err != nil {
		return conflict(err, "the snapshot to go back to is unusable")
	}
	if err := wanted.setImage(in.Target.Container, in.To.Image); err != nil {
		return err
	}
	_, wantedHash, err := wanted.canonical()
	if err != nil {
		return err
	}
	current, err := parseTemplate(d.template)
	if err != nil {
		return err
	}
	_, currentHash, err := current.canonical()
	if err != nil {
		return err
	}
	_, restart := d.Annotations[restoringAnnotation]
	if currentHash == wantedHash && !restart {
		return nil
	}
	patch := []operation{
		// The server refuses the patch with a conflict if the object has changed.
		{Op: "replace", Path: "/metadata/resourceVersion", Value: d.ResourceVersion},
		{Op: "replace", Path: "/spec/template", Value: wanted},
	}
	if restart {
		if err := wanted.set("annotations", map[string]string{restoredAnnotation: in.Release}); err != nil {
			return err
		}
		patch = append(patch, operation{Op: "remove", Path: "/metadata/annotations/waybill.dev~1restoring-config"})
	}
	return c.patchStable(ctx, in.Target, types.JSONPatchType, patch)
}

// Scale grows the stable track to at least the given number of pods. It never
// shrinks it: an autoscaler, or a person, may have had reason to grow it.
func (c *Client) Scale(ctx context.Context, t signals.Target, least int32) error {
	d, err := c.stable(ctx, t)
	if err != nil {
		return err
	}
	if replicas(&d.Deployment) >= least {
		return nil
	}
	return c.patchStable(ctx, t, types.MergePatchType, map[string]any{"spec": map[string]any{"replicas": least}})
}

func (c *Client) patchStable(ctx context.Context, t signals.Target, kind types.PatchType, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	_, err = c.clients.AppsV1().Deployments(t.Namespace).Patch(ctx, t.Stable, kind, body, metav1.PatchOptions{FieldManager: FieldManager})
	return explain("patch", "Deployment", t.Namespace, t.Stable, err)
}
