package oidcissuer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// scopes are what tools ask for.
var scopes = []string{"openid", "profile", "email", groupsScope}

// Token logs an account in, as LogIn does, with the password it has here.
func (i *Issuer) Token(ctx context.Context, account string) (string, error) {
	return LogIn(ctx, i.URL, Credentials{Account: account, Password: i.storage.secrets.Passwords[account]})
}

// Password is the account's password here.
func (i *Issuer) Password(account string) string { return i.storage.secrets.Passwords[account] }

// Code is what the account's second factor shows now.
func (i *Issuer) Code(account string) (string, error) {
	return i.storage.secrets.Code(account, time.Now())
}

// Secrets are those that the issuer goes by.
func (i *Issuer) Secrets() Secrets { return i.storage.secrets }

// ApproveDevice lets a device log in as account, as the person would on the
// page that the device shows the address of.
func (i *Issuer) ApproveDevice(ctx context.Context, userCode, account string) error {
	got, err := post(ctx, browser(), i.URL+devicePath, url.Values{
		"user_code": {userCode}, "account": {account},
		"password": {i.storage.secrets.Passwords[account]}, "action": {"allow"},
	})
	if err != nil {
		return err
	}
	if got.code != http.StatusOK {
		return fmt.Errorf("log in a device as %s: the issuer answered %d", account, got.code)
	}
	return nil
}

// LogIn goes through the whole flow at the issuer as a person with a browser
// would (code with PKCE), or as CI (client credentials), and returns the access
// token. With a Code it asks for the kind of login that takes one.
func LogIn(ctx context.Context, issuer string, who Credentials) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	known, ok := find(who.Account)
	if !ok {
		return "", fmt.Errorf("no account %q: the accounts are %s", who.Account, accountNames())
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, browser())
	if known.Machine {
		cfg := clientcredentials.Config{
			ClientID: who.Account, ClientSecret: who.Password, TokenURL: issuer + "/oauth/token", Scopes: scopes,
			AuthStyle: oauth2.AuthStyleInHeader,
		}
		token, err := cfg.Token(ctx)
		if err != nil {
			return "", fmt.Errorf("log in as %s: %w", who.Account, err)
		}
		return token.AccessToken, nil
	}
	token, err := logInPerson(ctx, issuer, who)
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", who.Account, err)
	}
	return token.AccessToken, nil
}

func accountNames() string {
	var names []string
	for _, account := range Accounts() {
		names = append(names, account.ID)
	}
	return strings.Join(names, ", ")
}

func logInPerson(ctx context.Context, issuer string, who Credentials) (*oauth2.Token, error) {
	cfg := oauth2.Config{
		ClientID: ClientID,
		Endpoint: oauth2.Endpoint{
			AuthURL: issuer + "/authorize", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
		},
		// Nothing listens there: the code is read off the redirect.
		RedirectURL: "http://127.0.0.1" + redirectPath,
		Scopes:      scopes,
	}
	verifier, state := oauth2.GenerateVerifier(), rand.Text()
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	if who.Code != "" {
		options = append(options, oauth2.SetAuthURLParam("acr_values", ACRMFA))
	}
	next, err := Authorize(ctx, cfg.AuthCodeURL(state, options...), who)
	if err != nil {
		return nil, err
	}
	answer := next.Query()
	if answer.Get("state") != state || answer.Get("code") == "" {
		return nil, fmt.Errorf("the issuer gave no code: %s %s", answer.Get("error"), answer.Get("error_description"))
	}
	return cfg.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
}

// Credentials are what a person types into the login form. Code is needed only
// where a second factor is asked for.
type Credentials struct {
	Account, Password, Code string
}

// Authorize goes to an authorization URL of the issuer and logs in there, as a
// person with a browser would. It returns the address that the browser is sent
// back to, with the code or the error in its query; nothing needs to listen there.
func Authorize(ctx context.Context, authURL string, who Credentials) (*url.URL, error) {
	client := browser()
	next, err := redirected(ctx, client, authURL, nil)
	if err != nil || next.Path != loginPath {
		return next, err // refused before anybody was asked to log in
	}
	next, err = redirected(ctx, client, next.String(), url.Values{
		"id": {next.Query().Get("id")}, "account": {who.Account}, "password": {who.Password}, "code": {who.Code}, "action": {"allow"},
	})
	if err != nil {
		return nil, err
	}
	return redirected(ctx, client, next.String(), nil)
}

// browser follows no redirect by itself.
func browser() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// redirected gets a page, or posts a form to it, and returns where it leads.
func redirected(ctx context.Context, client *http.Client, address string, fields url.Values) (*url.URL, error) {
	var got reply
	var err error
	if fields != nil {
		got, err = post(ctx, client, address, fields)
	} else {
		got, err = get(ctx, client, address)
	}
	if err == nil && got.next == nil {
		err = fmt.Errorf("the issuer answered %d at %s", got.code, got.path)
	}
	return got.next, err
}

// reply is a response without its body: next is where it leads, nil if nowhere.
type reply struct {
	code int
	path string
	next *url.URL
}

func get(ctx context.Context, client *http.Client, address string) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	return send(client, request)
}

func post(ctx context.Context, client *http.Client, address string, fields url.Values) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(fields.Encode()))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return send(client, request)
}

func send(client *http.Client, request *http.Request) (reply, error) {
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)); err != nil {
		return reply{}, err
	}
	got := reply{code: response.StatusCode, path: request.URL.Path}
	if next, err := response.Location(); err == nil {
		got.next = next
	}
	return got, nil
}
