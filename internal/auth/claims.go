package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/waybill-dev/waybill/signals"
)

// Claims says what the claims of an issuer's tokens mean. Each field but Require
// is the name of a claim.
type Claims struct {
	// Subject is what tells one account from all others for good; "sub" if empty.
	Subject string
	// Name is what people call the account; if empty "preferred_username", else
	// "name".
	Name string
	// Email is the account's address; "email" if empty.
	Email string
	// Groups lists the account's groups; "groups" if empty.
	Groups string
	// Require maps claims to the values of which one must be there, such as
	// "repository_owner" or "ref". In a value * stands for any characters but
	// the slash, as in a file name.
	Require map[string][]string
}

// complete fills in the defaults; groups is the claim's name where Groups is "".
func (c Claims) complete(groups string) (Claims, error) {
	fill := func(field *string, fallback string) {
		if *field == "" {
			*field = fallback
		}
	}
	fill(&c.Subject, "sub")
	fill(&c.Email, "email")
	fill(&c.Groups, groups)
	fill(&c.Groups, "groups")
	for claim, values := range c.Require {
		if claim == "" || len(values) == 0 {
			return c, fmt.Errorf("required claim %q: name the claim and at least one value that it may have", claim)
		}
		for _, value := range values {
			if _, err := path.Match(value, ""); err != nil || value == "" {
				return c, fmt.Errorf("required claim %q: %q is not a value or pattern", claim, value)
			}
		}
	}
	return c, nil
}

// claimSet is what a verified token says.
type claimSet map[string]json.RawMessage

// text is the value of a claim that holds one, "" if it is absent.
func (c claimSet) text(claim string) (string, error) {
	raw, there := c[claim]
	if !there || string(raw) == "null" {
		return "", nil
	}
	var value string
	if json.Unmarshal(raw, &value) == nil {
		return value, nil
	}
	if strings.ContainsAny(string(raw[:1]), "[{") {
		return "", fmt.Errorf("claim %q is not a single value", claim)
	}
	return string(raw), nil // a number or a truth value, as written
}

// list is the value of a claim that holds several.
func (c claimSet) list(claim string) ([]string, error) {
	raw, there := c[claim]
	if !there {
		return nil, nil
	}
	var values []string
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, fmt.Errorf("claim %q is not a list of group names", claim)
	}
	return values, nil
}

// values is a claim's value or values.
func (c claimSet) values(claim string) []string {
	if value, err := c.text(claim); err == nil && value != "" {
		return []string{value}
	}
	var values []string
	_ = json.Unmarshal(c[claim], &values) // of another form it has no value that could match
	return values
}

// require checks that each claim that must be there has one of its values.
func (c claimSet) require(wanted map[string][]string) error {
	for _, claim := range slices.Sorted(maps.Keys(wanted)) {
		found := c.values(claim)
		if !slices.ContainsFunc(found, func(value string) bool { return matchesAny(wanted[claim], value) }) {
			return fmt.Errorf("claim %q is %q, want one of %q", claim, found, wanted[claim])
		}
	}
	return nil
}

func matchesAny(patterns []string, value string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, value)
		return ok && err == nil
	})
}

// identity reads the claims that people see and groups that decisions use. The
// error wraps ErrToken.
func (i *lazyIssuer) identity(token *oidc.IDToken) (Identity, error) {
	id, err := i.read(token)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return id, nil
}

func (i *lazyIssuer) read(token *oidc.IDToken) (Identity, error) {
	all := claimSet{}
	var login struct {
		ACR      string `json:"acr"`
		AuthTime int64  `json:"auth_time"`
	}
	if err := errors.Join(token.Claims(&all), token.Claims(&login)); err != nil {
		return Identity{}, fmt.Errorf("its claims can't be read: %w", err)
	}
	if err := all.require(i.Claims.Require); err != nil {
		return Identity{}, err
	}
	subject := signals.Subject{Issuer: token.Issuer}
	var subjectErr, nameErr, emailErr, groupsErr error
	subject.ID, subjectErr = all.text(i.Claims.Subject)
	subject.Name, nameErr = all.name(i.Claims.Name)
	subject.Email, emailErr = all.text(i.Claims.Email)
	subject.Groups, groupsErr = all.list(i.Claims.Groups)
	if err := errors.Join(subjectErr, nameErr, emailErr, groupsErr); err != nil {
		return Identity{}, err
	}
	if subject.ID == "" {
		return Identity{}, fmt.Errorf("it names no subject: claim %q is not there", i.Claims.Subject)
	}
	for _, group := range i.Groups {
		if !slices.Contains(subject.Groups, group) {
			subject.Groups = append(subject.Groups, group)
		}
	}
	id := Identity{Subject: subject, Authn: signals.Authentication{Method: "oidc", ACR: login.ACR, At: token.IssuedAt.UTC()}}
	if login.AuthTime > 0 {
		id.Authn.At = time.Unix(login.AuthTime, 0).UTC()
	}
	return id, nil
}

func (c claimSet) name(claim string) (string, error) {
	if claim != "" {
		return c.text(claim)
	}
	if name, err := c.text("preferred_username"); err != nil || name != "" {
		return name, err
	}
	return c.text("name")
}
