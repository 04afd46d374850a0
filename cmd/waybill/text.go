package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/waybill-dev/waybill/signals"
)

// clean makes text that came from elsewhere safe to show: a reason or a name
// must not be able to steer the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}

// short is the beginning of a digest or commit, enough to tell two apart.
func short(s string) string {
	const digits = 12
	prefix := ""
	if hex, ok := strings.CutPrefix(s, "sha256:"); ok {
		prefix, s = "sha256:", hex
	}
	if len(s) > digits {
		s = s[:digits] + "…"
	}
	return prefix + s
}

// left says how long it is until t in whole seconds, "" if t is not set.
func left(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := t.Sub(now).Round(time.Second)
	if d <= 0 {
		return "time is up"
	}
	return d.String() + " left"
}

// number shows a measurement with four significant digits.
func number(v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g", *v)
}

func quorum(q signals.Quorum) string {
	var parts []string
	for _, g := range q.Groups {
		part := fmt.Sprintf("%d of %s", g.Count, g.Group)
		if g.StepUp != nil {
			part += " (after a fresh login)"
		}
		parts = append(parts, part)
	}
	return clean(strings.Join(parts, " and "))
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return clean(s)
}

// columns writes rows in aligned columns.
func columns(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	// The writer beneath is a terminal or a buffer; failure to write shows there.
	_ = t.Flush()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
