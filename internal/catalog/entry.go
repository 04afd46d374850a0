package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/signals"
)

// Entry is one service in one environment, complete and valid. Trust holds the
// signers of the service's images and the builder; the gateway's and the
// evidence keys are not the catalog's to say.
type Entry struct {
	Service     string
	Environment string
	Tier        int
	Owner       string
	Runbook     string
	Source      string
	Images      []string
	Target      signals.Target
	Baseline    signals.Window
	Steps       []signals.Step
	Bake        signals.Window
	Checks      []signals.Check
	Approval    signals.Quorum
	Limits      signals.Limits
	Trust       signals.Trust
	// Roles, Notify and BreakGlass are nil if the catalog leaves them out.
	Roles      *signals.Roles
	Notify     *signals.Notify
	BreakGlass *BreakGlass
	// ConfigAuthors changed the entry's file or its signers' keys, as far as an
	// authors file says so.
	ConfigAuthors []signals.Contributor
	// Catalog is the digest of the catalog that the entry is from.
	Catalog string
}

// BreakGlass is how an emergency is released: who approves it in how much time,
// the shorter course, and when its review is due.
type BreakGlass struct {
	Approval     signals.Quorum   `json:"approval"`
	Limits       BreakGlassLimits `json:"limits"`
	Baseline     signals.Window   `json:"baseline"`
	Steps        []signals.Step   `json:"steps"`
	Bake         signals.Window   `json:"bake"`
	ReviewWithin signals.Duration `json:"reviewWithin"`
}

// BreakGlassLimits bounds the wait for approvals in an emergency.
type BreakGlassLimits struct {
	Approval signals.Duration `json:"approval"`
}

// Catalog is a set of valid entries and the digest of the text they came from.
type Catalog struct {
	entries map[string]map[string]Entry // by service, environment
	digest  string
}

// Digest is "sha256:<hex>" over the names and contents of the catalog's files
// and the signers' keys.
func (c *Catalog) Digest() string { return c.digest }

// Entries lists all entries by service and environment.
func (c *Catalog) Entries() []Entry {
	var all []Entry
	for _, service := range slices.Sorted(maps.Keys(c.entries)) {
		for _, environment := range slices.Sorted(maps.Keys(c.entries[service])) {
			entry := c.entries[service][environment]
			entry.Catalog = c.digest
			all = append(all, entry)
		}
	}
	return all
}

// Entry returns the entry of a service in an environment. The error names what
// is known instead, and is the requester's to mend (its BadRequest is true).
func (c *Catalog) Entry(service, environment string) (Entry, error) {
	environments, ok := c.entries[service]
	if !ok {
		return Entry{}, unknown(fmt.Sprintf("unknown service %q; %s", service, suggest(service, slices.Collect(maps.Keys(c.entries)))))
	}
	entry, ok := environments[environment]
	if !ok {
		return Entry{}, unknown(fmt.Sprintf("service %q has no environment %q; %s", service, environment, suggest(environment, slices.Collect(maps.Keys(environments)))))
	}
	entry.Catalog = c.digest
	return entry, nil
}

// unknown is a request for something that the catalog doesn't have.
type unknown string

func (u unknown) Error() string { return string(u) }

// BadRequest tells that the request must change.
func (u unknown) BadRequest() bool { return true }
