package waybill.papers_test

import rego.v1

import data.waybill.release
import data.waybill.release_test as fixture

test_refusals_of_the_verifier_are_kept if {
	refusal := "signature: expected one by ci, found none"
	document := fixture.changed("/verification/refusals", [refusal])
	fixture.rules(document) == {"verification"}
	fixture.messages(document) == {refusal}
}

test_digest_is_pinned if {
	every digest in ["", "v1", "sha256:abc", "sha512:aaaa", upper(fixture.digest)] {
		"digest-pinned" in fixture.rules(fixture.changed("/plan/artifact/digest", digest))
	}
	"digest-pinned" in fixture.rules(fixture.without("/plan/artifact/digest"))
}

test_request_names_the_digest_at_tier_2 if {
	every image in ["registry.example/app:v1", concat("@", ["registry.example/app", fixture.other_digest])] {
		document := fixture.changed("/plan/request/image", image)
		fixture.rules(document) == {"digest-pinned"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 1}])) == set()
		sprintf("tier 2 wants the request to name the image by digest; write registry.example/app@%s", [fixture.digest]) in fixture.messages(document)
	}
}

test_verified_digest_is_what_ships if {
	fixture.rules(fixture.changed("/verification/digest", fixture.other_digest)) == {"digest-verified"}
}

test_signature_is_wanted_at_every_tier if {
	every n in [0, 1, 2] {
		document := json.patch(fixture.at_tier(n), [{"op": "replace", "path": "/verification/signatures", "value": []}])
		fixture.rules(document) == {"signature"}
	}
	fixture.rules(fixture.without("/verification/signatures")) == {"signature"}
	fixture.rules(fixture.changed("/verification/signatures", null)) == {"signature"}
}

test_provenance_is_wanted_from_tier_1 if {
	document := fixture.without("/verification/provenance")
	fixture.rules(document) == {"provenance"}
	fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 1}])) == {"provenance"}
	fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
}

test_provenance_is_of_the_requested_commit if {
	every n in [0, 1, 2] {
		document := json.patch(fixture.at_tier(n), [{"op": "replace", "path": "/verification/provenance/commit", "value": "c2"}])
		fixture.rules(document) == {"provenance-commit"}
	}
	`the image was built from commit "c2", the request asks for c1` in fixture.messages(fixture.changed("/verification/provenance/commit", "c2"))
}

test_provenance_is_of_the_expected_builder if {
	fixture.rules(fixture.changed("/verification/provenance/builder", "https://laptop.example")) == {"provenance-builder"}
}

test_tests_are_wanted_from_tier_1 if {
	every document in [fixture.changed("/verification/tests", []), fixture.changed("/verification/tests", null), fixture.without("/verification/tests")] {
		fixture.rules(document) == {"tests"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 1}])) == {"tests"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
	}
}

test_warnings_pass if {
	fixture.rules(fixture.changed("/verification/tests", [{"result": "WARNED"}])) == set()
}

test_failed_tests_stand_against_the_image if {
	failed := {"result": "FAILED"}
	fixture.rules(fixture.changed("/verification/tests", [failed])) == {"tests", "tests-failed"}
	fixture.rules(fixture.changed("/verification/tests", [{"result": "PASSED"}, failed])) == {"tests-failed"}
	document := json.patch(fixture.at_tier(0), [{"op": "add", "path": "/verification/tests", "value": [failed]}])
	fixture.rules(document) == {"tests-failed"}
}

test_source_is_wanted_at_tier_2 if {
	every document in [fixture.without("/verification/source"), fixture.changed("/verification/source", null)] {
		fixture.rules(document) == {"source"}
		every n in [0, 1] {
			fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": n}])) == set()
		}
	}
	some message in fixture.messages(fixture.without("/verification/source"))
	contains(message, "make it in the build with: waybill attest source")
}

test_source_is_of_the_requested_commit if {
	every n in [0, 1, 2] {
		document := json.patch(fixture.at_tier(n), [{"op": "replace", "path": "/verification/source/commit", "value": "c2"}])
		fixture.rules(document) == {"source-commit"}
	}
	`the source attestation is about commit "c2", the request asks for c1` in fixture.messages(fixture.changed("/verification/source/commit", "c2"))
}

test_source_names_its_authors if {
	fixture.rules(fixture.changed("/verification/source/authors", [])) == {"source-authors"}
	fixture.rules(fixture.changed("/verification/source/authors", null)) == {"source-authors"}
	fixture.rules(fixture.without("/verification/source/authors")) == {"source-authors"}
}

# What a scan found is recorded and shown; a threshold is a policy of its own.
test_scans_are_not_judged if {
	fixture.rules(fixture.changed("/verification/scans", [{"found": {"CRITICAL": 7}}])) == set()
}

test_levels_are_what_holds if {
	bare := json.patch(fixture.good, [
		{"op": "remove", "path": "/verification/provenance"},
		{"op": "remove", "path": "/verification/tests"},
		{"op": "remove", "path": "/verification/source"},
		{"op": "remove", "path": "/verification/signatures"},
	])
	none := release.levels with input as bare
	none == set()
}
