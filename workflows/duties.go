package workflows

import (
	"regexp"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// The parts that somebody can have in a change, and that keep them from
// approving it.
const (
	asRequester     = "requester"
	asAuthor        = "author"
	asCommitter     = "committer"
	asMerger        = "merger"
	asConfiguration = "configuration"
)

// Exclusions lists whom separation of duties keeps from deciding on a release:
// whoever asked for it, as proven and as claimed, whoever wrote, committed or
// merged the change, and whoever wrote the configuration that it is judged by.
// Each comes with every name they go by; one that had several parts is listed
// with the first. A list too long shuts somebody out, one too short lets an
// author in: so an unproven claim counts, and so does a mere name.
func Exclusions(requester signals.RequesterView, source *signals.SourceReview, config []signals.Contributor) []signals.Exclusion {
	var out []signals.Exclusion
	add := func(as string, identities ...string) {
		for _, identity := range identities {
			known := slices.ContainsFunc(out, func(e signals.Exclusion) bool { return folded(e.Identity) == folded(identity) })
			if folded(identity) != "" && !known {
				out = append(out, signals.Exclusion{Identity: strings.TrimSpace(identity), As: as})
			}
		}
	}
	if s := requester.Subject; s != nil {
		add(asRequester, identitiesOf(*s)...)
	}
	add(asRequester, requester.Claimed)
	if source != nil {
		for _, c := range source.Authors {
			add(asAuthor, namesOf(c)...)
		}
		for _, c := range source.Committers {
			add(asCommitter, namesOf(c)...)
		}
		if source.Merger != nil {
			add(asMerger, namesOf(*source.Merger)...)
		}
	}
	for _, c := range config {
		add(asConfiguration, namesOf(c)...)
	}
	return out
}

// conflict finds the part that somebody had in what they are to decide on, by
// any name that they and an exclusion have in common. Upper and lower case are
// the same: code hosts and mail servers hold them so.
func conflict(who signals.Subject, exclusions []signals.Exclusion) (as string, ok bool) {
	names := map[string]bool{}
	for _, identity := range identitiesOf(who) {
		for _, form := range forms(identity) {
			names[form] = true
		}
	}
	for _, e := range exclusions {
		for _, form := range forms(e.Identity) {
			if names[form] {
				return e.As, true
			}
		}
	}
	return "", false
}

// samePerson says whether two accounts are one person's, as far as their names
// and the directory's aliases tell.
func samePerson(a, b signals.Subject) bool {
	_, same := conflict(a, Exclusions(signals.RequesterView{Subject: &b}, nil, nil))
	return same
}

// identitiesOf lists every name that the identity provider and the directory
// have for a subject.
func identitiesOf(s signals.Subject) []string {
	return append([]string{s.Key(), s.ID, s.Email, s.Name}, s.Aliases...)
}

// namesOf lists every name that Git and the code host have for a contributor.
// GitHub commits merges made on its pages in its own name, which says nothing of
// who it was; whatever stands beside that name still does.
func namesOf(c signals.Contributor) []string {
	name, email, login := c.Name, c.Email, c.Login
	if folded(email) == "noreply@github.com" || folded(login) == "web-flow" {
		if folded(email) == "noreply@github.com" {
			email = ""
		}
		if folded(login) == "web-flow" {
			login = ""
		}
		if folded(name) == "github" {
			name = ""
		}
	}
	return []string{email, login, name}
}

// withheld is the address that a code host gives to those who hide their own:
// it holds the login, with a number before it in accounts of today.
var withheld = regexp.MustCompile(`^(?:[0-9]+[+-])?([^@+]+)@users\.noreply\.[^@]+$`)

// forms are the spellings by which an identity is compared.
func forms(identity string) []string {
	whole := folded(identity)
	if whole == "" {
		return nil
	}
	if m := withheld.FindStringSubmatch(whole); m != nil {
		return []string{whole, m[1]}
	}
	return []string{whole}
}

func folded(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
