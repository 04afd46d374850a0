package attest

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

var (
	coAuthor = regexp.MustCompile(`(?im)^[ \t]*co-authored-by:[ \t]*([^<>\r\n]*?)[ \t]*<([^<>\r\n]+)>[ \t]*\r?$`)
	// noreply is the address by which GitHub hides an account's own one.
	noreply  = regexp.MustCompile(`(?i)^(?:[0-9]+\+)?([a-z0-9-]+(?:\[bot\])?)@users\.noreply\.github\.com$`)
	named    = regexp.MustCompile(`^([^<>]*?)\s*<([^<>\s]+@[^<>\s]+)>$`)
	loginTxt = regexp.MustCompile(`^@?([A-Za-z0-9][-A-Za-z0-9_.]*(?:\[bot\])?)$`)
)

// people are who wrote a set of commits and who committed them.
type people struct {
	authors, committers []signals.Contributor
}

// peopleOf reads authors, co-authors and committers of the commits. An address
// that the mailmap gives another name or address to is listed as written *and*
// as mapped: the mailmap is part of the change and must not hide its author.
func peopleOf(commits []*object.Commit, names mailmap) (people, error) {
	var p people
	for _, c := range commits {
		written := []signals.Contributor{contributor(c.Author.Name, c.Author.Email)}
		for _, trailer := range coAuthor.FindAllStringSubmatch(c.Message, -1) {
			written = append(written, contributor(trailer[1], trailer[2]))
		}
		committed := contributor(c.Committer.Name, c.Committer.Email)
		for _, person := range append(slices.Clone(written), committed) {
			if person.Email == "" {
				return p, fmt.Errorf("commit %s: %q has no e-mail address, so nobody could tell who that is; write the commit anew", c.Hash, person.Name)
			}
		}
		for _, person := range written {
			p.authors = append(p.authors, names.both(person)...)
		}
		p.committers = append(p.committers, names.both(committed)...)
	}
	p.authors, p.committers = catalog.MergeContributors(p.authors), catalog.MergeContributors(p.committers)
	return p, nil
}

// contributor is somebody as Git names them, with the login if the address
// tells it.
func contributor(name, email string) signals.Contributor {
	c := signals.Contributor{Name: strings.TrimSpace(name), Email: strings.TrimSpace(email)}
	if hidden := noreply.FindStringSubmatch(c.Email); hidden != nil {
		c.Login = hidden[1]
	}
	return c
}

// ParseContributor reads somebody from a command line: "Name <address>", an
// e-mail address, or a login at the code host.
func ParseContributor(text string) (signals.Contributor, error) {
	text = strings.TrimSpace(text)
	if parts := named.FindStringSubmatch(text); parts != nil {
		return contributor(parts[1], parts[2]), nil
	}
	if parts := named.FindStringSubmatch("<" + text + ">"); parts != nil {
		return contributor("", parts[2]), nil
	}
	if parts := loginTxt.FindStringSubmatch(text); parts != nil {
		return signals.Contributor{Login: parts[1]}, nil
	}
	return signals.Contributor{}, fmt.Errorf("%q: want an e-mail address, \"Name <address>\" or a login", text)
}

// mailmap is Git's .mailmap: by address, or address and name, in lower case, who
// that properly is.
type mailmap map[string]signals.Contributor

// maxMailmapBytes bounds the mailmap that is read.
const maxMailmapBytes = 1 << 20

// mailmapLine is "Name <proper> [[Name] <as committed>]".
var mailmapLine = regexp.MustCompile(`^([^<>]*)<([^<>]*)>(?:([^<>]*)<([^<>]*)>)?\s*$`)

// readMailmap reads the .mailmap of the commit, which need not have one.
func readMailmap(commit *object.Commit) (mailmap, error) {
	file, err := commit.File(".mailmap")
	if errors.Is(err, object.ErrFileNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf(".mailmap of %s: %w", commit.Hash, err)
	}
	content, err := file.Reader()
	if err != nil {
		return nil, fmt.Errorf(".mailmap of %s: %w", commit.Hash, err)
	}
	defer func() { _ = content.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(content, maxMailmapBytes))
	if err != nil {
		return nil, fmt.Errorf(".mailmap of %s: %w", commit.Hash, err)
	}
	return parseMailmap(string(text)), nil
}

func parseMailmap(text string) mailmap {
	names := mailmap{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		parts := mailmapLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil {
			continue
		}
		proper := signals.Contributor{Name: strings.TrimSpace(parts[1]), Email: strings.TrimSpace(parts[2])}
		asCommitted := strings.TrimSpace(parts[4])
		if asCommitted == "" {
			asCommitted = proper.Email
		}
		names[mailmapKey(strings.TrimSpace(parts[3]), asCommitted)] = proper
	}
	return names
}

func mailmapKey(name, email string) string { return strings.ToLower(name + "\n" + email) }

// both returns the person as written and, if the mailmap knows better, as mapped.
func (m mailmap) both(written signals.Contributor) []signals.Contributor {
	proper, known := m[mailmapKey(written.Name, written.Email)]
	if !known {
		proper, known = m[mailmapKey("", written.Email)]
	}
	if !known {
		return []signals.Contributor{written}
	}
	mapped := contributor(written.Name, written.Email)
	if proper.Name != "" {
		mapped.Name = proper.Name
	}
	if proper.Email != "" {
		mapped = contributor(mapped.Name, proper.Email)
	}
	return []signals.Contributor{written, mapped}
}
