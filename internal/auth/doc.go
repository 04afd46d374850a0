// Package auth is where people and machines become known and where what they
// ask for becomes proof: it verifies bearer tokens of OpenID Connect issuers,
// and signs requests, approvals and commands as DSSE envelopes with the
// gateway's key. Workflows verify those envelopes with signals.Envelope.Open.
package auth
