package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/attest"
)

// defaultDays is how far back changes of a configuration count.
const defaultDays = 30

func newAttestAuthorsCommand(a *app) *cobra.Command {
	var in attest.AuthorsInput
	var days int
	cmd := &cobra.Command{
		Use: "authors DIR", Short: "Write down who changed a folder of the catalog or of policies", Args: cobra.ExactArgs(1),
		Long: "Writes DIR/authors.json, by which whoever changed the catalog entry or the policies that a release\n" +
			"is made under is kept from approving it. For each file it names the authors and committers of every\n" +
			"commit since --base, or of the last --days, that changed it, and in any case those of the last one.\n" +
			"Run it where the folder is deployed from, before that.",
		Example: "  waybill attest authors ./catalog\n  waybill attest authors ./policies --base deployed",
		RunE: func(_ *cobra.Command, args []string) error {
			if days < 0 {
				return failed(exitUsage, fmt.Errorf("--days %d: want no negative number", days))
			}
			in.Dir, in.Within = args[0], time.Duration(days)*24*time.Hour
			return a.attestAuthors(in)
		},
	}
	cmd.Flags().StringVar(&in.Base, "base", "", "revision whose authors count no more, for example what is deployed now")
	cmd.Flags().IntVar(&days, "days", defaultDays, "without --base: how many days before the newest commit changes count")
	return cmd
}

func (a *app) attestAuthors(in attest.AuthorsInput) error {
	authors, err := attest.NewAuthors(in)
	if err != nil {
		return failed(exitUsage, err)
	}
	path, err := attest.WriteAuthors(in.Dir, authors)
	if err != nil {
		return err
	}
	return a.print(authors, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d files, %d people\n", path, len(authors.Files), len(authors.All()))
	})
}
