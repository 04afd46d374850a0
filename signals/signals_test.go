package signals

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const aCommit = "4f1c9a0e5d7b8c6f2a3e4d5c6b7a8f9e0d1c2b3a"

func TestParseRequest(t *testing.T) {
	good := `{"service":"payments-api","environment":"prod","image":"r.example/a:1","commit":"` + aCommit + `"}`
	cases := map[string]struct{ in, says string }{
		"good":             {good, ""},
		"empty":            {"", "it is empty"},
		"not JSON":         {"service: x", "at byte"},
		"an array":         {"[]", "want a signals.Request"},
		"unknown field":    {strings.Replace(good, "image", "img", 1), `"img"`},
		"two objects":      {good + good, "exactly one object"},
		"service":          {strings.Replace(good, "payments-api", "Payments API", 1), `service "Payments API"`},
		"path in name":     {strings.Replace(good, "prod", "../prod", 1), `environment "../prod"`},
		"reserved":         {strings.Replace(good, "prod", "_intake", 1), `environment "_intake"`},
		"image with space": {strings.Replace(good, "r.example/a:1", "r.example/a :1", 1), "image"},
		"commit":           {strings.Replace(good, aCommit, "main", 1), `commit "main"`},
		"long reason":      {strings.Replace(good, `{`, `{"reason":"`+strings.Repeat("x", 2001)+`",`, 1), "2001"},
		"too large":        {strings.Repeat(" ", MaxRequestBytes+1), "at most"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest([]byte(c.in))
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestParseRequestListsEveryFault(t *testing.T) {
	_, err := ParseRequest([]byte(`{"service":"A","environment":"B","image":"","commit":"x"}`))
	require.Len(t, strings.Split(err.Error(), "\n"), 4)
}

func TestDurationIsTextWithAUnit(t *testing.T) {
	var d Duration
	require.NoError(t, json.Unmarshal([]byte(`"1m30s"`), &d))
	require.Equal(t, 90*time.Second, d.D())
	for _, bad := range []string{`30`, `"30"`, `"soon"`, `null5`} {
		require.Error(t, json.Unmarshal([]byte(bad), &d), bad)
	}
}

func TestDurationRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64().Draw(t, "ns"))
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back Duration
		if err := json.Unmarshal(b, &back); err != nil || back != d {
			t.Fatalf("%s came back as %s: %v", d, back, err)
		}
	})
}

// The plan digest is taken over JSON that has been through Temporal's converter
// and back: the bytes must not change on the way.
func TestPlanDigestSurvivesARoundTrip(t *testing.T) {
	limit := 0.01
	plan := Plan{
		Schema: PlanSchema, Release: "r", Request: Request{Service: "a", Image: "<&>"}, Steps: []Step{{Phase: Canary, Weight: 5}},
		Checks: []Check{{Name: "errors", Max: &limit}}, ResolvedAt: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
	}
	before, err := plan.Digest()
	require.NoError(t, err)
	b, err := json.Marshal(plan)
	require.NoError(t, err)
	var back Plan
	require.NoError(t, json.Unmarshal(b, &back))
	after, err := back.Digest()
	require.NoError(t, err)
	require.Equal(t, before, after)
	back.Steps[0].Weight = 50
	changed, err := back.Digest()
	require.NoError(t, err)
	require.NotEqual(t, before, changed)
}

func TestExitCodesTellOutcomesApart(t *testing.T) {
	seen := map[int]OutcomeKind{}
	for _, k := range []OutcomeKind{Promoted, RolledBack, Rejected, Denied, Expired, Aborted, Superseded, Terminated} {
		require.NotContains(t, seen, k.ExitCode())
		seen[k.ExitCode()] = k
	}
	require.Equal(t, Promoted, seen[0])
}
