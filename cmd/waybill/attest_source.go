package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/signals"
)

// sourceFlags are those of `attest source`.
type sourceFlags struct {
	signing
	in        attest.SourceInput
	event     string
	reviews   string
	merger    string
	reviewers []string
}

func newAttestSourceCommand(a *app) *cobra.Command {
	f := &sourceFlags{}
	cmd := &cobra.Command{
		Use: "source", Short: "Say who wrote, committed, merged and reviewed what ships", Args: cobra.NoArgs,
		Long: "Reads the commits that --commit has and --base has not, and names their authors, co-authors and\n" +
			"committers. None of them may approve the release. Name as --base what runs in production now; without,\n" +
			"it is the commit's first parent: the one commit, or all that a merge brought in.\n" +
			"In GitHub Actions who merged is read from the event; it and the reviewers can be given as well.",
		Example: "  waybill attest source --base v1.41.0 --image \"$IMAGE\" --key env://SOURCE_KEY\n" +
			"  waybill attest source --base v1.41.0 | jq .authors",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.attestSource(cmd, f) },
	}
	f.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.in.Dir, "repo", ".", "a folder in the Git repository, cloned in full")
	flags.StringVar(&f.in.Commit, "commit", "", "the revision that is built (default HEAD)")
	flags.StringVar(&f.in.Base, "base", "", "the revision that ran before (default: the first parent)")
	flags.StringVar(&f.in.Repository, "repository", "", "the repository's URL as provenance names it (default: that of GitHub Actions, else of remote origin)")
	flags.StringVar(&f.event, "event", os.Getenv("GITHUB_EVENT_PATH"), "file with the event of GitHub Actions (default $GITHUB_EVENT_PATH)")
	flags.StringVar(&f.reviews, "reviews", "", "file with the pull request's reviews, as GitHub's API lists them")
	flags.StringVar(&f.merger, "merger", "", "who merged the change: e-mail address, \"Name <address>\" or login")
	flags.StringArrayVar(&f.reviewers, "reviewer", nil, "who reviewed the change; may be repeated")
	return cmd
}

func (a *app) attestSource(cmd *cobra.Command, f *sourceFlags) error {
	host, err := f.host()
	if err != nil {
		return failed(exitUsage, err)
	}
	in := f.in
	in.Host, in.Repository = host, cmp.Or(in.Repository, gitHubRepository())
	source, err := attest.NewSource(in)
	if err != nil {
		return failed(exitUsage, err)
	}
	if host.Commit != "" && host.Commit != source.Commit {
		fmt.Fprintf(a.errs, "the event is about commit %s, not %s: who merged is not taken from it\n", host.Commit, source.Commit)
	}
	summary := fmt.Sprintf("%d commits by %d authors up to %s", source.Commits, len(source.Authors), source.Commit)
	return a.deliver(cmd.Context(), f.signing, signals.SourceReviewType, source, summary)
}

// host gathers what the code host knows. What is given by flag counts for
// whatever ships, what the event says for its commit alone.
func (f *sourceFlags) host() (attest.HostFacts, error) {
	var facts attest.HostFacts
	var err error
	if f.event != "" {
		if facts, err = attest.GitHubEvent(f.event); err != nil {
			return facts, err
		}
	}
	if f.reviews != "" {
		if facts.Reviewers, err = attest.GitHubReviews(f.reviews); err != nil {
			return facts, err
		}
	}
	for _, text := range f.reviewers {
		reviewer, err := attest.ParseContributor(text)
		if err != nil {
			return facts, fmt.Errorf("--reviewer %w", err)
		}
		facts.Reviewers = append(facts.Reviewers, reviewer)
	}
	if f.merger != "" {
		merger, err := attest.ParseContributor(f.merger)
		if err != nil {
			return facts, fmt.Errorf("--merger %w", err)
		}
		facts.Merger, facts.Commit = &merger, ""
	}
	return facts, nil
}
