package oidcissuer

import (
	"html/template"
	"net/http"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	loginPath  = "/login"
	devicePath = "/device"
)

// page is the one form there is: for a browser's login, or for a device's.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Waybill, local stack</title>
<style>body{font:16px/1.5 sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}
label{display:block;margin:.8rem 0}input,select{width:100%;font:inherit;padding:.3rem}.fault{color:#a00}</style></head>
<body><h1>Log in</h1>
{{with .Fault}}<p class="fault" role="alert">{{.}}</p>{{end}}
<p>The accounts are the roles of the local stack. <code>devstack token ACCOUNT</code> logs in without this page.</p>
<form method="post">
{{if .Device}}<label>Code shown by the tool <input name="user_code" value="{{.UserCode}}" autocomplete="off" required></label>
{{else}}<input type="hidden" name="id" value="{{.Request}}">{{end}}
<label>Account <select name="account">{{range .Accounts}}<option>{{.}}</option>{{end}}</select></label>
<label>Password <input type="password" name="password" autocomplete="current-password" required></label>
{{if .Code}}<label>Code of the second factor (<code>devstack password ACCOUNT</code> shows it)
<input name="code" inputmode="numeric" pattern="[0-9]{6}" autocomplete="one-time-code" required></label>{{end}}
<button name="action" value="allow">Log in</button>
{{if .Device}}<button name="action" value="deny" formnovalidate>Deny</button>{{end}}
</form></body></html>
`))

var done = template.Must(template.New("done").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Waybill, local stack</title></head>
<body><p>{{.}} You can close this page.</p></body></html>
`))

type form struct {
	Device   bool
	Code     bool // a second factor is asked for
	Request  string
	UserCode string
	Fault    string
	Accounts []string
}

func (f form) write(w http.ResponseWriter, status int) {
	for _, account := range Accounts() {
		if !account.Machine {
			f.Accounts = append(f.Accounts, account.ID)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// If the browser is gone there is nobody left to tell.
	_ = page.Execute(w, f)
}

// person checks the form's account and password, and the second factor's code if
// one is asked for. fault says what to tell who can't log in so.
func (i *Issuer) person(r *http.Request, withCode bool) (account, fault string) {
	found, ok := i.storage.people.get(r.PostFormValue("account"))
	switch {
	case !ok, found.Machine, !i.storage.secrets.check(found.ID, r.PostFormValue("password")):
		return "", "Unknown account or wrong password."
	case !found.active:
		return "", "This account is deactivated."
	case withCode && !i.storage.secrets.checkCode(found.ID, r.PostFormValue("code")):
		return "", "Wrong code of the second factor."
	}
	return found.ID, ""
}

func (i *Issuer) loginPage(provider *op.Provider) http.HandlerFunc {
	callback := op.AuthCallbackURL(provider)
	return func(w http.ResponseWriter, r *http.Request) {
		f := form{Request: r.FormValue("id")}
		f.Code = i.storage.asksForCode(f.Request)
		if r.Method != http.MethodPost {
			f.write(w, http.StatusOK)
			return
		}
		var account string
		if account, f.Fault = i.person(r, f.Code); f.Fault != "" {
			f.write(w, http.StatusUnauthorized)
			return
		}
		acr := ACRPassword
		if f.Code {
			acr = ACRMFA
		}
		if err := i.storage.loggedIn(f.Request, account, acr); err != nil {
			f.Fault = err.Error()
			f.write(w, http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, callback(r.Context(), f.Request), http.StatusFound)
	}
}

func (i *Issuer) devicePage(w http.ResponseWriter, r *http.Request) {
	f := form{Device: true, UserCode: strings.ToUpper(strings.TrimSpace(r.FormValue("user_code")))}
	if r.Method != http.MethodPost {
		f.write(w, http.StatusOK)
		return
	}
	var account string
	if account, f.Fault = i.person(r, false); f.Fault != "" {
		f.write(w, http.StatusUnauthorized)
		return
	}
	allow := r.PostFormValue("action") == "allow"
	if err := i.storage.decideDevice(f.UserCode, account, allow); err != nil {
		f.Fault = err.Error()
		f.write(w, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	text := "The tool is logged in as " + account + "."
	if !allow {
		text = "The tool was denied."
	}
	_ = done.Execute(w, text)
}
