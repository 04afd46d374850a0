// Package attest makes what CI says of a change: who wrote, committed, merged
// and reviewed it, from Git and the code host's event; which tests passed, from
// JUnit files; who changed a folder of configuration. It signs that as in-toto
// statements by a cosign key file or a KMS, and attaches it to the image as
// cosign would. It runs in CI and on developers' machines, never in the daemon.
package attest
