// Package objectlock holds what a bucket for evidence is set up with: its policy
// and its default retention. The files without "local" in their name are for
// AWS; the local server knows fewer conditions.
package objectlock

import (
	_ "embed"
	"strings"
)

//go:embed bucket-policy.json
var policy string

//go:embed bucket-policy.local.json
var localPolicy string

// LocalRetention is the default retention of the local stack's bucket: a day.
//
//go:embed default-retention.local.json
var LocalRetention []byte

// Retention is the default retention for AWS: seven years.
//
//go:embed default-retention.json
var Retention []byte

// Policy is the bucket policy for AWS; notary and auditor are role ARNs.
func Policy(bucket, notary, auditor string) []byte { return fill(policy, bucket, notary, auditor) }

// LocalPolicy is the bucket policy for a local server; notary and auditor are
// access keys.
func LocalPolicy(bucket, notary, auditor string) []byte {
	return fill(localPolicy, bucket, notary, auditor)
}

func fill(text, bucket, notary, auditor string) []byte {
	return []byte(strings.NewReplacer("{{BUCKET}}", bucket, "{{NOTARY}}", notary, "{{AUDITOR}}", auditor).Replace(text))
}
