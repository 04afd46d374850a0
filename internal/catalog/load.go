package catalog

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// service is the shape of a catalog file.
type service struct {
	Service      string                 `json:"service"`
	Owner        string                 `json:"owner"`
	Runbook      string                 `json:"runbook"`
	Source       string                 `json:"source"`
	Images       []string               `json:"images"`
	Signers      signers                `json:"signers"`
	Builder      string                 `json:"builder"`
	Environments map[string]environment `json:"environments"`
}

// signers are whose keys count for which kind of paper.
type signers struct {
	Signature       []signer `json:"signature"`
	Provenance      []signer `json:"provenance"`
	Tests           []signer `json:"tests"`
	Source          []signer `json:"source"`
	Vulnerabilities []signer `json:"vulnerabilities"`
}

// signerSet is one kind of paper and whose keys count for it.
type signerSet struct {
	name    string
	signers []signer
}

// sets lists all kinds by the name of their field.
func (s signers) sets() []signerSet {
	return []signerSet{
		{"signature", s.Signature}, {"provenance", s.Provenance}, {"tests", s.Tests},
		{"source", s.Source}, {"vulnerabilities", s.Vulnerabilities},
	}
}

// signer is a public key in a file, named relative to the catalog file.
type signer struct {
	ID        string    `json:"id"`
	PublicKey string    `json:"publicKey"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

type environment struct {
	Tier       *int            `json:"tier"`
	Target     signals.Target  `json:"target"`
	Baseline   signals.Window  `json:"baseline"`
	Steps      []signals.Step  `json:"steps"`
	Bake       signals.Window  `json:"bake"`
	Approval   signals.Quorum  `json:"approval"`
	Limits     signals.Limits  `json:"limits"`
	Checks     []signals.Check `json:"checks"`
	Roles      *signals.Roles  `json:"roles"`
	Notify     *signals.Notify `json:"notify"`
	BreakGlass *BreakGlass     `json:"breakGlass"`
}

// loader gathers what is read and what is wrong with it.
type loader struct {
	catalog *Catalog
	hashed  strings.Builder
	faults  []error
	authors *Authors          // nil if nobody wrote them down
	targets map[string]string // who releases to a Deployment
}

// Load reads every .yaml file in dir. The error joins all faults of all files,
// each with file, line and field and what to write instead.
func Load(dir string) (*Catalog, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("catalog %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("catalog %s: no .yaml files there; write one <service>.yaml per service", dir)
	}
	l := &loader{catalog: &Catalog{entries: map[string]map[string]Entry{}}, targets: map[string]string{}}
	l.readAuthors(dir)
	for _, path := range paths {
		l.file(path)
	}
	l.catalog.digest = signals.Digest([]byte(l.hashed.String()))
	return l.catalog, errors.Join(l.faults...)
}

// file reads one service. Glob sorts, so the order of files is fixed.
func (l *loader) file(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("catalog: %w", err))
		return
	}
	name := filepath.Base(path)
	l.hash(name, content)
	var s service
	d := decodeStrict(name, content, &s)
	if len(d.faults) == 0 {
		d.validateService(name, s)
		trust, files := d.keys(filepath.Dir(path), s)
		for _, key := range files {
			l.hash(name+" key", key)
		}
		l.add(d, s, trust, l.authorsOf(d, s))
	}
	l.faults = append(l.faults, d.faults...)
}

// hash adds one file to the digest, its length first, so that no two sets of
// files run together to the same bytes.
func (l *loader) hash(name string, content []byte) {
	fmt.Fprintf(&l.hashed, "%s %d\n%s\n", name, len(content), content)
}

// add makes the service's entries and watches that no two of them change the
// same Deployment.
func (l *loader) add(d *document, s service, trust signals.Trust, authors []signals.Contributor) {
	entries := map[string]Entry{}
	for _, name := range slices.Sorted(maps.Keys(s.Environments)) {
		e := s.Environments[name]
		path := "environments." + name
		d.validateEnvironment(path, name, e, s)
		lane := name + "/" + s.Service
		for _, deployment := range []string{e.Target.Stable, e.Target.Canary} {
			key := strings.Join([]string{e.Target.Cluster, e.Target.Namespace, deployment}, "/")
			if other, taken := l.targets[key]; taken && other != lane {
				d.fault(path+".target", "the Deployment %s is %s's already; two lanes may not change one Deployment", key, other)
			}
			l.targets[key] = lane
		}
		tier := 0
		if e.Tier != nil {
			tier = *e.Tier
		}
		entries[name] = Entry{
			Service: s.Service, Environment: name, Tier: tier, Owner: s.Owner, Runbook: s.Runbook, Source: s.Source, Images: s.Images,
			Target: e.Target, Baseline: e.Baseline, Steps: e.Steps, Bake: e.Bake, Checks: e.Checks,
			Approval: e.Approval, Limits: e.Limits, Trust: trust,
			Roles: e.Roles, Notify: e.Notify, BreakGlass: e.BreakGlass, ConfigAuthors: authors,
		}
	}
	l.catalog.entries[s.Service] = entries
}
