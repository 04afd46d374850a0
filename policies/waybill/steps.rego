package waybill.release

import rego.v1

# How the release must go: from a small canary, watched, to all the traffic,
# watched on.

steps := list(input.plan, "steps")

deny contains reason("steps", "the plan has no steps; give the environment a canary step in the catalog") if {
	count(steps) == 0
}

# An emergency may begin with more, where its tier takes little.
first_weight_at_most := max([tier.first_weight_at_most, config.break_glass.first_weight_at_most]) if emergency

else := tier.first_weight_at_most

deny contains reason("canary", message) if {
	first := steps[0]
	first.phase != "canary"
	message := sprintf("the first step is %q, not the canary", [first.phase])
}

deny contains reason("canary", message) if {
	first := steps[0]
	first.weight > first_weight_at_most
	message := sprintf("tier %s begins with at most %d%% of the traffic, the plan with %d%%", [tier_key, first_weight_at_most, first.weight])
}

deny contains reason("steps", message) if {
	last := steps[count(steps) - 1]
	last.weight != 100
	message := sprintf("the last step has weight %d; all the traffic must be watched before stable changes", [last.weight])
}

deny contains reason("window", message) if {
	some name, window in windows
	duration(window, "duration") <= 0
	message := sprintf("the window of %s has no length", [name])
}

deny contains reason("checks", message) if {
	found := count(list(input.plan, "checks"))
	found < tier.min_checks
	message := sprintf("tier %s wants at least %d checks, found %d", [tier_key, tier.min_checks, found])
}

windows["baseline"] := input.plan.baseline

windows["bake"] := input.plan.bake

windows[name] := step.window if {
	some i, step in steps
	name := sprintf("step %d", [i + 1])
}
