package catalog

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/waybill-dev/waybill/signals"
)

// sample stands in for a real window when a query template is tried.
var sample = struct {
	Service, Environment, Namespace, Workload, Track, Digest, Window string
}{"service", "environment", "namespace", "workload", signals.TrackCanary, "sha256:0", "30s"}

const variables = "{{.Service}}, {{.Environment}}, {{.Namespace}}, {{.Workload}}, {{.Track}}, {{.Digest}}, {{.Window}}"

func (d *document) validateChecks(path string, checks []signals.Check) {
	seen := map[string]bool{}
	for i, c := range checks {
		at := indexed(path, i)
		d.want(signals.ValidName(c.Name), at+".name", "%q: want lower case letters, digits and dashes, at most 63", c.Name)
		d.want(!seen[c.Name], at+".name", "%q stands twice; give each check its own name", c.Name)
		seen[c.Name] = true
		switch c.Kind {
		case signals.ErrorRatio, signals.Latency, signals.Saturation, signals.Domain, signals.Availability:
		default:
			d.fault(at+".kind", "%q: want error-ratio, latency, saturation, domain or availability", c.Kind)
		}
		d.validateQuery(at+".query", c.Query)
		d.validateQuery(at+".samples", c.Samples)
		d.validateBounds(at, c)
		d.want(c.MinSamples > 0, at+".minSamples", "%v: want how many samples make an answer, more than 0", c.MinSamples)
		d.validateConsequence(at+".onInsufficient", c.OnInsufficient)
		d.validateConsequence(at+".onOutage", c.OnOutage)
	}
}

func (d *document) validateQuery(path, text string) {
	query, err := render(text)
	switch {
	case strings.TrimSpace(text) == "":
		d.fault(path, "want a PromQL template")
		return
	case err != nil:
		d.fault(path, "%w; known variables: %s", err, variables)
		return
	}
	if _, err := parser.ParseExpr(query); err != nil {
		d.fault(path, "not PromQL: %w, in %s", err, query)
	}
}

// render fills the template with stand-ins.
func render(text string) (string, error) {
	t, err := template.New("query").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, sample)
	return out.String(), err
}

// validateBounds refuses thresholds that nothing or everything would meet.
func (d *document) validateBounds(path string, c signals.Check) {
	d.want(c.Max != nil || c.Min != nil || c.Versus != nil, path, "want a bound: max, min or versusStable")
	d.validateBound(path+".max", c.Kind, c.Max)
	d.validateBound(path+".min", c.Kind, c.Min)
	if c.Max != nil && c.Min != nil {
		d.want(*c.Min <= *c.Max, path+".min", "%v: above max %v; nothing could pass", *c.Min, *c.Max)
	}
	if c.Max != nil && *c.Max == 0 && (c.Kind == signals.Latency || c.Kind == signals.Saturation) {
		d.fault(path+".max", "0: no %s is 0, so nothing could pass", c.Kind)
	}
	if v := c.Versus; v != nil {
		d.validateVersus(path+".versusStable", *v)
	}
}

func (d *document) validateBound(path string, kind signals.CheckKind, bound *float64) {
	if bound == nil {
		return
	}
	switch kind {
	case signals.ErrorRatio, signals.Availability:
		d.want(*bound >= 0 && *bound <= 1, path, "%v: want a ratio, 0 to 1", *bound)
	case signals.Latency, signals.Saturation:
		d.want(*bound >= 0, path, "%v: want no negative number", *bound)
	case signals.Domain:
		// A domain signal may be of any size and sign.
	}
}

func (d *document) validateVersus(path string, v signals.Versus) {
	d.want(v.MaxRatio != nil || v.MinRatio != nil, path, "want maxRatio or minRatio")
	d.want(v.MaxRatio == nil || *v.MaxRatio > 0, path+".maxRatio", "want a number above 0")
	d.want(v.MinRatio == nil || *v.MinRatio > 0, path+".minRatio", "want a number above 0")
	d.want(v.MaxRatio == nil || v.MinRatio == nil || *v.MinRatio <= *v.MaxRatio, path+".minRatio", "above maxRatio; nothing could pass")
	d.want(v.Slack >= 0, path+".slack", "%v: want no negative number", v.Slack)
}

func (d *document) validateConsequence(path string, c signals.Consequence) {
	d.want(c == signals.RollBack || c == signals.Hold, path, "%q: want rollback or hold; not knowing is never a pass", c)
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
