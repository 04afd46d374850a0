// Package workflows holds the two workflows of Waybill: Release, which takes
// one image to one environment of one service, and Lane, which lets one release
// at a time do so.
//
// release.go reads as the process, top to bottom. The other files are its
// parts: steps.go and delivery.go the single phases, compensation.go the way
// back, papers.go the evidence, messages.go and approval.go what people send,
// view.go what on-call reads. Everything here is replayed: no clock, no random
// number, no network but through Temporal, and no decision that is not a pure
// function of what was recorded.
package workflows
