package sigtest

import "fmt"

// object is a JSON object.
type object = map[string]any

// Provenance is a SLSA provenance v1 predicate of one build from source at commit.
func Provenance(source, commit, builder string) any {
	return object{
		"buildDefinition": object{
			"buildType":          BuildType,
			"externalParameters": object{"source": source, "ref": "refs/heads/main"},
			"internalParameters": object{},
			"resolvedDependencies": []object{
				{"uri": "git+" + source + "@refs/heads/main", "digest": object{"gitCommit": commit}},
			},
		},
		"runDetails": object{
			"builder":  object{"id": builder},
			"metadata": object{"invocationId": builder + "/" + commit},
		},
	}
}

// TestResult is an in-toto test-result v0.1 predicate about source at commit. A
// result of FAILED names the suite that failed.
func TestResult(source, commit, result string) any {
	suites := []string{"unit", "integration"}
	predicate := object{
		"result":        result,
		"configuration": []object{{"uri": "git+" + source, "digest": object{"gitCommit": commit}}},
		"passedTests":   suites,
	}
	switch result {
	case "FAILED":
		predicate["passedTests"], predicate["failedTests"] = suites[:1], suites[1:]
	case "WARNED":
		predicate["passedTests"], predicate["warnedTests"] = suites[:1], suites[1:]
	}
	return predicate
}

// SourceReview is a source predicate of the one commit, which author wrote and
// committed. An address that is "" leaves that part out.
func SourceReview(source, commit, author, reviewer string) any {
	person := func(address string) []object {
		if address == "" {
			return nil
		}
		return []object{{"email": address}}
	}
	return object{
		"repository": source, "commit": commit, "commits": 1,
		"authors": person(author), "committers": person(author), "reviewers": person(reviewer),
	}
}

// Vulns is an in-toto vulns v0.2 predicate with one finding per severity.
func Vulns(severities ...string) any {
	findings := []object{}
	for i, severity := range severities {
		findings = append(findings, object{
			"id": fmt.Sprintf("CVE-2026-%04d", i+1), "severity": []object{{"method": "vendor", "score": severity}},
		})
	}
	return object{
		"scanner": object{
			"uri": "https://scanner.example", "version": "1.4.0", "result": findings,
			"db": object{"uri": "https://scanner.example/db", "lastUpdate": "2026-01-01T00:00:00Z"},
		},
		"metadata": object{"scanStartedOn": "2026-01-02T03:04:05Z", "scanFinishedOn": "2026-01-02T03:05:06Z"},
	}
}
