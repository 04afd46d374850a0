package slackemu_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

// browser keeps cookies and follows redirects as a browser without JavaScript.
func (b *bench) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	return &http.Client{Jar: jar}
}

func (b *bench) get(c *http.Client, path string) string {
	response, err := c.Get(b.url + path)
	require.NoError(b.t, err)
	return b.read(response)
}

func (b *bench) post(c *http.Client, path string, form url.Values) string {
	response, err := c.PostForm(b.url+path, form)
	require.NoError(b.t, err)
	return b.read(response)
}

func (b *bench) read(response *http.Response) string {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, response.StatusCode, "%s", body)
	return string(body)
}

func TestAPersonApprovesOnThePage(t *testing.T) {
	b := start(t)
	_, ts := b.ask()
	var rationale string
	b.opening(func(c slack.InteractionCallback) any {
		rationale = c.View.State.Values["rationale"]["why"].Value + " by " + c.User.Name
		return slack.NewClearViewSubmissionResponse()
	})
	c := b.browser()
	page := b.get(c, "/")
	require.Contains(t, page, "<strong>r-1</strong> waits")
	require.Contains(t, page, "data-action=\"approve\"")
	page = b.post(c, "/client/C0RELEASES/as", url.Values{"user": {"U0RELEASELEAD"}})
	require.Contains(t, page, "You are <strong>release-lead</strong>")
	page = b.post(c, "/client/C0RELEASES/click", url.Values{"ts": {ts}, "action": {"approve"}, "block": {"decide"}})
	require.Contains(t, page, "Approve r-1")
	require.NotContains(t, page, "http-equiv=\"refresh\"", "nothing takes a modal away while it is filled in")
	view := regexp.MustCompile(`/view/(V[0-9A-F]+)/submit`).FindStringSubmatch(page)[1]
	require.NotContains(t, b.get(b.browser(), "/client/C0RELEASES"), "/submit", "a modal is seen by its user only")

	page = b.post(c, "/client/C0RELEASES/view/"+view+"/submit", url.Values{"input:why": {""}})
	require.Contains(t, page, "This field is required")
	page = b.post(c, "/client/C0RELEASES/view/"+view+"/submit", url.Values{"input:why": {"Read the change"}})
	require.NotContains(t, page, "/submit")
	require.Equal(t, "Read the change by release-lead", rationale)
}

func TestThePageLeadsOutWithLinkButtons(t *testing.T) {
	b := start(t)
	_, ts := b.ask()
	b.app.interaction = func(slack.InteractionCallback) (int, any) { return http.StatusOK, nil }
	c := b.browser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := c.PostForm(b.url+"/client/C0RELEASES/click", url.Values{"ts": {ts}, "action": {"open"}})
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "https://gateway.example/decide/r-1", response.Header.Get("Location"))
}

func TestAnotherSiteCanNotClick(t *testing.T) {
	b := start(t)
	_, ts := b.ask()
	b.app.interaction = func(slack.InteractionCallback) (int, any) {
		t.Error("the app was told of a click that nobody made")
		return http.StatusOK, nil
	}
	for _, path := range []string{"/client/C0RELEASES/click", "/emulator/click"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader("ts="+ts+"&action=approve"))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", "https://elsewhere.example")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusForbidden, response.StatusCode)
	}
}
