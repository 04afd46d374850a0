package waybill.release

import rego.v1

# Who must approve: what the plan asks and what the tier asks, the higher count
# of each group.

asked := array.concat(list(input.plan.approval, "groups"), tier.approvals)

approvals := sort([{"group": group, "count": places} |
	some group in {quorum.group | some quorum in asked}
	places := max([quorum.count | some quorum in asked; quorum.group == group])
])

people := sum([quorum.count | some quorum in approvals])

deny contains reason("approvers", message) if {
	people < tier.approvers
	message := sprintf("tier %s is approved by at least %d people, the plan asks %d; mend the catalog's approval", [tier_key, tier.approvers, people])
}

deny contains reason("approver-groups", message) if {
	count(approvals) < tier.approver_groups
	message := sprintf("tier %s is approved from at least %d groups, the plan names %d; mend the catalog's approval", [tier_key, tier.approver_groups, count(approvals)])
}

# Nobody vouches for who asked: then nobody can be kept from approving their own
# request, unless two others must agree.
deny contains reason("requester-unproven", message) if {
	not input.requester.proven
	people < tier.approvers_if_unproven
	message := sprintf("who asks is not proven; at tier %s this wants at least %d approvers, the plan asks %d. Start the release through the gateway", [tier_key, tier.approvers_if_unproven, people])
}
