package waybill.steps_test

import rego.v1

import data.waybill.release_test as fixture

test_steps_are_wanted if {
	every document in [fixture.changed("/plan/steps", []), fixture.changed("/plan/steps", null), fixture.without("/plan/steps")] {
		fixture.rules(document) == {"steps"}
	}
}

test_first_step_is_the_canary if {
	fixture.rules(fixture.changed("/plan/steps/0/phase", "ramp")) == {"canary"}
}

test_canary_is_small if {
	document := fixture.changed("/plan/steps/0/weight", 20)
	fixture.rules(document) == {"canary"}
	"tier 2 begins with at most 10% of the traffic, the plan with 20%" in fixture.messages(document)
	fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 1}])) == set()
	half := fixture.changed("/plan/steps/0/weight", 50)
	fixture.rules(json.patch(half, [{"op": "add", "path": "/plan/tier", "value": 1}])) == {"canary"}
	fixture.rules(json.patch(half, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
}

test_all_the_traffic_is_watched if {
	fixture.rules(fixture.changed("/plan/steps/1/weight", 50)) == {"steps"}
}

test_every_window_has_a_length if {
	every path in ["/plan/baseline/duration", "/plan/bake/duration", "/plan/steps/0/window/duration", "/plan/steps/1/window/duration"] {
		every length in ["0s", "-1s"] {
			fixture.rules(fixture.changed(path, length)) == {"window"}
		}
		fixture.rules(fixture.without(path)) == {"window"}
	}
	"the window of step 2 has no length" in fixture.messages(fixture.changed("/plan/steps/1/window/duration", "0s"))
}

test_checks_are_wanted_from_tier_1 if {
	every document in [fixture.changed("/plan/checks", []), fixture.without("/plan/checks")] {
		fixture.rules(document) == {"checks"}
		fixture.rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
	}
}
