package traffic

import (
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waybill-dev/waybill/signals"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// backend is where a rule's references to the two Services stand; -1 if absent.
type backend struct {
	rule, stable, canary int
}

// backends finds the rules that send traffic to the stable Service. Each may
// refer to the canary beside it and to nothing else: with a third backend,
// percentages of the rule's traffic would not be what they say.
func backends(route *gatewayv1.HTTPRoute, t signals.Target) ([]backend, error) {
	var found []backend
	for i, rule := range route.Spec.Rules {
		b := backend{rule: i, stable: -1, canary: -1}
		third := ""
		for j, ref := range rule.BackendRefs {
			switch {
			case refersTo(ref, route.Namespace, t.Stable):
				b.stable = j
			case refersTo(ref, route.Namespace, t.Canary):
				b.canary = j
			default:
				third = string(ref.Name)
			}
		}
		if b.stable < 0 {
			continue
		}
		if third != "" {
			return nil, fmt.Errorf("rule %d of HTTPRoute %s/%s sends traffic to %q besides %q; Waybill splits rules with stable and canary only",
				i, route.Namespace, route.Name, third, t.Stable)
		}
		found = append(found, b)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no rule of HTTPRoute %s/%s sends traffic to Service %q; correct target.route or target.stable in the catalog",
			route.Namespace, route.Name, t.Stable)
	}
	return found, nil
}

func refersTo(ref gatewayv1.HTTPBackendRef, namespace, name string) bool {
	return string(ref.Name) == name && (ref.Kind == nil || *ref.Kind == "Service") &&
		(ref.Group == nil || *ref.Group == "") && (ref.Namespace == nil || string(*ref.Namespace) == namespace)
}

// weight is a reference's weight; unset means 1.
func weight(ref gatewayv1.HTTPBackendRef) int32 {
	if ref.Weight == nil {
		return 1
	}
	return *ref.Weight
}

// shares reads the split in percent. If rules differ, the one that sends most to
// the canary counts. A share that is not zero is never rounded to zero.
func shares(route *gatewayv1.HTTPRoute, found []backend) signals.Weights {
	var canary int32
	carried := false
	for _, b := range found {
		refs := route.Spec.Rules[b.rule].BackendRefs
		stable, other := int64(weight(refs[b.stable])), int64(0)
		if b.canary >= 0 {
			other = int64(weight(refs[b.canary]))
		}
		if stable+other == 0 {
			continue
		}
		carried = true
		canary = max(canary, int32((100*other+stable+other-1)/(stable+other))) //nolint:gosec // at most 100
	}
	if !carried {
		return signals.Weights{}
	}
	return signals.Weights{Stable: 100 - canary, Canary: canary}
}

// splitPatch changes weights in place. A reference to the canary that is not
// there is added with stable's port and filters, unless the canary gets nothing.
func splitPatch(route *gatewayv1.HTTPRoute, found []backend, t signals.Target, canary int32) []operation {
	var patch []operation
	for _, b := range found {
		refs := fmt.Sprintf("/spec/rules/%d/backendRefs", b.rule)
		patch = append(patch, operation{Op: "add", Path: fmt.Sprintf("%s/%d/weight", refs, b.stable), Value: 100 - canary})
		switch {
		case b.canary >= 0:
			patch = append(patch, operation{Op: "add", Path: fmt.Sprintf("%s/%d/weight", refs, b.canary), Value: canary})
		case canary > 0:
			ref := *route.Spec.Rules[b.rule].BackendRefs[b.stable].DeepCopy()
			ref.Name, ref.Weight = gatewayv1.ObjectName(t.Canary), &canary
			patch = append(patch, operation{Op: "add", Path: refs + "/-", Value: ref})
		}
	}
	return patch
}

// removePatch gives stable everything and drops the references to the canary,
// from rules without stable too.
func removePatch(route *gatewayv1.HTTPRoute, t signals.Target) []operation {
	var patch []operation
	for i, rule := range route.Spec.Rules {
		refs := fmt.Sprintf("/spec/rules/%d/backendRefs", i)
		drops := []int{}
		for j, ref := range rule.BackendRefs {
			if refersTo(ref, route.Namespace, t.Canary) {
				drops = append(drops, j)
			}
		}
		if len(drops) == 0 {
			continue
		}
		for j, ref := range rule.BackendRefs {
			if refersTo(ref, route.Namespace, t.Stable) {
				patch = append(patch, operation{Op: "add", Path: fmt.Sprintf("%s/%d/weight", refs, j), Value: 100})
			}
		}
		for _, j := range slices.Backward(drops) { // from the end: indices before stay valid
			patch = append(patch, operation{Op: "remove", Path: fmt.Sprintf("%s/%d", refs, j)})
		}
	}
	return patch
}

// accepted says whether every Gateway that the route names has taken this
// generation, with all references resolved. If not, why tells what is missing.
func accepted(route *gatewayv1.HTTPRoute) (ok bool, why string) {
	if len(route.Spec.ParentRefs) == 0 {
		return false, "the route names no Gateway"
	}
	for _, parent := range route.Spec.ParentRefs {
		status := parentStatus(route, parent)
		if status == nil {
			return false, fmt.Sprintf("Gateway %q has not reported on the route", parent.Name)
		}
		for _, wanted := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			if why := holds(status, wanted, route.Generation); why != "" {
				return false, fmt.Sprintf("Gateway %q: %s", parent.Name, why)
			}
		}
	}
	return true, ""
}

func parentStatus(route *gatewayv1.HTTPRoute, parent gatewayv1.ParentReference) *gatewayv1.RouteParentStatus {
	for i := range route.Status.Parents {
		p := &route.Status.Parents[i]
		if p.ParentRef.Name == parent.Name && value(p.ParentRef.SectionName) == value(parent.SectionName) &&
			namespaceOf(p.ParentRef, route) == namespaceOf(parent, route) && value(p.ParentRef.Port) == value(parent.Port) {
			return p
		}
	}
	return nil
}

func namespaceOf(p gatewayv1.ParentReference, route *gatewayv1.HTTPRoute) string {
	if p.Namespace == nil {
		return route.Namespace
	}
	return string(*p.Namespace)
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// holds says what is wrong with a condition, "" if it is true for generation.
func holds(status *gatewayv1.RouteParentStatus, kind gatewayv1.RouteConditionType, generation int64) string {
	for _, c := range status.Conditions {
		if c.Type != string(kind) {
			continue
		}
		switch {
		case c.ObservedGeneration < generation:
			return fmt.Sprintf("%s is reported for generation %d, the route is at %d", kind, c.ObservedGeneration, generation)
		case c.Status != "True":
			return fmt.Sprintf("%s is %s (%s: %s)", kind, c.Status, c.Reason, c.Message)
		}
		return ""
	}
	return fmt.Sprintf("%s is not reported", kind)
}
