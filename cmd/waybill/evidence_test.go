package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/objectlock/s3test"
	"github.com/waybill-dev/waybill/signals"
)

// archive is a bucket with two releases, the second rolled back, and the
// auditor's copy of the public key.
type archive struct {
	t      *testing.T
	keys   string
	bucket []string // flags that name it
	papers []evidencetest.Papers
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	t.Setenv("WAYBILL_BUCKET", "")
	t.Setenv("WAYBILL_EVIDENCE_KEYS", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	signer, _ := evidencetest.Signer(t, "evidence-1")
	server := s3test.Start(t)
	s3test.As(t, s3test.Owner)
	require.NoError(t, objectlock.Provision(t.Context(), server.Config("papers"), nil, nil))
	w, err := objectlock.NewWriter(t.Context(), server.Config("papers"), "COMPLIANCE")
	require.NoError(t, err)
	a := &archive{t: t, keys: filepath.Join(t.TempDir(), "evidence-1.pub"), bucket: []string{"--bucket=papers", "--endpoint=" + server.URL, "--region=us-east-1"}}
	require.NoError(t, os.WriteFile(a.keys, []byte(signer.Public().PEM), 0o600))
	var previous *signals.RecordRef
	for _, release := range []string{"r-1", "r-2"} {
		inputs, outcome := evidencetest.Tell(t, evidencetest.Scenario{
			Lane: evidence.Lane{Environment: "prod", Service: "payments-api"}, Release: release, Begin: time.Now(), Bad: release == "r-2", Gateway: signer,
		})
		papers := evidencetest.Seal(t, signer, inputs, outcome, previous)
		previous = papers.Manifest()
		for _, r := range papers {
			_, err := w.Put(t.Context(), r.Ref.Key, r.Body, time.Now().Add(time.Hour))
			require.NoError(t, err)
		}
		a.papers = append(a.papers, papers)
	}
	return a
}

// evidence runs an evidence command and returns its exit status, what it wrote,
// and what it complained of.
func (a *archive) evidence(args ...string) (status int, out, errs string) {
	a.t.Helper()
	var o, e bytes.Buffer
	status = run(a.t.Context(), append([]string{"evidence"}, args...), bytes.NewReader(nil), &o, &e)
	return status, o.String(), e.String()
}

// on adds what names the bucket and the key.
func (a *archive) on(args ...string) []string {
	return append(append(args, a.bucket...), "--keys="+a.keys)
}

func TestEvidenceCommands(t *testing.T) {
	a := newArchive(t)
	tests := []struct {
		name   string
		args   []string
		status int
		out    string
		errs   string
	}{
		{"verify", a.on("verify", "--retention=30m"), 0, "nothing altered, nothing left out", ""},
		{"verify one", a.on("verify", "r-2"), 0, "papers complete, outcome rolled-back", ""},
		{"verify longer retention", a.on("verify", "--retention=48h"), 6, "FAULT unlocked", "evidence does not verify"},
		{"verify with a remembered head", a.on("verify", "--head="+a.papers[1].Manifest().Digest), 0, "2 complete", ""},
		{"verify with a head that is gone", a.on("verify", "--head=sha256:00"), 6, "FAULT release-missing", ""},
		{"list", a.on("list"), 0, "r-1", ""},
		{"show", a.on("show", "r-1"), 0, "approve by risk-officer: no open risk on the service", ""},
		{"ask changed", a.on("ask", "changed", "r-2"), 0, evidencetest.Ticket, ""},
		{"ask approved", a.on("ask", "approved", "r-2"), 0, "load test looked fine", ""},
		{"ask tested", a.on("ask", "tested", "r-2"), 0, "signed by tests", ""},
		{"ask rolled-back", a.on("ask", "rolled-back", "r-2"), 0, "weight back to stable", ""},
		{"ask spread", a.on("ask", "spread", "r-2"), 0, "canary at 5% of the traffic", ""},
		{"cat by place", a.on("cat", "r-1/1"), 0, `"predicateType":"https://waybill.dev/attestation/request/v1"`, "signed by evidence-1"},
		{"cat by key", a.on("cat", a.papers[0][1].Ref.Key), 0, `/plan/v1"`, "signed by evidence-1"},
		{"narrowed", a.on("verify", "--environment=staging", "--service=payments-api"), 0, "0 records of 0 releases", ""},
		{"unknown release", a.on("show", "r-9"), 4, "", "no papers of release"},
		{"unknown question", a.on("ask", "why", "r-1"), 2, "", "ask one of changed, approved, tested, rolled-back, spread"},
		{"no key", append([]string{"verify"}, a.bucket...), 2, "", "no public key given"},
		{"key that is none", append(append([]string{"verify"}, a.bucket...), "--keys=/dev/null"), 2, "", "is not PEM"},
		{"no bucket", []string{"verify", "--keys=" + a.keys}, 2, "", "name the --bucket"},
		{"no such folder", []string{"verify", "--dir=/nonexistent", "--keys=" + a.keys}, 2, "", "name the folder that a bucket was copied into"},
		{"half a lane", a.on("verify", "--service=payments-api"), 2, "", "--environment and --service together"},
		{"unreachable", []string{"verify", "--bucket=papers", "--endpoint=http://127.0.0.1:1", "--region=us-east-1", "--keys=" + a.keys}, 7, "", "list versions in bucket papers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errs := a.evidence(tt.args...)
			require.Equal(t, tt.status, status, out+errs)
			require.Contains(t, out, tt.out)
			require.Contains(t, errs, tt.errs)
		})
	}
}

// TestEvidenceOffline exports the bucket, verifies the copy without a server,
// and finds what is then done to it.
func TestEvidenceOffline(t *testing.T) {
	a := newArchive(t)
	to := filepath.Join(t.TempDir(), "copy")
	status, out, errs := a.evidence(append([]string{"export", "--to", to}, a.bucket...)...)
	require.Equal(t, 0, status, errs)
	require.Contains(t, out, "objects copied")
	status, _, errs = a.evidence(append([]string{"export", "--to", to}, a.bucket...)...)
	require.Equal(t, 1, status)
	require.Contains(t, errs, "holds a copy already")

	verify := []string{"verify", "--dir=" + to, "--keys=" + a.keys, "--output=json"}
	status, out, errs = a.evidence(verify...)
	require.Equal(t, 0, status, errs)
	var report evidence.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, 2, report.Complete)
	require.True(t, report.Versioned)

	require.NoError(t, os.Remove(filepath.Join(to, a.papers[0][2].Ref.Key)))
	status, out, _ = a.evidence(verify...)
	require.Equal(t, 6, status)
	report = evidence.Report{}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, map[evidence.FaultKind]int{evidence.RecordDropped: 1}, report.ByKind)
	status, out, _ = a.evidence("ask", "changed", "r-1", "--dir="+to, "--keys="+a.keys)
	require.Equal(t, 6, status, "an answer from papers with a fault says so")
	require.Contains(t, out, "FAULT record-dropped")
}
