package waybill.release

import rego.v1

# What the artifact must bring along: its papers, all about the pinned digest.

signatures := list(input.verification, "signatures")

tests := list(input.verification, "tests")

passed contains test if {
	some test in tests
	test.result in {"PASSED", "WARNED"}
}

deny contains reason("verification", refusal) if {
	some refusal in list(input.verification, "refusals")
}

deny contains reason("digest-pinned", message) if {
	digest := object.get(input.plan.artifact, "digest", "")
	not regex.match(`^sha256:[0-9a-f]{64}$`, digest)
	message := sprintf("the artifact is not pinned to a SHA-256 digest, found %q", [digest])
}

deny contains reason("digest-pinned", message) if {
	tier.digest_in_request
	not contains(input.plan.request.image, concat("", ["@", input.plan.artifact.digest]))
	message := sprintf("tier %s wants the request to name the image by digest; write %s@%s", [
		tier_key,
		input.plan.artifact.repository,
		input.plan.artifact.digest,
	])
}

deny contains reason("digest-verified", message) if {
	input.verification.digest != input.plan.artifact.digest
	message := sprintf("what was verified is %s, what ships is %s", [input.verification.digest, input.plan.artifact.digest])
}

deny contains reason("signature", "the image has no signature by a pinned key; sign it") if {
	"signature" in tier.papers
	count(signatures) == 0
}

deny contains reason("provenance", message) if {
	"provenance" in tier.papers
	not input.verification.provenance
	message := sprintf("tier %s wants SLSA provenance by a pinned key; attest it in the build", [tier_key])
}

deny contains reason("provenance-commit", message) if {
	found := input.verification.provenance.commit
	found != input.plan.request.commit
	message := sprintf("the image was built from commit %q, the request asks for %s", [found, input.plan.request.commit])
}

deny contains reason("provenance-builder", message) if {
	found := input.verification.provenance.builder
	found != input.plan.trust.builder
	message := sprintf("the image was built by %q, the catalog expects %q", [found, input.plan.trust.builder])
}

deny contains reason("tests", message) if {
	"tests" in tier.papers
	count(passed) == 0
	message := sprintf("tier %s wants test results that passed, signed by a pinned key", [tier_key])
}

deny contains reason("tests-failed", message) if {
	some test in tests
	not test in passed
	message := sprintf("a test result says %q", [test.result])
}

source := input.verification.source if is_object(input.verification.source)

# Without knowing who made the change nobody can be kept from approving their own.
deny contains reason("source", message) if {
	"source" in tier.papers
	not source
	message := sprintf("tier %s wants a source attestation by a pinned key, which says who wrote, committed and merged the change; make it in the build with: waybill attest source", [tier_key])
}

deny contains reason("source-commit", message) if {
	found := source.commit
	found != input.plan.request.commit
	message := sprintf("the source attestation is about commit %q, the request asks for %s", [found, input.plan.request.commit])
}

deny contains reason("source-authors", "the source attestation names no author, so nobody could be kept from approving their own change; make it anew with: waybill attest source") if {
	count(list(source, "authors")) == 0
}

# The properties that hold of the artifact, for the permit.
levels contains "WAYBILL_SIGNED" if count(signatures) > 0

levels contains "SLSA_BUILD_LEVEL_1" if input.verification.provenance

levels contains "WAYBILL_TESTED" if count(passed) > 0

levels contains "WAYBILL_SOURCE_ATTESTED" if source
