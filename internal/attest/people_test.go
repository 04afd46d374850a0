package attest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// The mailmap is part of the change: it adds who somebody properly is, and can't
// put another in their place.
func TestMailmapAddsAndHidesNobody(t *testing.T) {
	c := newClone(t)
	c.write(".mailmap", "# who is who\nRelease Lead <release-lead@payments.example> <developer@payments.example>\n")
	c.git("add", ".mailmap")
	c.commit("developer", "developer", "a", "first")
	s := c.source(SourceInput{})
	require.Equal(t, []signals.Contributor{
		role("developer"), {Name: "Release Lead", Email: "release-lead@payments.example"},
	}, s.Authors)
	require.Equal(t, s.Authors, s.Committers)
}

func TestMailmapForms(t *testing.T) {
	names := parseMailmap("Proper Name <as@committed>\n<proper@a> <Old@a>\nProper <proper@b> Nick <shared@b>\nnonsense\n<> <>\n")
	for name, c := range map[string]struct{ written, mapped signals.Contributor }{
		"name":             {signals.Contributor{Name: "nick", Email: "as@committed"}, signals.Contributor{Name: "Proper Name", Email: "as@committed"}},
		"address":          {signals.Contributor{Name: "n", Email: "old@A"}, signals.Contributor{Name: "n", Email: "proper@a"}},
		"name and address": {signals.Contributor{Name: "Nick", Email: "shared@b"}, signals.Contributor{Name: "Proper", Email: "proper@b"}},
	} {
		require.Equal(t, []signals.Contributor{c.written, c.mapped}, names.both(c.written), name)
	}
	other := signals.Contributor{Name: "Other", Email: "shared@b"}
	require.Equal(t, []signals.Contributor{other}, names.both(other))
}

func TestLoginsAreReadFromAddresses(t *testing.T) {
	require.Equal(t, "on-call", contributor("", "12345+on-call@users.noreply.github.com").Login)
	require.Equal(t, "on-call", contributor("", "on-call@users.noreply.github.com").Login)
	require.Equal(t, "bumper[bot]", contributor("", "7+bumper[bot]@users.noreply.github.com").Login)
	require.Empty(t, contributor("", "on-call@payments.example").Login)
}

func TestParseContributor(t *testing.T) {
	for text, want := range map[string]signals.Contributor{
		"release-lead":                             {Login: "release-lead"},
		"@release-lead":                            {Login: "release-lead"},
		"queue[bot]":                               {Login: "queue[bot]"},
		"release-lead@payments.example":            {Email: "release-lead@payments.example"},
		"Release lead <lead@payments.example>":     {Name: "Release lead", Email: "lead@payments.example"},
		"7+release-lead@users.noreply.github.com ": {Login: "release-lead", Email: "7+release-lead@users.noreply.github.com"},
	} {
		found, err := ParseContributor(text)
		require.NoError(t, err)
		require.Equal(t, want, found)
	}
	for _, text := range []string{"", "Release Lead", "a b@c", "<>", "x <y>"} {
		_, err := ParseContributor(text)
		require.ErrorContains(t, err, "want an e-mail address", text)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestHostFactsCountForTheirCommit(t *testing.T) {
	c := newClone(t)
	c.commit("developer", "developer", "a", "first")
	tip := c.commit("developer", "developer", "a", "second")

	push, err := GitHubEvent(file(t, `{"ref": "refs/heads/main", "after": "`+tip+`", "pusher": {"name": "release-lead", "email": "lead@payments.example"}}`))
	require.NoError(t, err)
	s := c.source(SourceInput{Host: push})
	require.Equal(t, &signals.Contributor{Login: "release-lead", Email: "lead@payments.example"}, s.Merger)
	require.Nil(t, c.source(SourceInput{Commit: "HEAD~1", Host: push}).Merger, "another commit's merger is nobody's")

	pull, err := GitHubEvent(file(t, `{"after": "x", "pull_request": {"user": {"login": "opener"}, "merged_by": {"login": "on-call"}, "merge_commit_sha": "`+tip+`"}}`))
	require.NoError(t, err)
	pull.Reviewers, err = GitHubReviews(file(t, `[{"user": {"login": "b"}, "state": "APPROVED"}, {"user": {"login": "a"}, "state": "APPROVED"},
		{"user": {"login": "c"}, "state": "COMMENTED"}, {"user": null, "state": "APPROVED"}, {"user": {"login": "a"}, "state": "APPROVED"}]`))
	require.NoError(t, err)
	s = c.source(SourceInput{Host: pull})
	require.Equal(t, "on-call", s.Merger.Login)
	require.Equal(t, []signals.Contributor{{Login: "opener"}, role("developer")}, s.Committers)
	require.Equal(t, []signals.Contributor{{Login: "a"}, {Login: "b"}}, s.Reviewers)

	for _, other := range []string{`{}`, `{"pull_request": {"user": {"login": "opener"}, "merged_by": null}}`, `{"schedule": "* * * * *"}`} {
		facts, err := GitHubEvent(file(t, other))
		require.NoError(t, err)
		require.Zero(t, facts)
	}
	_, err = GitHubEvent(file(t, `[`))
	require.ErrorContains(t, err, "GitHub event")
	_, err = GitHubReviews(file(t, `{"message": "Not Found"}`))
	require.ErrorContains(t, err, "reviews")
}
