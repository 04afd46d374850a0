// Package evidence is the core of Waybill's papers: what a record is, how it is
// signed and named, which rules a set of records must hold to, and what can be
// read from one. It depends on no provider. A bucket, or a copy of one in a
// folder, is a Source; Verify judges it with public keys alone.
//
// A record is an in-toto Statement v1 in a DSSE envelope, stored as exact bytes
// under a key that names the SHA-256 of those bytes:
//
//	v1/<environment>/<service>/<release>/<sequence>-<kind>-<sha256>.json
//
// Within a release the sequence has no gap from 1, each record names the digest
// of the one before, and the manifest closes it by listing all others. Within a
// lane (one service in one environment) each manifest names the one before.
package evidence
