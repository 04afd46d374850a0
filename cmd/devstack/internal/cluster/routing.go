package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
)

// route makes the EndpointSlices of all Services with a selector lead to the
// processes that stand in for their pods, one slice for each, since each has a
// port of its own.
func (s *simulator) route(ctx context.Context, ready []standIn) error {
	services, err := s.services.List(labels.Everything())
	if err != nil {
		return err
	}
	existing, err := s.slices.List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: fieldManager}))
	if err != nil {
		return err
	}
	stale := map[string]*discoveryv1.EndpointSlice{}
	for _, slice := range existing {
		stale[slice.Namespace+"/"+slice.Name] = slice
	}
	var errs []error
	for _, service := range services {
		if len(service.Spec.Selector) == 0 {
			continue
		}
		selector := labels.SelectorFromSet(service.Spec.Selector)
		for _, in := range ready {
			if in.pod.Namespace != service.Namespace || !selector.Matches(labels.Set(in.pod.Labels)) {
				continue
			}
			slice := sliceOf(service, in, s.address)
			key := slice.Namespace + "/" + slice.Name
			if _, there := stale[key]; there {
				delete(stale, key)
				continue
			}
			_, err := s.client.DiscoveryV1().EndpointSlices(slice.Namespace).Create(ctx, slice, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				errs = append(errs, fmt.Errorf("route service %s: %w", service.Name, err))
			}
		}
	}
	for _, slice := range stale {
		err := s.client.DiscoveryV1().EndpointSlices(slice.Namespace).Delete(ctx, slice.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("unroute %s: %w", slice.Name, err))
		}
	}
	return errors.Join(errs...)
}

func sliceOf(service *corev1.Service, in standIn, address string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service.Name + "-" + string(in.pod.UID)[:8], Namespace: service.Namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: fieldManager},
			// A Service that goes takes its slices along.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}, NodeName: new(nodeName),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: in.pod.Namespace, Name: in.pod.Name, UID: in.pod.UID},
		}},
	}
	for _, port := range service.Spec.Ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &port.Name, Port: new(int32(in.port)), Protocol: &port.Protocol}) //nolint:gosec // a port fits
	}
	return slice
}

// environment resolves a container's variables as the kubelet would, but for
// those that are taken from the pod's own fields.
func environment(ctx context.Context, client kubernetes.Interface, namespace string, container corev1.Container) ([]string, error) {
	var env []string
	for _, source := range container.EnvFrom {
		var values map[string]string
		var err error
		switch {
		case source.ConfigMapRef != nil:
			values, err = configMap(ctx, client, namespace, source.ConfigMapRef.Name)
		case source.SecretRef != nil:
			values, err = secret(ctx, client, namespace, source.SecretRef.Name)
		}
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			env = append(env, source.Prefix+name+"="+value)
		}
	}
	for _, variable := range container.Env {
		value, from := variable.Value, variable.ValueFrom
		var values map[string]string
		var err error
		switch {
		case from == nil:
		case from.ConfigMapKeyRef != nil:
			values, err = configMap(ctx, client, namespace, from.ConfigMapKeyRef.Name)
			value = values[from.ConfigMapKeyRef.Key]
		case from.SecretKeyRef != nil:
			values, err = secret(ctx, client, namespace, from.SecretKeyRef.Name)
			value = values[from.SecretKeyRef.Key]
		default:
			err = errors.New("a simulated pod has no fields to take it from")
		}
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
		}
		env = append(env, variable.Name+"="+value)
	}
	return env, nil
}

func configMap(ctx context.Context, client kubernetes.Interface, namespace, name string) (map[string]string, error) {
	object, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return object.Data, nil
}

func secret(ctx context.Context, client kubernetes.Interface, namespace, name string) (map[string]string, error) {
	object, err := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for key, value := range object.Data {
		values[key] = string(value)
	}
	return values, nil
}
