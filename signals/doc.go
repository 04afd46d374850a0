// Package signals is Waybill's contract: everything that crosses a process
// boundary by way of Temporal or the HTTP API. It holds the request that starts
// a release, the plan it resolves to, the signed envelopes that approve or
// command it, the status it reports, the outcome it ends with, the records it
// leaves behind, and every name and id by which these are found.
//
// The package imports no provider's SDK, so that a CI system may depend on it.
// All JSON is meant to be written and read by people: lower camel case,
// durations as "30s", times as RFC 3339, digests as "sha256:<hex>".
package signals
