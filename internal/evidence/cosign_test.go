package evidence_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/internal/testtools"
	"github.com/waybill-dev/waybill/signals"
)

// cosign is the real command line tool, built by the project's own script.
func cosign(t *testing.T) string {
	t.Helper()
	path, err := testtools.Tool(t.Context(), "cosign")
	require.NoError(t, err)
	return path
}

// TestCosignVerifiesEveryKind: a tool that knows nothing of Waybill accepts each
// kind of record with the public key alone, and without a network.
func TestCosignVerifiesEveryKind(t *testing.T) {
	tool := cosign(t)
	b := newBucket(t)
	dir := t.TempDir()
	evidencetest.Write(t, dir, "evidence-1.pub", []byte(b.signer.Public().PEM))
	evidencetest.Write(t, dir, "stranger.pub", []byte(b.stranger.Public().PEM))
	command := b.after(b.releases[0][0])
	command.Kind = signals.RecordCommand
	records := evidencetest.Papers{evidencetest.SealOne(t, b.signer, command), evidencetest.SealOne(t, b.signer, b.after(b.releases[0][0]))}
	for kind, predicate := range people() {
		in := b.after(b.releases[0][0])
		in.Kind, in.Predicate = kind, evidencetest.Predicate(t, predicate)
		records = append(records, evidencetest.SealOne(t, b.signer, in))
	}
	records = append(records, b.releases[1]...)
	kinds := map[signals.RecordKind]bool{}
	verify := func(record, key, predicateType string) (string, error) {
		cmd := exec.CommandContext(t.Context(), tool, "verify-blob-attestation",
			"--key", filepath.Join(dir, key), "--signature", filepath.Join(dir, record), "--type", predicateType,
			"--insecure-ignore-tlog", "--digest", strings.TrimPrefix(subject(b, record, records), "sha256:"), "--digestAlg", "sha256")
		// An empty home and a proxy that is not there: nothing can be fetched.
		cmd.Env = append(os.Environ(), "HOME="+dir, "TUF_ROOT="+filepath.Join(dir, "tuf"), "HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1")
		started := time.Now()
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %s", record, time.Since(started).Round(time.Millisecond))
		return string(out), err
	}
	for _, r := range records {
		if kinds[r.Ref.Kind] {
			continue
		}
		kinds[r.Ref.Kind] = true
		name := string(r.Ref.Kind) + ".json"
		evidencetest.Write(t, dir, name, r.Body)
		out, err := verify(name, "evidence-1.pub", r.Ref.Kind.PredicateType())
		require.NoError(t, err, out)
		require.Contains(t, out, "Verified OK")
	}
	require.Len(t, kinds, 15, "one record of each kind")
	out, err := verify("plan.json", "stranger.pub", signals.RecordPlan.PredicateType())
	require.Error(t, err, out)
	out, err = verify("plan.json", "evidence-1.pub", signals.RecordPermit.PredicateType())
	require.Error(t, err, out)
}

func subject(b *bucket, name string, records evidencetest.Papers) string {
	for _, r := range records {
		if string(r.Ref.Kind)+".json" == name {
			_, payload, err := evidence.Unseal(r.Body)
			require.NoError(b.t, err)
			s, _, err := evidence.ParseStatement(payload)
			require.NoError(b.t, err)
			return s.Subject[0].Digest["sha256"]
		}
	}
	return ""
}
