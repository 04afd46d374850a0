package analysis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRender(t *testing.T) {
	text, err := Render(`rate(x{ns="{{.Namespace}}",w="{{.Workload}}",t="{{.Track}}"}[{{.Window}}])`,
		Vars{Namespace: "prod", Workload: "api-canary", Track: "canary", Window: "4s"})
	require.NoError(t, err)
	require.Equal(t, `rate(x{ns="prod",w="api-canary",t="canary"}[4s])`, text)
	_, err = Render("{{.Windwo}}", Vars{})
	require.ErrorContains(t, err, "Windwo")
	_, err = Render("{{.Window", Vars{})
	require.ErrorContains(t, err, "not a valid template")
}

func TestRange(t *testing.T) {
	cases := []struct {
		elapsed time.Duration
		reach   int
		want    string
	}{
		{0, FullReach, "2s"},
		{2900 * time.Millisecond, FullReach, "2s"},
		{3 * time.Second, FullReach, "3s"},
		{time.Hour, FullReach, "10s"},
		{time.Hour, 20, "20s"},
		{15 * time.Second, 40, "10s"},
		{90 * time.Second, 160, "1m20s"},
	}
	for _, c := range cases {
		_, text := Range(c.elapsed, time.Second, c.reach)
		require.Equal(t, c.want, text, "%v", c)
	}
}

// TestRangeStaysInTheWindow: data from before the judged time is never looked at,
// and a whole day's window needs few distinct query texts.
func TestRangeStaysInTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(1, 60_000).Draw(t, "interval ms")) * time.Millisecond
		reach := rapid.IntRange(LeastReach, 1<<20).Draw(t, "reach")
		texts := map[string]bool{}
		for looks := LeastReach; looks < 5000; looks++ {
			elapsed := time.Duration(looks) * interval
			d, text := Range(elapsed, interval, reach)
			require.LessOrEqual(t, d, elapsed)
			require.GreaterOrEqual(t, d, LeastReach*interval)
			texts[text] = true
		}
		require.LessOrEqual(t, len(texts), 20)
	})
}

func TestNextReach(t *testing.T) {
	require.Equal(t, 20, NextReach(10, 3, 5))
	require.Equal(t, 10, NextReach(10, 5, 5))
	require.Equal(t, 20, NextReach(20, 19, 5))
	require.Equal(t, 10, NextReach(20, 20, 5))
	require.Equal(t, 10, NextReach(10, 1000, 5))
}

func TestLooks(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	l := Looks{From: at(1), Interval: time.Second, End: at(4)}
	cases := []struct{ last, now, want float64 }{
		{-100, 0, 3},   // first: two intervals after the warm-up
		{3, 3.2, 4},    // then each interval
		{3, 2.9, 4},    // a clock that went back does not repeat a look
		{-100, 3.5, 4}, // a late start goes on with the grid
		{-100, 9, 9},   // a very late one looks once, at once
		{3, 4, 4},
	}
	for _, c := range cases {
		require.Equal(t, at(c.want), l.Next(at(c.last), at(c.now)), "%v", c)
	}
	short := Looks{From: at(1), Interval: time.Second, End: at(2)}
	require.Equal(t, at(2), short.Next(at(-100), at(0)), "a window shorter than two intervals is looked at once, at its end")
}

func TestLooksGoOnAndEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1000, 0)
		draw := func(label string, most int64) time.Duration {
			return time.Duration(rapid.Int64Range(1, most).Draw(t, label)) * time.Millisecond
		}
		l := Looks{From: start.Add(draw("warm-up", 5000)), Interval: draw("interval", 5000), End: start.Add(draw("duration", 60000))}
		now, last := start.Add(draw("late by", 90000)), time.Time{}
		for range 100000 {
			next := l.Next(last, now)
			require.False(t, next.Before(now))
			require.True(t, next.After(last) || !next.Before(l.End))
			if last, now = next, next.Add(draw("look takes", 100)); !last.Before(l.End) {
				return
			}
		}
		t.Fatal("the window never ends")
	})
}
