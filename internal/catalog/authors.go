package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// AuthorsFile is the name of the file beside catalog files or policies that says
// who changed them. `waybill attest authors` writes it.
const AuthorsFile = "authors.json"

// Authors are the people who changed the files of a folder, by the file's path
// in it with slashes.
type Authors struct {
	Files map[string][]signals.Contributor `json:"files"`
}

// ParseAuthors reads an authors file strictly. Each file in it must name
// somebody, and everybody by an e-mail address or a login: a name alone could
// keep nobody from approving.
func ParseAuthors(content []byte) (Authors, error) {
	var a Authors
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		return a, fmt.Errorf("%s: %w; make it again with: waybill attest authors", AuthorsFile, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("%s: data after the JSON object", AuthorsFile)
	}
	var faults []error
	for _, file := range slices.Sorted(maps.Keys(a.Files)) {
		if len(a.Files[file]) == 0 {
			faults = append(faults, fmt.Errorf("%s: %s has no author", AuthorsFile, file))
		}
		for _, c := range a.Files[file] {
			if c.Email == "" && c.Login == "" {
				faults = append(faults, fmt.Errorf("%s: %s: author %q has neither e-mail address nor login", AuthorsFile, file, c.Name))
			}
		}
	}
	return a, errors.Join(faults...)
}

// Of returns the authors of the files, each person as written once, in a fixed
// order. Files that are not listed add nobody.
func (a Authors) Of(files ...string) []signals.Contributor {
	var lists [][]signals.Contributor
	for _, file := range files {
		lists = append(lists, a.Files[file])
	}
	return MergeContributors(lists...)
}

// All returns the authors of all files.
func (a Authors) All() []signals.Contributor {
	return MergeContributors(slices.Collect(maps.Values(a.Files))...)
}

// MergeContributors joins lists of people in a fixed order, without repetition.
// The same person under two addresses stays two entries: both keep them from
// approving.
func MergeContributors(lists ...[]signals.Contributor) []signals.Contributor {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b signals.Contributor) int {
		return slices.Compare([]string{a.Email, a.Login, a.Name}, []string{b.Email, b.Login, b.Name})
	})
	return slices.Compact(all)
}

// readAuthors reads the folder's authors file, which need not be there.
func (l *loader) readAuthors(dir string) {
	content, err := os.ReadFile(filepath.Join(dir, AuthorsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		l.hash(AuthorsFile, content)
		var authors Authors
		authors, err = ParseAuthors(content)
		l.authors = &authors
	}
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("catalog %s: %w", dir, err))
	}
}

// authorsOf returns who changed the catalog file or one of the keys that it
// names. Where there is an authors file, it must know every catalog file.
func (l *loader) authorsOf(d *document, s service) []signals.Contributor {
	if l.authors == nil {
		return nil
	}
	if _, known := l.authors.Files[d.name]; !known {
		d.fault("", "%s names no author of it; make that file again with: waybill attest authors", AuthorsFile)
	}
	files := []string{d.name}
	for _, set := range s.Signers.sets() {
		for _, signer := range set.signers {
			files = append(files, strings.TrimPrefix(filepath.ToSlash(signer.PublicKey), "./"))
		}
	}
	return l.authors.Of(files...)
}
