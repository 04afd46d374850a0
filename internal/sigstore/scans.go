package sigstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// maxSeverities bounds the severities that one scan may name; scanners know
// about five.
const maxSeverities = 20

// vulns is the part of in-toto's vulnerability attestation v0.2 that is read.
type vulns struct {
	Scanner struct {
		URI string `json:"uri"`
		DB  struct {
			LastUpdate time.Time `json:"lastUpdate"`
		} `json:"db"`
		Result *[]finding `json:"result"`
	} `json:"scanner"`
	Metadata struct {
		Finished time.Time `json:"scanFinishedOn"`
	} `json:"metadata"`
}

// finding is one vulnerability. Each severity has a scoring method of its own.
type finding struct {
	ID       string `json:"id"`
	Severity []struct {
		Score string `json:"score"`
	} `json:"severity"`
}

// judgeScans reads every scan. Nothing that a scan found is held against the
// image here; a scan that can't be read is, since it hides what it found.
func judgeScans(papers []accepted) (facts []signals.Scan, refusals []string) {
	for _, paper := range papers {
		scan, err := readScan(paper)
		if err != nil {
			refusals = append(refusals, fmt.Sprintf("vulnerabilities: not an in-toto vulnerability attestation v0.2: %v", err))
			continue
		}
		facts = append(facts, scan)
	}
	return facts, refusals
}

func readScan(paper accepted) (signals.Scan, error) {
	var v vulns
	if err := json.Unmarshal(paper.body, &v); err != nil {
		return signals.Scan{}, err
	}
	switch {
	case v.Scanner.URI == "":
		return signals.Scan{}, errors.New("scanner.uri is missing")
	case v.Scanner.Result == nil:
		return signals.Scan{}, errors.New("scanner.result is missing; a scan that found nothing has an empty list")
	case v.Metadata.Finished.IsZero():
		return signals.Scan{}, errors.New("metadata.scanFinishedOn is missing")
	}
	found := map[string]int{}
	for _, f := range *v.Scanner.Result {
		found[f.severity()]++
		if len(found) > maxSeverities {
			return signals.Scan{}, fmt.Errorf("more than %d severities", maxSeverities)
		}
	}
	return signals.Scan{
		SignedFact: paper.fact, Scanner: v.Scanner.URI, Found: found,
		Finished: v.Metadata.Finished, Database: v.Scanner.DB.LastUpdate,
	}, nil
}

// severity is the first word that the scanner has for it. Where there are scores
// alone, the highest counts, in the words of the CVSS specification.
func (f finding) severity() string {
	highest := -1.0
	for _, s := range f.Severity {
		score, err := strconv.ParseFloat(s.Score, 64)
		switch {
		case err != nil && s.Score != "":
			return s.Score
		case err == nil:
			highest = max(highest, score)
		}
	}
	switch {
	case highest >= 9:
		return "CRITICAL"
	case highest >= 7:
		return "HIGH"
	case highest >= 4:
		return "MEDIUM"
	case highest > 0:
		return "LOW"
	case highest == 0:
		return "NONE"
	default:
		return "UNKNOWN"
	}
}
