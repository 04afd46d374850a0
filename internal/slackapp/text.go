package slackapp

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/slack-go/slack"

	"github.com/waybill-dev/waybill/signals"
)

// Slack's limits, in UTF-16 units as its clients count. A section may hold 3000;
// what stays below leaves room for the line that says what was left out.
const (
	maxHeader  = 150
	maxSection = 2900
	maxField   = 1900
	maxBlocks  = 50
)

// size is the length of a text as Slack counts it.
func size(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// clip shortens a raw text to at most limit units.
func clip(s string, limit int) string {
	if size(s) <= limit {
		return s
	}
	n := 0
	for i, r := range s {
		if n += max(utf16.RuneLen(r), 1); n > limit-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// plain puts a text on one line and takes out what can't be seen: control
// characters, and those that reverse or hide what is around them.
func plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return clip(strings.Join(strings.Fields(s), " "), limit)
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// words is a sentence inside a line of mrkdwn. A backtick could begin code that
// swallows what follows.
func words(s string, limit int) string {
	return escaper.Replace(strings.ReplaceAll(plain(s, limit), "`", "'"))
}

// code is a value as inline code, in which nothing is formatted.
func code(s string) string {
	if s = plain(s, 300); s == "" {
		return "–"
	}
	return "`" + escaper.Replace(strings.ReplaceAll(s, "`", "'")) + "`"
}

// quote is what a person wrote, as a quotation: each of its lines is marked, so
// that none can pose as the app's. It belongs into a block of its own.
func quote(s string, limit int) string {
	const mostLines = 8
	var lines []string
	left := limit
	for line := range strings.Lines(s) {
		if line = plain(line, max(left, 1)); line == "" {
			continue
		}
		if len(lines) == mostLines || left <= 0 {
			lines = append(lines, "> …")
			break
		}
		left -= size(line)
		lines = append(lines, "> "+escaper.Replace(strings.ReplaceAll(line, "`", "'")))
	}
	return strings.Join(lines, "\n")
}

// link is a link to a page of the web; the text alone if the address isn't one.
func link(address, text string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || size(address) > 1000 {
		return words(text, 200)
	}
	safe := strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", " ", "%20", "&", "&amp;").Replace(u.String())
	return "<" + safe + "|" + strings.ReplaceAll(words(text, 200), "|", "/") + ">"
}

// when is a time that each reader sees in the own time zone.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", t.Unix(), t.UTC().Format("2006-01-02 15:04 UTC"))
}

// span is a length of time without what is zero: 10m, not 10m0s.
func span(d signals.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// short is a digest or commit by its beginning, for reading only.
func short(s string) string {
	s = strings.TrimPrefix(s, "sha256:")
	if len(s) > 12 {
		s = s[:12]
	}
	return s
}

// mrkdwn is a text object. Verbatim keeps Slack from making links and mentions
// of its own out of the text.
func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true)
}

func plainText(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// fit joins lines as far as they fit into limit, and says how many did not.
func fit(limit int, lines ...string) string {
	var b strings.Builder
	used := 0
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if used += size(line) + 1; used > limit {
			fmt.Fprintf(&b, "… %d more", len(lines)-i)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

func section(lines ...string) *slack.SectionBlock {
	return slack.NewSectionBlock(mrkdwn(fit(maxSection, lines...)), nil, nil)
}

// quotation is a quote in a block of its own.
func quotation(s string, limit int) *slack.SectionBlock {
	return section(cmp.Or(quote(s, limit), "> –"))
}

func small(lines ...string) *slack.ContextBlock {
	return slack.NewContextBlock("", mrkdwn(fit(maxField, lines...)))
}

// bullets lists up to most sentences of at most limit units under a title.
func bullets(title string, list []string, most, limit int) []string {
	out := []string{title}
	for i, s := range list {
		if i == most {
			out = append(out, fmt.Sprintf("… %d more", len(list)-most))
			break
		}
		out = append(out, "• "+words(s, limit))
	}
	return out
}
