package workflows

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

func TestWhoIsKeptFromApproving(t *testing.T) {
	lead := signals.Subject{
		Issuer: "https://id.example", ID: "u-17", Name: "Release Lead", Email: "release-lead@payments.example",
		Aliases: []string{"rlead", "17+rlead@users.noreply.github.com", "second-account@payments.example"},
	}
	proven := func(s signals.Subject) signals.RequesterView { return signals.RequesterView{Proven: true, Subject: &s} }
	by := func(c signals.Contributor) *signals.SourceReview {
		return &signals.SourceReview{Authors: []signals.Contributor{c}}
	}
	other := signals.Contributor{Name: "Developer", Email: "developer@payments.example", Login: "dev"}
	github := signals.Contributor{Name: "GitHub", Email: "noreply@github.com", Login: "web-flow"}
	cases := map[string]struct {
		requester signals.RequesterView
		source    *signals.SourceReview
		config    []signals.Contributor
		as        string // "" if nothing keeps them
	}{
		"nobody known":                    {},
		"somebody else asked":             {requester: proven(person("developer"))},
		"asked for it":                    {requester: proven(signals.Subject{Issuer: lead.Issuer, ID: lead.ID}), as: asRequester},
		"asked with a second account":     {requester: proven(signals.Subject{Issuer: "https://ci.example", ID: "x", Email: "second-account@payments.example"}), as: asRequester},
		"asked, the alias on that side":   {requester: proven(signals.Subject{Issuer: "https://ci.example", ID: "x", Aliases: []string{"Release-Lead@Payments.example"}}), as: asRequester},
		"is claimed to have asked, key":   {requester: signals.RequesterView{Claimed: "https://id.example#u-17"}, as: asRequester},
		"is claimed to have asked, login": {requester: signals.RequesterView{Claimed: "RLead"}, as: asRequester},
		"is claimed to have asked, name":  {requester: signals.RequesterView{Claimed: "release lead"}, as: asRequester},
		"others wrote it":                 {source: by(other)},
		"wrote it, by e-mail":             {source: by(signals.Contributor{Email: "RELEASE-LEAD@payments.example "}), as: asAuthor},
		"wrote it, by alias":              {source: by(signals.Contributor{Email: "second-account@payments.example"}), as: asAuthor},
		"wrote it, by login":              {source: by(signals.Contributor{Login: "RLead"}), as: asAuthor},
		"wrote it, by name":               {source: by(signals.Contributor{Name: "Release Lead"}), as: asAuthor},
		"wrote it, address withheld":      {source: by(signals.Contributor{Email: "17+RLead@users.noreply.github.com"}), as: asAuthor},
		"wrote it, old withheld form":     {source: by(signals.Contributor{Email: "rlead@users.noreply.github.com"}), as: asAuthor},
		"wrote it, other code host":       {source: by(signals.Contributor{Email: "17-rlead@users.noreply.gitlab.example"}), as: asAuthor},
		"a longer login":                  {source: by(signals.Contributor{Email: "17+rlead2@users.noreply.github.com"})},
		"committed it":                    {source: &signals.SourceReview{Authors: []signals.Contributor{other}, Committers: []signals.Contributor{{Login: "rlead"}}}, as: asCommitter},
		"merged it":                       {source: &signals.SourceReview{Merger: &signals.Contributor{Login: "rlead"}}, as: asMerger},
		"wrote and committed it":          {source: &signals.SourceReview{Authors: []signals.Contributor{{Login: "rlead"}}, Committers: []signals.Contributor{{Login: "rlead"}}}, as: asAuthor},
		"reviewed it":                     {source: &signals.SourceReview{Authors: []signals.Contributor{other}, Reviewers: []signals.Contributor{{Login: "rlead"}}}},
		"wrote the configuration":         {config: []signals.Contributor{other, {Email: "release-lead@payments.example"}}, as: asConfiguration},
		"GitHub committed it":             {source: &signals.SourceReview{Committers: []signals.Contributor{github}, Merger: &github}},
		"hides behind GitHub's address":   {source: by(signals.Contributor{Name: "Release Lead", Email: "noreply@github.com"}), as: asAuthor},
		"hides behind GitHub's login":     {source: by(signals.Contributor{Email: "release-lead@payments.example", Login: "web-flow"}), as: asAuthor},
		"a contributor without a name":    {source: by(signals.Contributor{})},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			as, ok := conflict(lead, Exclusions(c.requester, c.source, c.config))
			require.Equal(t, c.as, as)
			require.Equal(t, c.as != "", ok)
		})
	}
}

func TestGitHubsOwnCommitterExcludesNobody(t *testing.T) {
	github := signals.Contributor{Name: "GitHub", Email: "noreply@github.com", Login: "web-flow"}
	require.Empty(t, Exclusions(signals.RequesterView{}, &signals.SourceReview{
		Authors: []signals.Contributor{github}, Committers: []signals.Contributor{github}, Merger: &github,
	}, []signals.Contributor{github}))
	// An account without an address isn't taken for another one without.
	_, ok := conflict(signals.Subject{Issuer: "i", ID: "a"}, Exclusions(signals.RequesterView{Subject: &signals.Subject{Issuer: "i", ID: "b"}}, nil, nil))
	require.False(t, ok)
}

func TestOnePersonIsListedOnceByEachName(t *testing.T) {
	c := signals.Contributor{Name: "Developer", Email: "developer@payments.example", Login: "dev"}
	source := &signals.SourceReview{Authors: []signals.Contributor{c}, Committers: []signals.Contributor{c}, Merger: &c}
	require.Equal(t, []signals.Exclusion{
		{Identity: "developer@payments.example", As: asAuthor}, {Identity: "dev", As: asAuthor}, {Identity: "Developer", As: asAuthor},
	}, Exclusions(signals.RequesterView{}, source, []signals.Contributor{c}))
}

