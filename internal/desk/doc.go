// Package desk is where people's and machines' requests, decisions and commands
// become signed statements and reach Temporal, by whichever way they came: the
// HTTP API, the page of the gateway, Slack. It decides nothing that a release
// decides; it authorises operators, signs, delivers, and hands what was refused
// to the journal.
package desk
