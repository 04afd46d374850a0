// Package policies is the engine that evaluates Waybill's policies, which lie
// beside it as an OPA bundle: waybill/*.rego with their tests, the tier table in
// data.json, and .manifest. It is the only package that imports OPA. Nothing is
// embedded: a bundle is loaded from a folder, and its digest is pinned into each
// plan.
package policies
