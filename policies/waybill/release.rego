# METADATA
# title: Release
# description: >-
#   Whether one plan may go ahead, who must approve it, and for how long the
#   permit is good. Every no is a reason {rule, message}; a plan is allowed if
#   there is none. What each tier demands stands in data.json.
package waybill.release

import rego.v1

config := data.waybill.config

# A tier that the table doesn't have is refused, and judged as the strictest on
# the way, so that all else that is wrong is listed too.
tier := object.get(config.tiers, tier_key, config.tiers["2"])

tier_key := sprintf("%v", [input.plan.tier])

result := {
	"allow": count(deny) == 0,
	"reasons": reasons,
	"approvals": {"groups": approvals},
	"levels": sort(levels),
	"permitFor": sprintf("%ds", [permit_seconds]),
}

# By rule; a set of objects would be sorted by message.
reasons := [reason(pair[0], pair[1]) |
	some pair in sort({[no.rule, no.message] | some no in deny})
]

reason(rule, message) := {"rule": rule, "message": message}

deny contains reason("tier", message) if {
	not config.tiers[tier_key]
	message := sprintf("tier %s is not one of 0, 1, 2; mend the catalog", [tier_key])
}

deny contains reason("owner", "the service has no owner; name one in the catalog") if {
	trim_space(object.get(input.plan, "owner", "")) == ""
}

deny contains reason("change-ticket", message) if {
	tier.ticket
	ticket := object.get(input.plan.request, "ticket", "")
	not regex.match(config.ticket_pattern, ticket)
	message := sprintf("tier %s wants a change ticket of the form %s, found %q", [tier_key, config.ticket_pattern, ticket])
}

# The permit outlives the longest course that the release can take: every window
# extended to its limit, every wait waited out.
permit_seconds := ceil(total / 1000000000) if {
	plan := input.plan
	watching := sum([watched(window) | some window in windows])
	waiting := duration(plan.limits, "approval") + duration(plan.limits, "queue")
	rollouts := duration(plan.target, "readyWithin") * (count(steps) + 1)
	total := ((watching + waiting) + rollouts) + time.parse_duration_ns(config.permit_margin)
}

watched(window) := duration(window, "duration") * (1 + object.get(window, "extensions", 0))

# A list that is missing or null has no elements.
list(holder, field) := holder[field] if is_array(holder[field])

else := []

duration(holder, field) := time.parse_duration_ns(object.get(holder, field, "0s"))
