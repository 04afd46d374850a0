// Package objectlock is the bucket that keeps evidence: an S3 bucket with
// versions and Object Lock. Reader lists every version and delete marker, and
// reads one version; Writer adds records, each once and locked. Neither deletes
// or shortens anything.
package objectlock
