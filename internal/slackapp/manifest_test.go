package slackapp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func manifest(t *testing.T, name string) slack.Manifest {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "slack", name))
	require.NoError(t, err)
	var m slack.Manifest
	require.NoError(t, yaml.UnmarshalStrict(raw, &m), "every field is one of Slack's")
	return m
}

// The limits are those of Slack's manifest reference.
func TestTheManifestAsksForExactlyWhatIsUsed(t *testing.T) {
	used := map[string]bool{scopeCommands: true}
	for _, list := range scopes {
		for _, s := range list {
			used[s] = true
		}
	}
	for _, name := range []string{"manifest.yaml", "manifest-socket.yaml"} {
		m := manifest(t, name)
		assert.Equal(t, slices.Sorted(maps.Keys(used)), m.OAuthConfig.Scopes.Bot, name)
		assert.Empty(t, m.OAuthConfig.Scopes.User, "nobody lends the app their own rights")
		assert.True(t, m.Settings.Interactivity.IsEnabled)
		assert.LessOrEqual(t, len(m.Display.Name), 35)
		assert.LessOrEqual(t, len(m.Display.Description), 140)
		assert.GreaterOrEqual(t, len(m.Display.LongDescription), 174)
		require.Len(t, m.Features.SlashCommands, 1)
		assert.Equal(t, "/waybill", m.Features.SlashCommands[0].Command)
		assert.Equal(t, name == "manifest-socket.yaml", m.Settings.SocketModeEnabled)
	}
	over, socket := manifest(t, "manifest.yaml"), manifest(t, "manifest-socket.yaml")
	assert.True(t, strings.HasSuffix(over.Settings.Interactivity.RequestUrl, "/slack/interactions"))
	assert.True(t, strings.HasSuffix(over.Features.SlashCommands[0].Url, "/slack/commands"))
	assert.Empty(t, socket.Settings.Interactivity.RequestUrl)
	assert.Empty(t, socket.Features.SlashCommands[0].Url)
	over.Settings.SocketModeEnabled, over.Settings.Interactivity.RequestUrl, over.Features.SlashCommands[0].Url = true, "", ""
	assert.Equal(t, over, socket, "the two differ in how requests come in, and in nothing else")
}

// calls are the Slack client's functions that the app uses, by the method that
// each of them calls.
var calls = map[string]string{
	"AuthTestContext": "auth.test", "UpdateMessageContext": "chat.update", "PostMessageContext": "chat.postMessage",
	"GetPermalinkContext": "chat.getPermalink", "GetConversationsContext": "conversations.list",
	"GetConversationHistoryContext": "conversations.history", "GetConversationRepliesContext": "conversations.replies",
	"GetUploadURLExternalContext": "files.getUploadURLExternal", "CompleteUploadExternalContext": "files.completeUploadExternal",
	"GetUserInfoContext": "users.info", "OpenViewContext": "views.open",
	"UploadToURL": methodUpload, // no method of the API
}

// TestTheScopesCoverEveryCall reads the package's own code: a call that isn't
// among the scopes would fail in a real workspace only.
func TestTheScopesCoverEveryCall(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	seen := map[string]bool{"apps.connections.open": true} // the library's, by Socket Mode
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if client, ok := call.X.(*ast.SelectorExpr); ok && client.Sel.Name == "api" {
				method, known := calls[call.Sel.Name]
				assert.True(t, known, "%s calls %s, which is not among the calls here", name, call.Sel.Name)
				seen[method] = true
			}
			return true
		})
	}
	delete(seen, methodUpload)
	assert.Equal(t, slices.Sorted(maps.Keys(scopes)), slices.Sorted(maps.Keys(seen)))
}

func TestThePageSaysWhatToDoAboutEachError(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "slack.md"))
	require.NoError(t, err)
	for code := range remedies {
		assert.Contains(t, string(page), "`"+code+"`")
	}
	for scope := range maps.Values(scopes) {
		for _, s := range scope {
			assert.Contains(t, string(page), "`"+s+"`")
		}
	}
}
