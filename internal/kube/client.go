// Package kube is the adapter to the Kubernetes API for the Deployments, the
// Services and the configuration of a lane. It writes with server-side apply
// under the field manager "waybill" and returns at once: callers wait by asking
// again.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/signals"
)

// FieldManager is the name under which Waybill owns fields of objects.
const FieldManager = "waybill"

// Labels and annotations. WorkloadLabel tells the tracks' pods apart: each
// track's Service selects on it. ManagedLabel marks what Waybill may change and
// delete as a whole.
const (
	WorkloadLabel     = "waybill.dev/workload"
	TrackLabel        = "waybill.dev/track"
	ManagedLabel      = "app.kubernetes.io/managed-by"
	ReleaseAnnotation = "waybill.dev/release"
	TicketAnnotation  = "waybill.dev/ticket"

	ownPrefix           = "waybill.dev/"
	fullAnnotation      = "waybill.dev/full-replicas"
	restoringAnnotation = "waybill.dev/restoring-config"
	restoredAnnotation  = "waybill.dev/restored-config-for"
	copyOfAnnotation    = "waybill.dev/copy-of"
	contentAnnotation   = "waybill.dev/content-digest"
	snapshotLabel       = "waybill.dev/snapshot"
)

// requestTimeout bounds each request to the API server.
const requestTimeout = 10 * time.Second

// Client reads and writes the workloads of one cluster.
type Client struct {
	clients kubernetes.Interface
}

// New builds the client of one cluster; a process needs one per cluster. The
// configuration is copied, its limits are replaced.
func New(config *rest.Config) (*Client, error) {
	clients, err := kubernetes.NewForConfig(Limits(config))
	if err != nil {
		return nil, fmt.Errorf("build the Kubernetes client: %w", err)
	}
	return &Client{clients: clients}, nil
}

// Limits returns a copy of config with Waybill's rate and time limits.
func Limits(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.QPS, c.Burst, c.Timeout = 50, 100, requestTimeout
	if c.UserAgent == "" {
		c.UserAgent = FieldManager
	}
	return c
}

// deployment is a Deployment with its pod template as the server wrote it, so
// that fields which this client does not know survive a copy.
type deployment struct {
	appsv1.Deployment
	template json.RawMessage
}

// deployment reads a Deployment. A missing one is a NotFound error.
func (c *Client) deployment(ctx context.Context, namespace, name string) (*deployment, error) {
	result := c.clients.AppsV1().RESTClient().Get().Namespace(namespace).Resource("deployments").Name(name).
		SetHeader("Accept", "application/json").Do(ctx)
	if err := result.Error(); err != nil { // reads the server's message, which Raw does not
		return nil, explain("read", "Deployment", namespace, name, err)
	}
	raw, err := result.Raw()
	if err != nil {
		return nil, explain("read", "Deployment", namespace, name, err)
	}
	d := &deployment{}
	if err := json.Unmarshal(raw, &d.Deployment); err != nil {
		return nil, fmt.Errorf("decode Deployment %s/%s: %w", namespace, name, err)
	}
	var parts struct {
		Spec struct {
			Template json.RawMessage `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, fmt.Errorf("decode Deployment %s/%s: %w", namespace, name, err)
	}
	d.template = parts.Spec.Template
	return d, nil
}

// stable reads the stable track's Deployment, which must be there and must have
// the target's container.
func (c *Client) stable(ctx context.Context, t signals.Target) (*deployment, error) {
	d, err := c.deployment(ctx, t.Namespace, t.Stable)
	if apierrors.IsNotFound(err) {
		return nil, conflict(err, "the stable Deployment %s/%s does not exist; deploy the service once before it is released", t.Namespace, t.Stable)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := container(d.Spec.Template.Spec, t.Container); !ok {
		return nil, conflict(nil, "Deployment %s/%s has no container %q; correct target.container in the catalog", t.Namespace, t.Stable, t.Container)
	}
	return d, nil
}

// apply writes a Deployment or a Service by server-side apply and takes over the
// fields that it sets.
func (c *Client) apply(ctx context.Context, kind, namespace, name string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode %s %s/%s: %w", kind, namespace, name, err)
	}
	force := true
	options := metav1.PatchOptions{FieldManager: FieldManager, Force: &force}
	switch kind {
	case "Deployment":
		_, err = c.clients.AppsV1().Deployments(namespace).Patch(ctx, name, types.ApplyPatchType, body, options)
	case "Service":
		_, err = c.clients.CoreV1().Services(namespace).Patch(ctx, name, types.ApplyPatchType, body, options)
	}
	return explain("apply", kind, namespace, name, err)
}

func container(spec corev1.PodSpec, name string) (corev1.Container, bool) {
	for _, c := range spec.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return corev1.Container{}, false
}

// explain says on what a request failed. What the server calls invalid stays so
// and is not retried; the rest may be different next time.
func explain(verb, kind, namespace, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return conflict(err, "%s %s %s/%s: the API server refuses it", verb, kind, namespace, name)
	}
	return fmt.Errorf("%s %s %s/%s: %w", verb, kind, namespace, name, err)
}

// conflict is an error that needs a person and is not retried.
func conflict(cause error, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), signals.ErrConflict, cause)
}
