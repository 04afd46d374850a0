package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/catalog"
)

// catalogReport is the result of a check: the entries, or what is wrong.
type catalogReport struct {
	Valid   bool           `json:"valid"`
	Digest  string         `json:"digest,omitempty"`
	Entries []catalogEntry `json:"entries,omitempty"`
	Faults  []string       `json:"faults,omitempty"`
}

// catalogEntry is one service in one environment.
type catalogEntry struct {
	Service     string  `json:"service"`
	Environment string  `json:"environment"`
	Tier        int     `json:"tier"`
	Weights     []int32 `json:"weights"`
	Checks      int     `json:"checks"`
	Approvers   int     `json:"approvers"`
}

func newCatalogCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog", Short: "Check the catalog of services", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "check DIR", Short: "Read a catalog as the daemon does and list every fault in it", Args: cobra.ExactArgs(1),
		Long: "Reads every .yaml file in DIR as the daemon does. All faults are listed at once, each with\n" +
			"file, line and field. Exit status 0 if there is none, 2 if there are.",
		Example: "  waybill catalog check ./catalog",
		RunE:    func(_ *cobra.Command, args []string) error { return a.checkCatalog(args[0]) },
	})
	return cmd
}

func (a *app) checkCatalog(dir string) error {
	services, err := catalog.Load(dir)
	if err != nil && a.output == outputTable {
		return failed(exitUsage, err)
	}
	if err != nil {
		if err := a.print(catalogReport{Faults: strings.Split(err.Error(), "\n")}, nil); err != nil {
			return err
		}
		return failed(exitUsage, nil)
	}
	report := catalogReport{Valid: true, Digest: services.Digest()}
	for _, e := range services.Entries() {
		line := catalogEntry{Service: e.Service, Environment: e.Environment, Tier: e.Tier, Checks: len(e.Checks), Approvers: e.Approval.People()}
		for _, step := range e.Steps {
			line.Weights = append(line.Weights, step.Weight)
		}
		report.Entries = append(report.Entries, line)
	}
	return a.print(report, func(w io.Writer) {
		fmt.Fprintf(w, "catalog %s is valid\n", short(report.Digest))
		lines := [][]string{{"SERVICE", "ENVIRONMENT", "TIER", "WEIGHTS", "CHECKS", "APPROVERS"}}
		for _, e := range report.Entries {
			weights := strings.Trim(fmt.Sprint(e.Weights), "[]")
			lines = append(lines, []string{e.Service, e.Environment, strconv.Itoa(e.Tier), weights, strconv.Itoa(e.Checks), strconv.Itoa(e.Approvers)})
		}
		columns(w, lines)
	})
}
