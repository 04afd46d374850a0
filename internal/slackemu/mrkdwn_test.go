package slackemu

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func names(id string) string { return map[string]string{"U1": "release-lead", "C1": "releases"}[id] }

func TestMrkdwn(t *testing.T) {
	for text, want := range map[string]string{
		"*bold* _em_ ~gone~":                  "<strong>bold</strong> <em>em</em> <s>gone</s>",
		"`a*b*` and ```x\n<y>```":             "<code>a*b*</code> and <pre>x\n&lt;y&gt;</pre>",
		"<https://x.example/a?b=1&amp;c|see>": `<a href="https://x.example/a?b=1&amp;c" target="_blank" rel="noopener">see</a>`,
		"<@U1> in <#C1>, <!here>":             `<span class="mention">@release-lead</span> in <span class="mention">#releases</span>, <span class="mention">@here</span>`,
		"a &lt;script&gt; &amp; b":            "a &lt;script&gt; &amp; b",
		"&gt; quoted\nplain\nmore":            "<blockquote>quoted</blockquote>plain<br>more",
		":white_check_mark: :no_such_sign:":   `<span class="emoji good" title=":white_check_mark:">✔</span> :no_such_sign:`,
		"<javascript:alert(1)|x>":             "&lt;javascript:alert(1)|x&gt;",
		"a_b_c 2*3*4":                         "a_b_c 2*3*4",
		"<!date^0^{date_num}|then>":           "1970-01-01",
		"<!date^x^{date_num}|then>":           "then",
	} {
		require.Equal(t, want, string(mrkdwn(text, names)), text)
	}
}

var ourTags = regexp.MustCompile(`</?(strong|em|s|code|pre|blockquote)>|<br>|<a href="[^"<>]*" target="_blank" rel="noopener">|</a>|<span class="mention">|<span class="emoji [a-z]+" title=":[a-z_]+:">|</span>`)

// Whatever a message says, no markup but ours reaches the page.
func TestMrkdwnBringsNoMarkupOfItsOwn(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			"<", ">", "&", "&lt;", "*", "_", "~", "`", "```", "\n", "|", "@U1", "#", "!", "https://x.example/\"><b>", "javascript:x", "script", " ", "\"", "'", "\x00", "0", ":x:",
		})).Draw(r, "text"), "")
		rest := ourTags.ReplaceAllString(string(mrkdwn(text, names)), "")
		require.NotContains(r, rest, "<", text)
		require.NotContains(r, rest, ">", text)
		require.NotContains(r, rest, "\x00", text)
	})
}
