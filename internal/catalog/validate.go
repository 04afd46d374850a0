package catalog

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

const (
	// maxSamples bounds the samples of one window, so that its record stays
	// readable and its heartbeat small.
	maxSamples    = 1000
	maxExtensions = 100
	maxTier       = 2
)

var (
	// repository is a registry's repository: a host, then path components, and
	// neither tag nor digest.
	repository = regexp.MustCompile(`^[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)
	group      = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.:/@]{0,127}$`)
)

func (d *document) validateService(file string, s service) {
	if !signals.ValidName(s.Service) {
		d.fault("service", "%q: want lower case letters, digits and dashes, at most 63", s.Service)
	} else if file != s.Service+".yaml" {
		d.fault("service", "%q: the file is %s; name it %s.yaml", s.Service, file, s.Service)
	}
	d.want(group.MatchString(s.Owner), "owner", "%q: want the group that owns the service", s.Owner)
	d.want(s.Runbook == "" || isURL(s.Runbook), "runbook", "%q: want an http or https URL", s.Runbook)
	d.want(isURL(s.Source), "source", "%q: want the http or https URL of the repository that provenance must name", s.Source)
	d.want(len(s.Images) > 0, "images", "want at least one repository, such as registry.example/app")
	for _, image := range s.Images {
		d.want(repository.MatchString(image), "images", "%q: want a repository with its host and without tag or digest, such as registry.example/app", image)
	}
	d.want(len(s.Signers.Signature) > 0, "signers.signature", "want at least one key; an image that nobody may sign can't be released")
	d.want(len(s.Environments) > 0, "environments", "want at least one environment")
}

func (d *document) validateEnvironment(path, name string, e environment, s service) {
	d.want(signals.ValidName(name), path, "%q: want lower case letters, digits and dashes, at most 63", name)
	if e.Tier == nil || *e.Tier < 0 || *e.Tier > maxTier {
		d.fault(path+".tier", "want 0 (internal), 1 (customer-facing) or 2 (regulated)")
		return
	}
	tier := *e.Tier
	d.validateTarget(path+".target", e.Target)
	d.validateWindow(path+".baseline", e.Baseline)
	d.validateSteps(path+".steps", e.Steps)
	d.validateWindow(path+".bake", e.Bake)
	d.validateQuorum(path+".approval", e.Approval, tier)
	d.validateLimits(path+".limits", e.Limits, e.Approval)
	d.validateChecks(path+".checks", e.Checks)
	if e.Roles != nil {
		d.validateRoles(path+".roles", *e.Roles)
	}
	if e.Notify != nil {
		d.validateNotify(path+".notify", *e.Notify, e.Limits)
	}
	if e.BreakGlass != nil {
		d.validateBreakGlass(path+".breakGlass", *e.BreakGlass, e.Limits)
	}
	if tier >= 1 {
		d.want(len(e.Checks) > 0, path+".checks", "tier %d wants at least one check; without one no canary could ever be found bad", tier)
		d.want(len(s.Signers.Provenance) > 0, "signers.provenance", "%s is of tier %d and wants a key that provenance is signed with", name, tier)
		d.want(len(s.Signers.Tests) > 0, "signers.tests", "%s is of tier %d and wants a key that test results are signed with", name, tier)
		d.want(s.Builder != "", "builder", "%s is of tier %d and wants the builder id that provenance must name", name, tier)
	}
	if tier >= 2 {
		d.want(len(s.Signers.Source) > 0, "signers.source", "%s is of tier %d and wants a key that source attestations are signed with; nobody could be kept from approving their own change", name, tier)
	}
}

func (d *document) validateTarget(path string, t signals.Target) {
	for _, field := range []struct{ name, value string }{
		{"cluster", t.Cluster},
		{"namespace", t.Namespace},
		{"stable", t.Stable},
		{"canary", t.Canary},
		{"container", t.Container},
		{"route", t.Route},
	} {
		d.want(signals.ValidName(field.value), path+"."+field.name, "%q: want a Kubernetes name (lower case letters, digits, dashes)", field.value)
	}
	d.want(t.Stable != t.Canary || t.Stable == "", path+".canary", "%q: want another Deployment than stable", t.Canary)
	d.want(t.Port >= 1 && t.Port <= 65535, path+".port", "%d: want the Services' port, 1 to 65535", t.Port)
	d.want(t.CanaryReplicas >= 1, path+".canaryReplicas", "%d: want at least 1 pod", t.CanaryReplicas)
	d.want(t.ReadyWithin > 0, path+".readyWithin", "%s: want how long a rollout may take, such as 5m", t.ReadyWithin)
}

func (d *document) validateWindow(path string, w signals.Window) {
	if w.Duration <= 0 {
		d.fault(path+".duration", "%s: want how long to watch, such as 10m; a window of no length judges nothing", w.Duration)
		return
	}
	if w.Interval <= 0 {
		d.fault(path+".interval", "%s: want the time between two samples, such as 30s", w.Interval)
		return
	}
	d.want(w.Interval <= w.Duration, path+".interval", "%s: want at most the window's duration, %s", w.Interval, w.Duration)
	samples := int64(w.Duration / w.Interval)
	d.want(samples <= maxSamples, path+".interval", "%s: makes %d samples in %s; want at most %d", w.Interval, samples, w.Duration, maxSamples)
	d.want(w.WarmUp >= 0, path+".warmUp", "%s: want no negative time", w.WarmUp)
	d.want(w.WarmUp <= 0 || w.WarmUp+w.Interval <= w.Duration || w.Interval > w.Duration, path+".warmUp", "%s: leaves less than one sample of %s in %s", w.WarmUp, w.Interval, w.Duration)
	d.want(w.Extensions >= 0 && w.Extensions <= maxExtensions, path+".extensions", "%d: want 0 to %d", w.Extensions, maxExtensions)
}

func (d *document) validateSteps(path string, steps []signals.Step) {
	if len(steps) == 0 {
		d.fault(path, "want at least a canary step and one with weight 100")
		return
	}
	last := signals.Step{Phase: signals.Canary}
	for i, step := range steps {
		at := indexed(path, i)
		switch {
		case step.Phase != signals.Canary && step.Phase != signals.Ramp:
			d.fault(at+".phase", "%q: want canary or ramp", step.Phase)
		case i == 0 && step.Phase != signals.Canary:
			d.fault(at+".phase", "%q: the first step is the canary; want phase canary", step.Phase)
		case last.Phase == signals.Ramp && step.Phase == signals.Canary:
			d.fault(at+".phase", "canary after ramp; want the canary steps first")
		}
		if step.Weight < 1 || step.Weight > 100 {
			d.fault(at+".weight", "%d: want a percentage, 1 to 100", step.Weight)
		} else {
			d.want(step.Weight > last.Weight, at+".weight", "%d: want more than the step before, which has %d", step.Weight, last.Weight)
		}
		d.validateWindow(at+".window", step.Window)
		last = step
	}
	d.want(last.Weight == 100, indexed(path, len(steps)-1)+".weight", "%d: the last step must carry all traffic; want 100", last.Weight)
}

// want notes a fault at path unless ok.
func (d *document) want(ok bool, path, format string, args ...any) {
	if !ok {
		d.fault(path, format, args...)
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.ContainsAny(text, " \t")
}
