package waybill.emergency_test

import rego.v1

import data.waybill.release
import data.waybill.release_test as fixture

quorum(group, places) := {"group": group, "count": places}

# An emergency in which all is as it should be.
emergency := json.patch(fixture.good, [
	{"op": "add", "path": "/plan/request/breakGlass", "value": "payments are failing"},
	{"op": "add", "path": "/plan/breakGlass", "value": {"reason": "payments are failing", "reviewWithin": "24h"}},
])

patched(path, value) := json.patch(emergency, [{"op": "add", "path": path, "value": value}])

test_emergency_is_allowed_at_every_tier if {
	every n in [0, 1, 2] {
		fixture.rules(patched("/plan/tier", n)) == set()
	}
}

test_emergency_has_a_reason if {
	every reason in ["", " \n\t"] {
		fixture.rules(patched("/plan/breakGlass/reason", reason)) == {"break-glass-reason"}
	}
	fixture.rules(json.patch(emergency, [{"op": "remove", "path": "/plan/breakGlass/reason"}])) == {"break-glass-reason"}
	fixture.rules(patched("/plan/request/breakGlass", "")) == set()
}

# A request for an emergency whose plan has no terms gets no emergency's ease.
test_emergency_has_terms if {
	document := json.patch(emergency, [{"op": "remove", "path": "/plan/breakGlass"}])
	fixture.rules(document) == {"break-glass-reason", "break-glass-review"}
}

test_emergency_is_approved_by_two_people_of_two_groups_at_every_tier if {
	every n in [0, 1] {
		document := patched("/plan/tier", n)
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/approval/groups", "value": []}])) == {"break-glass-people", "break-glass-groups"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/approval/groups", "value": [quorum("risk", 1)]}])) == {"break-glass-people", "break-glass-groups"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/approval/groups", "value": [quorum("risk", 2)]}])) == {"break-glass-groups"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/approval/groups", "value": [quorum("a", 0), quorum("b", 1)]}])) == {"break-glass-people"}
	}
}

test_emergency_has_a_proven_requester if {
	fixture.rules(patched("/requester/proven", false)) == {"break-glass-requester"}
	fixture.rules(json.patch(emergency, [{"op": "remove", "path": "/requester"}])) == {"break-glass-requester"}
}

test_emergency_has_ends if {
	every time in ["0s", "-1m"] {
		fixture.rules(patched("/plan/limits/approval", time)) == {"break-glass-time"}
		fixture.rules(patched("/plan/breakGlass/reviewWithin", time)) == {"break-glass-review"}
	}
	fixture.rules(json.patch(emergency, [{"op": "remove", "path": "/plan/breakGlass/reviewWithin"}])) == {"break-glass-review"}
}

test_emergency_may_begin_with_more if {
	every weight in [25, 100] {
		fixture.rules(fixture.changed("/plan/steps/0/weight", weight)) == {"canary"}
	}
	fixture.rules(patched("/plan/steps/0/weight", 25)) == set()
	fixture.rules(patched("/plan/steps/0/weight", 26)) == {"canary"}
	document := patched("/plan/steps/0/weight", 60)
	fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
}

# Nothing that an ordinary release must have is left out for an emergency.
test_emergency_brings_its_papers if {
	fixture.rules(json.patch(emergency, [{"op": "remove", "path": "/verification/source"}])) == {"source"}
	fixture.rules(patched("/verification/signatures", [])) == {"signature"}
}

test_ordinary_releases_are_none if {
	not release.emergency with input as fixture.good
	fixture.rules(fixture.changed("/plan/request/breakGlass", " ")) == set()
}
