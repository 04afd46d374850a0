package waybill.release_test

import rego.v1

import data.waybill.release

digest := "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

other_digest := "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

window := {"duration": "10s", "interval": "1s", "extensions": 2}

# A release at tier 2 in which all is as it should be.
good := {
	"plan": {
		"tier": 2,
		"owner": "payments-leads",
		"request": {"ticket": "CHG-1042", "commit": "c1", "image": concat("@", ["registry.example/app", digest])},
		"artifact": {"repository": "registry.example/app", "digest": digest},
		"baseline": {"duration": "10s", "interval": "1s"},
		"steps": [
			{"phase": "canary", "weight": 5, "window": window},
			{"phase": "ramp", "weight": 100, "window": window},
		],
		"bake": {"duration": "1m", "interval": "1s"},
		"checks": [{"name": "error-ratio"}],
		"approval": {"groups": [{"group": "payments-leads", "count": 1}, {"group": "risk", "count": 1}]},
		"limits": {"approval": "10m", "queue": "30m"},
		"target": {"readyWithin": "2m"},
		"trust": {"builder": "https://ci.example/builder"},
	},
	"requester": {"proven": true},
	"verification": {
		"digest": digest,
		"signatures": [{"keyId": "ci"}],
		"provenance": {"builder": "https://ci.example/builder", "commit": "c1"},
		"tests": [{"result": "PASSED"}],
		"source": {"repository": "https://git.example/app", "commit": "c1", "authors": [{"email": "developer@payments.example"}]},
	},
}

# changed is the good release with one value replaced.
changed(path, value) := json.patch(good, [{"op": "add", "path": path, "value": value}])

without(path) := json.patch(good, [{"op": "remove", "path": path}])

at_tier(n) := changed("/plan/tier", n)

# rules are the names of the rules that say no.
rules(document) := names if {
	outcome := release.result with input as document
	quiet := count(outcome.reasons) == 0
	outcome.allow == quiet
	names := {reason.rule | some reason in outcome.reasons}
}

messages(document) := texts if {
	outcome := release.result with input as document
	texts := {reason.message | some reason in outcome.reasons}
}

test_good_release_is_allowed if {
	outcome := release.result with input as good
	outcome == {
		"allow": true,
		"reasons": [],
		"approvals": good.plan.approval,
		"levels": ["SLSA_BUILD_LEVEL_1", "WAYBILL_SIGNED", "WAYBILL_SOURCE_ATTESTED", "WAYBILL_TESTED"],
		# 10 s + 2 × 30 s + 60 s of windows, 40 min of waits, 3 × 2 min of rollouts, 1 h of margin
		"permitFor": "6490s",
	}
}

test_good_release_is_allowed_at_lower_tiers if {
	every n in [0, 1] {
		rules(at_tier(n)) == set()
	}
}

test_unknown_tier_is_refused if {
	rules(at_tier(3)) == {"tier"}
	rules(at_tier("two")) == {"tier"}
	"tier 3 is not one of 0, 1, 2; mend the catalog" in messages(at_tier(3))
}

test_unknown_tier_is_judged_as_the_strictest if {
	document := json.patch(at_tier(3), [{"op": "remove", "path": "/plan/request/ticket"}])
	rules(document) == {"tier", "change-ticket"}
}

test_owner_is_wanted if {
	rules(changed("/plan/owner", " ")) == {"owner"}
	rules(without("/plan/owner")) == {"owner"}
}

test_ticket_is_wanted_from_tier_1 if {
	every ticket in ["", "CHG", "CHG-", "chg-1", "CHG-1x", "XCHG-1", "CHG-1 ", "CHG-1\nINC-2", "JIRA-7"] {
		rules(changed("/plan/request/ticket", ticket)) == {"change-ticket"}
	}
	every ticket in ["CHG-1", "INC-20391"] {
		rules(changed("/plan/request/ticket", ticket)) == set()
	}
	document := without("/plan/request/ticket")
	rules(document) == {"change-ticket"}
	rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 1}])) == {"change-ticket"}
	rules(json.patch(document, [{"op": "add", "path": "/plan/tier", "value": 0}])) == set()
}

test_ticket_message_says_what_was_found if {
	`tier 2 wants a change ticket of the form ^(CHG|INC)-[0-9]+$, found "JIRA-7"` in messages(changed("/plan/request/ticket", "JIRA-7"))
}

test_permit_covers_extensions_and_waits if {
	longer := release.permit_seconds with input as changed("/plan/steps/0/window/extensions", 12)
	longer == 6590
	patient := release.permit_seconds with input as changed("/plan/limits/queue", "1h30m")
	patient == 10090
	shorter := release.permit_seconds with input as without("/plan/limits/approval")
	shorter == 5890
}
