// Package sigstore verifies what cosign attached to an image: its signature, its
// SLSA provenance and its test results, in the legacy form (tags beside the
// image) and as Sigstore bundles (OCI referrers), by public keys that the plan
// pins per kind of paper. It works offline but for the registry: keys are
// trusted because they are pinned, so no transparency log is asked.
//
// What does not hold is a refusal, returned as data that says what was expected
// and what was found. An error means that it could not be found out.
package sigstore
