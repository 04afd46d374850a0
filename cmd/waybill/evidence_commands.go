package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/evidence"
)

// keyFiles are the files that --keys or the environment names.
func (p *papers) keyFiles() []string {
	if len(p.keys) > 0 {
		return p.keys
	}
	return strings.FieldsFunc(os.Getenv("WAYBILL_EVIDENCE_KEYS"), func(r rune) bool { return r == ',' })
}

func newEvidenceVerifyCommand(p *papers) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [RELEASE]", Short: "Judge all papers, or one release's: exit status 6 if anything was altered or left out", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				_, _, found, err := p.lookUp(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := p.print(found.Report, found.WriteText); err != nil {
					return err
				}
				return verdict(found.Report.Faults)
			}
			report, err := p.verifyAll(cmd)
			if err != nil {
				return err
			}
			if err := p.print(report, report.WriteText); err != nil {
				return err
			}
			return report.Err()
		},
	}
	cmd.Flags().StringSliceVar(&p.heads, "head", nil, "digest of a manifest that must be there, as an earlier verification printed it or a lane remembers it")
	return cmd
}

func (p *papers) verifyAll(cmd *cobra.Command) (evidence.Report, error) {
	o, err := p.options()
	if err != nil {
		return evidence.Report{}, err
	}
	src, _, err := p.source(cmd.Context())
	if err != nil {
		return evidence.Report{}, err
	}
	report, err := evidence.Verify(cmd.Context(), src, o)
	return report, unreachable(err)
}

func newEvidenceListCommand(p *papers) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the releases that have papers, with their outcomes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := p.verifyAll(cmd)
			if err != nil {
				return err
			}
			return p.print(report.Releases, func(w io.Writer) { evidence.WriteList(w, report.Releases) })
		},
	}
}

func newEvidenceShowCommand(p *papers) *cobra.Command {
	return &cobra.Command{
		Use: "show RELEASE", Short: "Show a release's records as a timeline", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, found, err := p.lookUp(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.print(found, found.WriteText); err != nil {
				return err
			}
			return verdict(found.Report.Faults)
		},
	}
}

func newEvidenceAskCommand(p *papers) *cobra.Command {
	var questions []string
	for _, q := range evidence.Questions() {
		questions = append(questions, string(q))
	}
	return &cobra.Command{
		Use: "ask {" + strings.Join(questions, "|") + "} RELEASE", Short: "Answer one of the auditor's five questions from signed records alone",
		Args: cobra.ExactArgs(2), ValidArgs: questions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(questions, args[0]) {
				return failed(exitUsage, fmt.Errorf("question %q: ask one of %s", args[0], strings.Join(questions, ", ")))
			}
			src, o, found, err := p.lookUp(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			answer, err := evidence.Ask(cmd.Context(), src, o, found, evidence.Question(args[0]))
			if err != nil {
				return err
			}
			if err := p.print(answer, answer.WriteText); err != nil {
				return err
			}
			return verdict(answer.Faults)
		},
	}
}

func newEvidenceCatCommand(p *papers) *cobra.Command {
	return &cobra.Command{
		Use: "cat {KEY|RELEASE/SEQUENCE}", Short: "Print a record's signed statement, as it was signed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, _, err := p.source(cmd.Context())
			if err != nil {
				return err
			}
			ring, err := evidence.KeyringFromFiles(p.keyFiles()...)
			if err != nil {
				return failed(exitUsage, err)
			}
			found, err := evidence.Statements(cmd.Context(), src, args[0], ring)
			if err != nil {
				return unreachable(err)
			}
			var faults []evidence.Fault
			for _, f := range found {
				fmt.Fprintf(p.errs, "%s: %s\n", f.Key, f.Verdict())
				if _, err := p.out.Write(append(f.Statement, '\n')); err != nil {
					return err
				}
				faults = append(faults, f.Faults...)
			}
			return verdict(faults)
		},
	}
}

func newEvidenceExportCommand(p *papers) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "export --to FOLDER", Short: "Copy the bucket into a folder that can be verified offline, versions and locks included", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(map[string]string{"to": to}); err != nil {
				return err
			}
			src, name, err := p.source(cmd.Context())
			if err != nil {
				return err
			}
			n, err := evidence.Export(cmd.Context(), src, name, to, time.Now())
			if err != nil {
				return err
			}
			return p.print(map[string]any{"objects": n, "folder": to}, func(w io.Writer) { fmt.Fprintf(w, "%d objects copied to %s\n", n, to) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the folder to copy to; it must not hold a copy yet")
	return cmd
}
