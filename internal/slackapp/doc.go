// Package slackapp is Waybill's app in Slack. A Messenger, in the worker, keeps
// one message per release up to date and tells what happens in its thread. An
// App, in the gateway, takes clicks, modals and slash commands, by HTTP or by
// Socket Mode, finds out who is behind a member of the workspace, and hands
// decisions to the desk, which signs them for the release to judge.
//
// What comes from outside is shown as code, as a quotation or escaped, so that
// no reason, ticket or name can pose as the app's own words, mention anybody or
// link anywhere.
package slackapp