// names that generated people share now and then.
var someName = rapid.SampledFrom([]string{"ada", "Bo", "cy@x.example", "1+dee@users.noreply.github.com", "dee", "CY@x.example", "eve", "fay", ""})

var someSubject = rapid.Custom(func(t *rapid.T) signals.Subject {
	return signals.Subject{
		Issuer: rapid.SampledFrom([]string{"https://id.example", "https://ci.example"}).Draw(t, "issuer"),
		ID:     someName.Draw(t, "id"), Name: someName.Draw(t, "name"), Email: someName.Draw(t, "email"),
		Aliases: rapid.SliceOfN(someName, 0, 2).Draw(t, "aliases"),
		Groups:  rapid.SliceOfDistinct(rapid.SampledFrom([]string{"leads", "risk"}), rapid.ID).Draw(t, "groups"),
	}
})

var someContributor = rapid.Custom(func(t *rapid.T) signals.Contributor {
	return signals.Contributor{Name: someName.Draw(t, "name"), Email: someName.Draw(t, "email"), Login: someName.Draw(t, "login")}
})

type change struct {
	requester signals.RequesterView
	source    signals.SourceReview
	config    []signals.Contributor
}

var someChange = rapid.Custom(func(t *rapid.T) change {
	some := rapid.SliceOfN(someContributor, 0, 2)
	c := change{
		requester: signals.RequesterView{Claimed: someName.Draw(t, "claimed")},
		source:    signals.SourceReview{Authors: some.Draw(t, "authors"), Committers: some.Draw(t, "committers")},
		config:    some.Draw(t, "config"),
	}
	if rapid.Bool().Draw(t, "proven") {
		s := someSubject.Draw(t, "requester")
		c.requester.Subject = &s
	}
	return c
})

func (c change) exclusions() []signals.Exclusion { return Exclusions(c.requester, &c.source, c.config) }

func TestWhoeverSharesANameWithAnAuthorIsKeptOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, who := someChange.Draw(t, "change"), someSubject.Draw(t, "who")
		author := someContributor.Draw(t, "author")
		shared := rapid.SampledFrom([]string{author.Email, author.Login, author.Name}).Draw(t, "shared")
		spelt := rapid.SampledFrom([]string{shared, strings.ToUpper(shared), " " + shared}).Draw(t, "spelt")
		switch rapid.IntRange(0, 3).Draw(t, "where") {
		case 0:
			who.ID = spelt
		case 1:
			who.Email = spelt
		case 2:
			who.Name = spelt
		default:
			who.Aliases = append(who.Aliases, spelt)
		}
		c.source.Authors = append(c.source.Authors, author)
		if _, ok := conflict(who, c.exclusions()); !ok && shared != "" {
			t.Fatalf("%+v shares %q with author %+v and is let in", who, shared, author)
		}
	})
}

func TestOrderOfContributorsDecidesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, who := someChange.Draw(t, "change"), someSubject.Draw(t, "who")
		as, ok := conflict(who, c.exclusions())
		shuffled := c
		draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, list := range []*[]signals.Contributor{&shuffled.source.Authors, &shuffled.source.Committers, &shuffled.config} {
			*list = slices.Clone(*list)
			draw.Shuffle(len(*list), func(i, j int) { (*list)[i], (*list)[j] = (*list)[j], (*list)[i] })
		}
		if as2, ok2 := conflict(who, shuffled.exclusions()); ok != ok2 || as != as2 {
			t.Fatalf("%q %t, in another order %q %t", as, ok, as2, ok2)
		}
	})
}

func TestAnotherContributorNeverLetsAnybodyIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, who := someChange.Draw(t, "change"), someSubject.Draw(t, "who")
		_, before := conflict(who, c.exclusions())
		more := someContributor.Draw(t, "more")
		switch rapid.IntRange(0, 3).Draw(t, "as") {
		case 0:
			c.source.Authors = append(c.source.Authors, more)
		case 1:
			c.source.Committers = append([]signals.Contributor{more}, c.source.Committers...)
		case 2:
			c.source.Merger = &more
		default:
			c.config = append(c.config, more)
		}
		if _, after := conflict(who, c.exclusions()); before && !after {
			t.Fatalf("%+v was kept out until %+v came in", who, more)
		}
	})
}

// A quorum that is reached through the rules for each approval has as many
// people in it as places, none of them excluded.
func TestAQuorumHasAsManyPeopleAsPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := approvals{needed: signals.Quorum{Groups: []signals.GroupQuorum{
			{Group: "leads", Count: rapid.IntRange(0, 2).Draw(t, "leads")}, {Group: "risk", Count: rapid.IntRange(1, 2).Draw(t, "risk")},
		}}}
		a.exclusions = someChange.Draw(t, "change").exclusions()
		for i, who := range rapid.SliceOfN(someSubject, 0, 8).Draw(t, "approvers") {
			s := signals.ApprovalStatement{Decision: signals.Approve, Reason: "read it", Approver: who, Binding: signals.Binding{Nonce: strconv.Itoa(i)}}
			if a.mayDecide(s) == nil {
				a.given = append(a.given, given{statement: s, groups: who.Groups})
			}
		}
		if !a.complete() {
			return
		}
		counted := a.approvers()
		if len(counted) < a.needed.People() {
			t.Fatalf("%d people fill %d places", len(counted), a.needed.People())
		}
		for i, one := range counted {
			if as, ok := conflict(one, a.exclusions); ok {
				t.Fatalf("%+v counts, though %s", one, as)
			}
			for _, two := range counted[:i] {
				if samePerson(one, two) {
					t.Fatalf("%+v and %+v are one person", one, two)
				}
			}
		}
	})
}
