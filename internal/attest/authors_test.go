package attest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

const day = 24 * time.Hour

func (c *clone) authors(in AuthorsInput) catalog.Authors {
	c.t.Helper()
	in.Dir = filepath.Join(c.dir, "catalog")
	a, err := NewAuthors(in)
	require.NoError(c.t, err)
	return a
}

func TestAuthorsOfAFolder(t *testing.T) {
	c := newClone(t)
	c.commit("ancient", "ancient", "catalog/payments.yaml", "first")
	c.commit("ancient", "ancient", "catalog/keys/source.pub", "key")
	c.now = c.now.Add(100 * day)
	base := c.commit("developer", "ci", "catalog/payments.yaml", "second")
	c.commit("stranger", "stranger", "elsewhere", "not in the folder")
	c.commit("on-call", "on-call", "catalog/payments.yaml", "third\n\nCo-authored-by: Helper <helper@payments.example>")

	month := c.authors(AuthorsInput{Within: 30 * day})
	require.Equal(t, catalog.MergeContributors(roles("ci", "developer", "on-call"), contributors("Helper", "helper@payments.example")), month.Files["payments.yaml"])
	require.Equal(t, roles("ancient"), month.Files["keys/source.pub"], "the last change counts however old it is")
	require.Len(t, month.Files, 2)

	sinceBase := c.authors(AuthorsInput{Base: base})
	require.Equal(t, catalog.MergeContributors(roles("on-call"), contributors("Helper", "helper@payments.example")), sinceBase.Files["payments.yaml"])
	require.Contains(t, c.authors(AuthorsInput{Within: 1000 * day}).Files["payments.yaml"], role("ancient"))

	path, err := WriteAuthors(filepath.Join(c.dir, "catalog"), month)
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	read, err := catalog.ParseAuthors(content)
	require.NoError(t, err)
	require.Equal(t, month, read)

	c.git("add", "--all")
	c.git("commit", "--quiet", "--message", "authors")
	require.Equal(t, month, c.authors(AuthorsInput{Within: 30 * day}), "the file says nothing of itself")
}

// A merge that takes one side as it is changes nothing; one that makes something
// else of it does.
func TestAuthorsOfMerges(t *testing.T) {
	c := newClone(t)
	c.commit("ancient", "ancient", "catalog/a.yaml", "first")
	c.now = c.now.Add(100 * day)
	c.git("checkout", "--quiet", "-b", "topic")
	c.commit("developer", "developer", "catalog/a.yaml", "change")
	c.git("checkout", "--quiet", "main")
	c.commit("stranger", "stranger", "elsewhere", "meanwhile")
	c.as("release-lead", "release-lead", "merge", "--quiet", "--no-ff", "--message", "merge", "topic")
	require.Equal(t, roles("developer"), c.authors(AuthorsInput{Within: 30 * day}).Files["a.yaml"])

	c.git("checkout", "--quiet", "-b", "second")
	c.commit("developer", "developer", "b", "change")
	c.git("checkout", "--quiet", "main")
	c.as("release-lead", "release-lead", "merge", "--quiet", "--no-ff", "--no-commit", "second")
	c.write("catalog/a.yaml", "slipped in")
	c.git("add", "catalog/a.yaml")
	c.as("release-lead", "release-lead", "commit", "--quiet", "--message", "evil merge")
	require.Contains(t, c.authors(AuthorsInput{Within: 30 * day}).Files["a.yaml"], role("release-lead"))
}

// A date that is put back hides nobody.
func TestBackdatedChangesCount(t *testing.T) {
	c := newClone(t)
	c.commit("ancient", "ancient", "catalog/a.yaml", "first")
	c.now = c.now.Add(100 * day)
	c.commit("ancient", "ancient", "other", "today")
	today := c.now
	c.now = c.now.Add(-90 * day)
	c.commit("developer", "developer", "catalog/a.yaml", "backdated")
	c.now = today
	c.commit("release-lead", "release-lead", "catalog/a.yaml", "harmless")
	require.Equal(t, roles("developer", "release-lead"), c.authors(AuthorsInput{Within: 30 * day}).Files["a.yaml"])
}

func TestAuthorsOfWhatIsNotCommitted(t *testing.T) {
	c := newClone(t)
	c.commit("developer", "developer", "catalog/a.yaml", "first")
	dir := filepath.Join(c.dir, "catalog")
	c.write("catalog/a.yaml", "changed")
	_, err := NewAuthors(AuthorsInput{Dir: dir})
	require.ErrorContains(t, err, "a.yaml has changes that are not committed")
	require.NoError(t, os.Remove(filepath.Join(dir, "a.yaml")))
	_, err = NewAuthors(AuthorsInput{Dir: dir})
	require.ErrorIs(t, err, os.ErrNotExist)
	c.write("new/b.yaml", "new")
	_, err = NewAuthors(AuthorsInput{Dir: filepath.Join(c.dir, "new")})
	require.ErrorContains(t, err, "HEAD has no file in it")
	_, err = NewAuthors(AuthorsInput{Dir: filepath.Join(c.dir, "none")})
	require.Error(t, err)
}

// The folder may be the repository itself.
func TestAuthorsOfTheRoot(t *testing.T) {
	c := newClone(t)
	c.commit("developer", "developer", "a.yaml", "first")
	a, err := NewAuthors(AuthorsInput{Dir: c.dir, Within: day})
	require.NoError(t, err)
	require.Equal(t, roles("developer"), a.Files["a.yaml"])
}

func contributors(name, email string) []signals.Contributor {
	return []signals.Contributor{{Name: name, Email: email}}
}
