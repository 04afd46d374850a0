package directory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// The attributes of a SCIM user that can hold the identity provider's subject.
const (
	ByExternalID = "externalId"
	ByID         = "id"
	ByUserName   = "userName"
)

// user is a SCIM user (RFC 7643, section 4.1), as far as it is read.
type user struct {
	ID          string  `json:"id"`
	ExternalID  string  `json:"externalId"`
	UserName    string  `json:"userName"`
	DisplayName string  `json:"displayName"`
	Active      bool    `json:"active"` // absent counts as not active
	Emails      []email `json:"emails"`
	Groups      []group `json:"groups"`
}

type email struct {
	Value   string `json:"value"`
	Primary bool   `json:"primary"`
}

type group struct {
	Value   string `json:"value"`
	Display string `json:"display"`
}

// list is a SCIM list response.
type list struct {
	TotalResults int    `json:"totalResults"`
	Resources    []user `json:"Resources"`
}

func (u user) subject(attribute string) string {
	switch attribute {
	case ByID:
		return u.ID
	case ByUserName:
		return u.UserName
	default:
		return u.ExternalID
	}
}

// primary is the address that is the user's own: the one so marked, or the only
// one there is.
func (u user) primary() string {
	for _, e := range u.Emails {
		if e.Primary {
			return e.Value
		}
	}
	if len(u.Emails) == 1 {
		return u.Emails[0].Value
	}
	return ""
}

func (u user) lists(address string) bool {
	return slices.ContainsFunc(u.Emails, func(e email) bool { return strings.EqualFold(e.Value, address) })
}

// person translates u; attribute says where its subject at issuer stands.
func (u user) person(issuer, attribute string) (signals.Person, error) {
	subject := signals.Subject{Issuer: issuer, ID: u.subject(attribute), Name: u.UserName, Email: u.primary()}
	if subject.ID == "" {
		return signals.Person{}, fmt.Errorf("entry %q has no %s, by which its subject at %s would be known", u.ID, attribute, issuer)
	}
	for _, g := range u.Groups {
		if g.Display != "" {
			subject.Groups = append(subject.Groups, g.Display)
		}
	}
	add := func(alias string) {
		if alias != "" && !slices.Contains(subject.Aliases, alias) {
			subject.Aliases = append(subject.Aliases, alias)
		}
	}
	add(u.UserName)
	for _, e := range u.Emails {
		add(e.Value)
	}
	if subject.Name == "" {
		subject.Name = u.DisplayName
	}
	// Answers are shared: whoever appends to one must get a copy.
	subject.Groups, subject.Aliases = slices.Clip(subject.Groups), slices.Clip(subject.Aliases)
	return signals.Person{Subject: subject, Active: u.Active}, nil
}

// chosen finds the one user that an address belongs to: whose own it is, or, if
// it is nobody's own, who alone lists it.
func chosen(users []user, address string) (user, error) {
	var own, listing []user
	for _, u := range users {
		if strings.EqualFold(u.primary(), address) {
			own = append(own, u)
		}
		if u.lists(address) {
			listing = append(listing, u)
		}
	}
	if len(own) == 0 {
		own = listing
	}
	if len(own) != 1 {
		return user{}, unknown("%d accounts have the address %s, want exactly one", len(own), address)
	}
	return own[0], nil
}
