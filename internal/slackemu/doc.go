// Package slackemu is a Slack workspace to develop and test against: the Web API
// in the shapes that Slack answers in, callbacks signed as Slack signs them,
// Socket Mode, and a page where a person reads messages and clicks buttons. One
// app is installed in it, Waybill's.
//
// slack-go's own test server, slacktest, answers a dozen methods with fixed
// texts: it keeps no messages (there is no chat.update, no history, no thread),
// checks no token, opens no modal, calls nobody back and never fails. What it
// does have beyond that, the upgrade to a WebSocket, is used here for Socket
// Mode; blocks, metadata and users are slack-go's own types.
//
// The emulator refuses what Slack refuses, above all blocks that break a limit
// (a header of more than 150 characters, a modal's title of more than 24), since
// such a message would be lost in a real workspace. Slack's own failures are
// made by Faults.
package slackemu
