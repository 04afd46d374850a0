package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/attest"
)

// testsFlags are those of `attest tests`.
type testsFlags struct {
	signing
	in  attest.TestInput
	dir string
}

func newAttestTestsCommand(a *app) *cobra.Command {
	f := &testsFlags{}
	cmd := &cobra.Command{
		Use: "tests --junit FILE...", Short: "Say which tests passed, from JUnit files", Args: cobra.ArbitraryArgs,
		Long: "Reads JUnit XML files, given by --junit or as arguments, and makes an in-toto test result of them:\n" +
			"PASSED, WARNED (tests that passed only when run again) or FAILED. A result that failed is attested too,\n" +
			"and stands against the image for good.",
		Example: "  waybill attest tests --junit unit.xml integration.xml --image \"$IMAGE\" --key env://TESTS_KEY",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.attestTests(cmd, f, args) },
	}
	f.flags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.in.Files, "junit", nil, "JUnit XML file; may be repeated")
	flags.StringVar(&f.dir, "repo", ".", "a folder in the Git repository that was tested")
	flags.StringVar(&f.in.Commit, "commit", "", "the revision that was tested (default HEAD)")
	flags.StringVar(&f.in.Repository, "repository", "", "the repository's URL (default: that of GitHub Actions, else of remote origin)")
	flags.StringVar(&f.in.URL, "url", "", "where the test run can be looked at")
	return cmd
}

func (a *app) attestTests(cmd *cobra.Command, f *testsFlags, args []string) error {
	in := f.in
	in.Files = append(in.Files, args...)
	if len(in.Files) == 0 {
		return failed(exitUsage, fmt.Errorf("name the JUnit files: %s", cmd.UseLine()))
	}
	var err error
	in.Commit, in.Repository, err = attest.Revision(f.dir, in.Commit, cmp.Or(in.Repository, gitHubRepository()))
	if err != nil {
		return failed(exitUsage, err)
	}
	result, err := attest.NewTestResult(in)
	if err != nil {
		return failed(exitUsage, err)
	}
	summary := fmt.Sprintf("tests %s (%s) of commit %s", result.Result, result.Counts(), in.Commit)
	return a.deliver(cmd.Context(), f.signing, attest.TestResultType, result, summary)
}
