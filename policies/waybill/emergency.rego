package waybill.release

import rego.v1

# What an emergency (break-glass) is held to at every tier: a reason, two people
# of two groups, a requester that is known, a time in which to approve, and a
# review afterwards.

emergency if trim_space(object.get(input.plan.request, "breakGlass", "")) != ""

emergency if input.plan.breakGlass

deny contains reason("break-glass-reason", "an emergency release wants its reason in breakGlass of the request; whoever reviews it will read that") if {
	emergency
	trim_space(object.get(object.get(input.plan, "breakGlass", {}), "reason", "")) == ""
}

deny contains reason("break-glass-people", message) if {
	emergency
	people < config.break_glass.approvers
	message := sprintf("an emergency release is approved by at least %d people, the plan asks %d; mend the catalog's breakGlass.approval", [config.break_glass.approvers, people])
}

deny contains reason("break-glass-groups", message) if {
	emergency
	count(approvals) < config.break_glass.approver_groups
	message := sprintf("an emergency release is approved from at least %d groups, the plan names %d; mend the catalog's breakGlass.approval", [config.break_glass.approver_groups, count(approvals)])
}

deny contains reason("break-glass-requester", "nobody proves who asks for this emergency release, and the review must be by somebody else; start it through the gateway, logged in") if {
	emergency
	not input.requester.proven
}

deny contains reason("break-glass-time", "an emergency release wants an end to the time for approval; mend the catalog's breakGlass.limits.approval") if {
	emergency
	duration(input.plan.limits, "approval") <= 0
}

deny contains reason("break-glass-review", "an emergency release wants a time by which it is reviewed; mend the catalog's breakGlass.reviewWithin") if {
	emergency
	duration(object.get(input.plan, "breakGlass", {}), "reviewWithin") <= 0
}
