package objectlock_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/deploy/objectlock"
)

type statement struct {
	Sid, Effect string
	Action      any
	Condition   map[string]map[string]string
}

func statements(t *testing.T, policy []byte) map[string]statement {
	t.Helper()
	require.NotContains(t, string(policy), "{{")
	var document struct {
		Version   string
		Statement []statement
	}
	require.NoError(t, json.Unmarshal(policy, &document))
	require.Equal(t, "2012-10-17", document.Version)
	all := map[string]statement{}
	for _, s := range document.Statement {
		all[s.Sid] = s
	}
	return all
}

// TestPolicyForAWS holds the parts of the policy that no local server knows.
func TestPolicyForAWS(t *testing.T) {
	all := statements(t, objectlock.Policy("papers", "arn:aws:iam::111122223333:role/notary", "arn:aws:iam::111122223333:role/auditor"))
	for sid, condition := range map[string]map[string]map[string]string{
		"NobodyDeletes":           nil,
		"NobodyWritesOverARecord": {"Null": {"s3:if-none-match": "true"}},
		"NobodyWritesUnlocked":    {"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}},
		"NobodyShortensRetention": {"NumericLessThan": {"s3:object-lock-remaining-retention-days": "365"}},
		"OverTLSOnly":             {"Bool": {"aws:SecureTransport": "false"}},
	} {
		require.Equal(t, "Deny", all[sid].Effect, sid)
		require.Equal(t, condition, all[sid].Condition, sid)
	}
	require.Equal(t, []any{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}, all["NobodyDeletes"].Action)
	require.Equal(t, "Deny", statements(t, objectlock.LocalPolicy("papers", "notary", "auditor"))["NobodyDeletes"].Effect)
}
