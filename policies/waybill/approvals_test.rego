package waybill.approvals_test

import rego.v1

import data.waybill.release
import data.waybill.release_test as fixture

quorum(group, places) := {"group": group, "count": places}

test_two_people_of_two_groups_at_tier_2 if {
	fixture.rules(fixture.changed("/plan/approval/groups", [quorum("risk", 1)])) == {"approvers", "approver-groups"}
	fixture.rules(fixture.changed("/plan/approval/groups", [quorum("risk", 2)])) == {"approver-groups"}
	fixture.rules(fixture.changed("/plan/approval/groups", [])) == {"approvers", "approver-groups"}
	fixture.rules(fixture.without("/plan/approval/groups")) == {"approvers", "approver-groups"}
	fixture.rules(fixture.changed("/plan/approval/groups", [quorum("risk", 2), quorum("payments-leads", 3)])) == set()
}

test_no_approval_at_lower_tiers if {
	every n in [0, 1] {
		document := json.patch(fixture.at_tier(n), [{"op": "remove", "path": "/plan/approval/groups"}])
		fixture.rules(document) == set()
		outcome := release.result with input as document
		outcome.approvals == {"groups": []}
	}
}

test_what_the_plan_asks_is_kept_at_lower_tiers if {
	outcome := release.result with input as fixture.at_tier(0)
	outcome.approvals == fixture.good.plan.approval
}

test_the_policy_may_ask_for_more if {
	strict := json.patch(data.waybill.config, [{"op": "add", "path": "/tiers/2/approvals", "value": [quorum("risk", 2), quorum("audit", 1)]}])
	outcome := release.result with input as fixture.good with data.waybill.config as strict
	outcome.allow
	outcome.approvals == {"groups": [quorum("audit", 1), quorum("payments-leads", 1), quorum("risk", 2)]}
}

test_unproven_requester_needs_two_approvers if {
	unproven := fixture.changed("/requester/proven", false)
	fixture.rules(unproven) == set()
	single := json.patch(unproven, [{"op": "replace", "path": "/plan/approval/groups", "value": [quorum("risk", 1)]}])
	"requester-unproven" in fixture.rules(single)
	"requester-unproven" in fixture.rules(json.patch(single, [{"op": "remove", "path": "/requester"}]))
	fixture.rules(json.patch(single, [{"op": "add", "path": "/plan/tier", "value": 1}])) == set()
}
