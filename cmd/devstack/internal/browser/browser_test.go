package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

const page = `<!doctype html><title>x</title><style>p{}</style><h1>Decide  on <em>r-1</em></h1>
<form method="post" action="/other"><input name="q"><button>Search</button></form>
<form method="post"><input type="hidden" name="token" value="t-1"><textarea name="reason"> draft </textarea>
<select name="as"><option>lead</option><option>risk</option></select>
<button name="decision" value="approve">Approve</button><button name="decision" value="deny">Deny</button></form>`

func TestFormsAreFilledInAndSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /start":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "s-1", Path: "/"})
			http.Redirect(w, r, "/decide", http.StatusFound)
		case "GET /decide":
			fmt.Fprint(w, page)
		case "POST /decide":
			cookie, err := r.Cookie("session")
			if err != nil || r.ParseForm() != nil {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, "<h1>%s</h1><p>%s</p>", cookie.Value, r.PostForm.Encode())
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<p>nothing here</p>")
		}
	}))
	defer server.Close()
	b, err := New()
	require.NoError(t, err)
	require.ErrorContains(t, b.Press(t.Context(), "Approve", nil), "no page is open")
	require.NoError(t, b.Open(t.Context(), server.URL+"/start"))
	require.Equal(t, "/decide", b.At().Path)
	require.Equal(t, "Decide on r-1", b.Heading())
	require.ErrorContains(t, b.Press(t.Context(), "Withdraw", nil), `has no button "Withdraw"; it says: Decide on r-1`)
	require.ErrorContains(t, b.Press(t.Context(), "Deny", map[string]string{"why": "x"}), `no field "why"`)
	require.NoError(t, b.Press(t.Context(), "Approve", map[string]string{"reason": "read & understood"}))
	require.Equal(t, "s-1", b.Heading())
	require.Equal(t, "s-1 as=lead&decision=approve&reason=read+%26+understood&token=t-1", b.Text())
	require.ErrorContains(t, b.Open(t.Context(), server.URL+"/nowhere"), "404 Not Found: nothing here")
}

// The issuer's login page is what the demo meets on its way.
func TestLoginAtTheIssuer(t *testing.T) {
	issuer, err := oidcissuer.Start("127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, issuer.Close()) }()
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<h1>%s</h1>", r.FormValue("state"))
	}))
	defer gateway.Close()
	query := url.Values{
		"client_id": {oidcissuer.WebClientID}, "redirect_uri": {gateway.URL + oidcissuer.WebRedirectPath}, "response_type": {"code"},
		"scope": {"openid"}, "state": {"st-1"}, "acr_values": {oidcissuer.ACRMFA}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}
	b, err := New()
	require.NoError(t, err)
	require.NoError(t, b.Open(t.Context(), issuer.URL+"/authorize?"+query.Encode()))
	require.Equal(t, "Log in", b.Heading())
	code, err := issuer.Code("risk-officer")
	require.NoError(t, err)
	require.NoError(t, b.Press(t.Context(), "Log in", map[string]string{
		"account": "risk-officer", "password": issuer.Password("risk-officer"), "code": code,
	}))
	require.Equal(t, "st-1", b.Heading())
}
