package attest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/signals"
)

// clone is a repository that the real git works in.
type clone struct {
	t   *testing.T
	dir string
	now time.Time // of the next commit
}

func newClone(t *testing.T) *clone {
	t.Helper()
	c := &clone{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.git("init", "--quiet", "--initial-branch=main")
	return c
}

func (c *clone) git(args ...string) string { return c.as("developer", "developer", args...) }

// as runs git with the author and committer, who are roles.
func (c *clone) as(author, committer string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	date := c.now.Format(time.RFC3339)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME="+author, "GIT_AUTHOR_EMAIL="+author+"@payments.example", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME="+committer, "GIT_COMMITTER_EMAIL="+committer+"@payments.example", "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	require.NoErrorf(c.t, err, "git %v\n%s", args, out)
	return strings.TrimSpace(string(out))
}

func (c *clone) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o600))
}

// commit changes a file and returns the new commit's id.
func (c *clone) commit(author, committer, file, message string) string {
	c.t.Helper()
	c.now = c.now.Add(time.Minute)
	c.write(file, c.now.String()+message)
	c.git("add", "--", file)
	c.as(author, committer, "commit", "--quiet", "--message", message)
	return c.git("rev-parse", "HEAD")
}

func (c *clone) source(in SourceInput) Source {
	c.t.Helper()
	in.Dir = c.dir
	in.Repository = "https://git.example/payments"
	s, err := NewSource(in)
	require.NoError(c.t, err)
	return s
}

func role(name string) signals.Contributor {
	return signals.Contributor{Name: name, Email: name + "@payments.example"}
}

func roles(names ...string) []signals.Contributor {
	var list []signals.Contributor
	for _, name := range names {
		list = append(list, role(name))
	}
	return list
}

func TestSourceIsWhatShipsSinceTheBase(t *testing.T) {
	c := newClone(t)
	base := c.commit("ancient", "ancient", "a", "first")
	c.commit("developer", "ci", "a", "second")
	tip := c.commit("on-call", "on-call", "a", "third\n\nbody\n\nCo-Authored-By: Helper at Night <night@payments.example>\nco-authored-by: <other@payments.example>")

	s := c.source(SourceInput{Base: base})
	require.Equal(t, Source{
		Repository: "https://git.example/payments", Commit: tip, Base: base, Commits: 2,
		Authors: []signals.Contributor{
			role("developer"), {Name: "Helper at Night", Email: "night@payments.example"}, role("on-call"), {Email: "other@payments.example"},
		},
		Committers: roles("ci", "on-call"),
	}, s)

	one := c.source(SourceInput{Commit: "HEAD~1"})
	require.Equal(t, 1, one.Commits)
	require.Equal(t, roles("developer"), one.Authors)
	require.Equal(t, base, one.Base, "without a base it is the one commit")
	root := c.source(SourceInput{Commit: base})
	require.Empty(t, root.Base)
	require.Equal(t, roles("ancient"), root.Authors)
}

// Without a base a merge is all that it brought in.
func TestSourceOfAMerge(t *testing.T) {
	c := newClone(t)
	c.commit("ancient", "ancient", "a", "first")
	c.git("checkout", "--quiet", "-b", "topic")
	c.commit("developer", "developer", "b", "one")
	c.commit("on-call", "on-call", "b", "two")
	c.git("checkout", "--quiet", "main")
	before := c.commit("ancient", "ancient", "c", "meanwhile")
	c.as("release-lead", "release-lead", "merge", "--quiet", "--no-ff", "--message", "merge", "topic")

	s := c.source(SourceInput{})
	require.Equal(t, 3, s.Commits)
	require.Equal(t, before, s.Base)
	require.Equal(t, roles("developer", "on-call", "release-lead"), s.Authors)
}

