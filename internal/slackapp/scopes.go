package slackapp

// scopes is every method of Slack's Web API that the app calls, with the bot
// scopes that it takes. The app's manifest asks for exactly these, besides
// "commands" for the slash command. apps.connections.open takes the app-level
// token's connections:write, which no manifest can grant.
var scopes = map[string][]string{
	"auth.test":                    nil,
	"chat.getPermalink":            nil,
	"chat.postMessage":             {"chat:write"},
	"chat.update":                  {"chat:write"},
	"conversations.history":        {"channels:history", "groups:history"},
	"conversations.list":           {"channels:read", "groups:read"},
	"conversations.replies":        {"channels:history", "groups:history", "files:read"},
	"files.completeUploadExternal": {"files:write"},
	"files.getUploadURLExternal":   {"files:write"},
	"users.info":                   {"users:read", "users:read.email"},
	"views.open":                   nil,
	"apps.connections.open":        nil,
}

// scopeCommands lets the app have a slash command.
const scopeCommands = "commands"
