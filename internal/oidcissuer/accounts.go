package oidcissuer

import "fmt"

// Account is one role that somebody, or CI, plays on the local stack.
type Account struct {
	// ID is the subject in tokens and the name to log in with.
	ID     string
	Groups []string
	// Machine accounts authenticate as a client and never by the login form.
	Machine bool
	// Emails are the addresses that the directory lists for the account beside
	// its own.
	Emails []string
}

// Email is the account's own address.
func (a Account) Email() string { return a.ID + "@payments.example" }

// bursts is how many accounts there are for many approvals at once.
const bursts = 8

// Accounts are the roles of the local stack. "developer-second" is another login
// of the person who is "developer", who leads as well: the directory lists the
// address of each for the other.
func Accounts() []Account {
	accounts := []Account{
		{ID: "ci", Groups: []string{"ci"}, Machine: true},
		{ID: "developer", Groups: []string{"payments-dev"}, Emails: []string{"developer-second@payments.example"}},
		{ID: "developer-second", Groups: []string{"payments-dev", "payments-leads"}, Emails: []string{"developer@payments.example"}},
		{ID: "release-lead", Groups: []string{"payments-leads"}},
		{ID: "second-lead", Groups: []string{"payments-leads"}},
		{ID: "risk-officer", Groups: []string{"risk"}},
		{ID: "risk-deputy", Groups: []string{"risk"}},
		{ID: "on-call", Groups: []string{"payments-oncall"}},
		{ID: "on-call-deputy", Groups: []string{"payments-oncall"}},
		{ID: "auditor", Groups: []string{"audit"}},
	}
	for i := range bursts {
		accounts = append(accounts, Account{ID: fmt.Sprintf("approver-%d", i+1), Groups: []string{"approvers"}})
	}
	return accounts
}

func find(id string) (Account, bool) {
	for _, account := range Accounts() {
		if account.ID == id {
			return account, true
		}
	}
	return Account{}, false
}