func TestSourceThatCannotBeRead(t *testing.T) {
	c := newClone(t)
	base := c.commit("developer", "developer", "a", "first")
	c.commit("developer", "developer", "a", "second")
	for name, tc := range map[string]struct {
		in   SourceInput
		says string
	}{
		"no repository":    {SourceInput{Dir: t.TempDir()}, "repository does not exist"},
		"unknown revision": {SourceInput{Dir: c.dir, Base: "v9"}, `revision "v9"`},
		"nothing ships":    {SourceInput{Dir: c.dir, Commit: base, Base: "main"}, "no commit ships"},
		"no origin":        {SourceInput{Dir: c.dir}, "name the repository with --repository"},
	} {
		_, err := NewSource(tc.in)
		require.ErrorContains(t, err, tc.says, name)
	}

	shallow := filepath.Join(t.TempDir(), "shallow")
	c.git("clone", "--quiet", "--depth=1", "file://"+c.dir, shallow)
	_, err := NewSource(SourceInput{Dir: shallow, Repository: "https://git.example/payments"})
	require.ErrorContains(t, err, "set fetch-depth: 0")
	_, err = NewAuthors(AuthorsInput{Dir: shallow})
	require.ErrorContains(t, err, "set fetch-depth: 0")
	commit, _, err := Revision(shallow, "", "https://git.example/payments")
	require.NoError(t, err, "test results need no history")
	require.Equal(t, c.git("rev-parse", "main"), commit)

	c.now = c.now.Add(time.Minute)
	cmd := exec.CommandContext(t.Context(), "git", "-c", "user.name=ghost", "-c", "user.email=", "commit", "--quiet", "--allow-empty", "--message", "no address")
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	_, err = NewSource(SourceInput{Dir: c.dir, Repository: "https://git.example/payments"})
	require.ErrorContains(t, err, `"ghost" has no e-mail address`)
}

func TestOriginIsOneURLWithoutSecrets(t *testing.T) {
	c := newClone(t)
	c.commit("developer", "developer", "a", "first")
	c.git("remote", "add", "origin", "x")
	for written, want := range map[string]string{
		"https://git.example/payments/api.git":           "https://git.example/payments/api",
		"https://ci:token@git.example/payments/api/?a=b": "https://git.example/payments/api",
		"git@git.example:payments/api.git":               "https://git.example/payments/api",
		"git.example:payments/api":                       "https://git.example/payments/api",
		"ssh://git@git.example:2222/payments/api.git":    "https://git.example/payments/api",
		"http://git.example:8080/payments/api":           "http://git.example:8080/payments/api",
		"/home/somebody/payments":                        "",
	} {
		c.git("remote", "set-url", "origin", written)
		_, url, err := Revision(c.dir, "", "")
		if want == "" {
			require.ErrorContains(t, err, "--repository")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, url, written)
	}
}

// Whatever the history looks like, what ships is what git itself lists.
func TestRangesAreThoseOfGit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newClone(t)
		tree := c.git("write-tree")
		commits := []string{c.git("commit-tree", tree, "-m", "0")}
		for n := range rapid.IntRange(1, 7).Draw(r, "commits") {
			args := []string{"commit-tree", tree, "-m", strconv.Itoa(n + 1)}
			for _, parent := range rapid.SliceOfNDistinct(rapid.SampledFrom(commits), 0, 2, rapid.ID).Draw(r, "parents") {
				args = append(args, "-p", parent)
			}
			commits = append(commits, c.git(args...))
		}
		base, tip := rapid.SampledFrom(commits).Draw(r, "base"), rapid.SampledFrom(commits).Draw(r, "tip")
		repo, err := find(c.dir)
		require.NoError(r, err)
		from, err := resolve(repo, base)
		require.NoError(r, err)
		to, err := resolve(repo, tip)
		require.NoError(r, err)
		found, err := since(repo, from, to)
		require.NoError(r, err)
		var ids []string
		for _, commit := range found {
			ids = append(ids, commit.Hash.String())
		}
		want := strings.Fields(c.git("rev-list", base+".."+tip))
		slices.Sort(ids)
		slices.Sort(want)
		require.Equal(r, want, append([]string{}, ids...))
	})
}
