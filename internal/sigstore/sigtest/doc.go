// Package sigtest builds tiny container images without Docker, pushes them to a
// registry, and has the real cosign CLI sign and attest them with keys in files.
// The local stack seeds its demo images with it and the verifier's tests make
// their good and bad artifacts with it, so both see what cosign really writes.
//
// It is for local registries: it speaks plain HTTP and writes to no transparency
// log.
package sigtest
