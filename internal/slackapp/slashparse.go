package slackapp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// line is what a slash command asks for.
type line struct {
	Verb        string // list, status, freeze, unfreeze, help
	Release     string
	Service     string
	Environment string
	For         time.Duration
	Reason      string
}

// longestFreeze bounds "for": a lane that stays frozen by mistake is found by
// people only when it hurts.
const longestFreeze = 90 * 24 * time.Hour

var usage = []string{
	"`/waybill list [SERVICE]`: the latest releases",
	"`/waybill status RELEASE`: where one stands",
	"`/waybill freeze SERVICE ENVIRONMENT [for 2h] REASON`: let no ordinary release begin there",
	"`/waybill unfreeze SERVICE ENVIRONMENT REASON`: let them begin again",
	"`/waybill help`: this",
}

// parseLine reads the text after /waybill. Errors are for the person who typed.
func parseLine(text string) (line, error) {
	fields := strings.Fields(strings.ToValidUTF8(text, "\uFFFD"))
	if len(fields) == 0 {
		return line{Verb: "help"}, nil
	}
	verb, rest := strings.ToLower(fields[0]), fields[1:]
	switch verb {
	case "help":
		return line{Verb: verb}, nil
	case "list":
		return parseList(rest)
	case "status":
		if len(rest) != 1 || !signals.ValidReleaseID(rest[0]) {
			return line{}, errors.New("status wants one release's id, as list shows it")
		}
		return line{Verb: verb, Release: rest[0]}, nil
	case "freeze", "unfreeze":
		return parseFreeze(verb, rest)
	}
	return line{}, fmt.Errorf("there is no command %q", clip(verb, 40))
}

func parseList(rest []string) (line, error) {
	switch {
	case len(rest) == 0:
		return line{Verb: "list"}, nil
	case len(rest) > 1 || !signals.ValidName(rest[0]):
		return line{}, errors.New("list wants no more than a service's name of the catalog (lower case letters, digits, dashes)")
	}
	return line{Verb: "list", Service: rest[0]}, nil
}

func parseFreeze(verb string, rest []string) (line, error) {
	if len(rest) < 2 || !signals.ValidName(rest[0]) || !signals.ValidName(rest[1]) {
		return line{}, fmt.Errorf("%s wants a service and an environment by their names in the catalog", verb)
	}
	out := line{Verb: verb, Service: rest[0], Environment: rest[1]}
	rest = rest[2:]
	if verb == "freeze" && len(rest) > 1 && strings.EqualFold(rest[0], "for") {
		// "for the audit" is a reason; "for 2h" is a time.
		if d, err := time.ParseDuration(rest[1]); err == nil {
			if d <= 0 || d > longestFreeze {
				return line{}, fmt.Errorf("for %s: want up to %s, such as 90m or 48h", clip(rest[1], 40), longestFreeze)
			}
			out.For, rest = d, rest[2:]
		} else if rest[1] != "" && rest[1][0] >= '0' && rest[1][0] <= '9' {
			return line{}, fmt.Errorf("for %s: want a time such as 90m or 48h", clip(rest[1], 40))
		}
	}
	out.Reason = strings.Join(rest, " ")
	if n := size(out.Reason); n < minRationale || n > maxRationale {
		return line{}, fmt.Errorf("%s wants a reason of %d to %d characters", verb, minRationale, maxRationale)
	}
	return out, nil
}
