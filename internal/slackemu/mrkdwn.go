package slackemu

import (
	"fmt"
	"html"
	"html/template"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Slack's mrkdwn, as far as apps write it. Every piece of text is escaped before
// anything is made of it, so that a message can't bring markup of its own.
var (
	codeBlock = regexp.MustCompile("(?s)```(.+?)```")
	codeSpan  = regexp.MustCompile("`([^`\n]+)`")
	angle     = regexp.MustCompile(`<([^<>\n]+)>`)
	shortcode = regexp.MustCompile(`:([a-z0-9_+-]+):`)
	dateToken = regexp.MustCompile(`\{[a-z_]+\}`)
	spans     = []struct {
		find *regexp.Regexp
		tag  string
	}{
		{regexp.MustCompile(`(^|[\s(>*_~])\*([^*\n]+)\*`), "strong"},
		{regexp.MustCompile(`(^|[\s(>*_~])_([^_\n]+)_`), "em"},
		{regexp.MustCompile(`(^|[\s(>*_~])~([^~\n]+)~`), "s"},
	}
)

// emoji are drawn as a sign on a coloured tile, since not every machine has a
// font with pictures. Others stay as they are written.
var emoji = map[string]struct{ tile, sign string }{
	"white_check_mark": {"good", "✔"}, "heavy_check_mark": {"good", "✔"}, "large_green_circle": {"good", "●"}, "tada": {"good", "★"},
	"x": {"bad", "✘"}, "no_entry": {"bad", "–"}, "no_entry_sign": {"bad", "–"}, "octagonal_sign": {"bad", "■"}, "red_circle": {"bad", "●"},
	"rotating_light": {"bad", "!"}, "black_square_for_stop": {"bad", "■"}, "fire": {"bad", "!"}, "bell": {"bad", "!"},
	"warning": {"care", "!"}, "raised_hand": {"care", "?"}, "large_yellow_circle": {"care", "●"}, "hourglass": {"care", "◷"},
	"hourglass_flowing_sand": {"care", "◷"}, "alarm_clock": {"care", "◷"}, "stopwatch": {"care", "◷"},
	"arrow_forward": {"info", "▶"}, "double_vertical_bar": {"info", "❚❚"}, "pause_button": {"info", "❚❚"}, "rocket": {"info", "➚"},
	"leftwards_arrow_with_hook": {"info", "↩"}, "rewind": {"info", "↩"}, "arrows_counterclockwise": {"info", "↻"}, "snowflake": {"info", "❄"},
	"information_source": {"info", "i"}, "memo": {"info", "✎"}, "mag": {"info", "⌕"}, "package": {"info", "◆"}, "large_blue_circle": {"info", "●"},
}

// mrkdwn renders a text that uses it. names finds the name of a user or channel.
func mrkdwn(text string, names func(id string) string) template.HTML {
	var kept []string
	keep := func(markup string) string {
		kept = append(kept, markup)
		return fmt.Sprintf("\x00%d\x00", len(kept)-1)
	}
	text = strings.ReplaceAll(text, "\x00", "")
	text = codeBlock.ReplaceAllStringFunc(text, func(found string) string {
		return keep("<pre>" + escape(strings.Trim(found, "`\n")) + "</pre>")
	})
	text = codeSpan.ReplaceAllStringFunc(text, func(found string) string {
		return keep("<code>" + escape(strings.Trim(found, "`")) + "</code>")
	})
	text = angle.ReplaceAllStringFunc(text, func(found string) string { return keep(special(found[1:len(found)-1], names)) })
	text = escape(text)
	for _, span := range spans {
		text = span.find.ReplaceAllString(text, "$1<"+span.tag+">$2</"+span.tag+">")
	}
	return template.HTML(restoreKept(emojis(quotes(text)), kept)) //nolint:gosec // every piece was escaped
}

// plainHTML renders a plain_text object: no markup but emoji.
func plainHTML(text string) template.HTML {
	return template.HTML(emojis(strings.ReplaceAll(escape(text), "\n", "<br>"))) //nolint:gosec // escaped
}

// escape makes a text inert. What the app has escaped as Slack demands is taken
// back first.
func escape(text string) string {
	text = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
	return html.EscapeString(text)
}

func emojis(text string) string {
	return shortcode.ReplaceAllStringFunc(text, func(found string) string {
		if e, ok := emoji[strings.Trim(found, ":")]; ok {
			return `<span class="emoji ` + e.tile + `" title="` + found + `">` + e.sign + `</span>`
		}
		return found
	})
}

// quotes sets lines that begin with > apart and ends the others with a break.
func quotes(text string) string {
	var out strings.Builder
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		quoted, ok := strings.CutPrefix(line, "&gt;")
		switch {
		case ok:
			out.WriteString("<blockquote>" + strings.TrimPrefix(quoted, " ") + "</blockquote>")
		case i < len(lines)-1:
			out.WriteString(line + "<br>")
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// restoreKept puts back what was kept, the last first, since it may hold others.
func restoreKept(text string, kept []string) string {
	for i, markup := range slices.Backward(kept) {
		text = strings.Replace(text, fmt.Sprintf("\x00%d\x00", i), markup, 1)
	}
	return text
}

// special renders what stands in angle brackets: a link, a mention, a date.
func special(inside string, names func(id string) string) string {
	target, label, labelled := strings.Cut(inside, "|")
	switch {
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		if !labelled {
			label = names(target[1:])
		}
		return `<span class="mention">` + escape(target[:1]+label) + `</span>`
	case strings.HasPrefix(target, "!date^"):
		return escape(date(target, label))
	case strings.HasPrefix(target, "!"):
		if !labelled {
			label = strings.TrimPrefix(target, "!")
		}
		return `<span class="mention">@` + escape(strings.TrimPrefix(label, "@")) + `</span>`
	}
	address, err := url.Parse(strings.ReplaceAll(target, "&amp;", "&"))
	if err != nil || (address.Scheme != "http" && address.Scheme != "https" && address.Scheme != "mailto") {
		return escape("<" + inside + ">")
	}
	if !labelled {
		label = target
	}
	return `<a href="` + html.EscapeString(address.String()) + `" target="_blank" rel="noopener">` + escape(label) + `</a>`
}

// date renders <!date^seconds^format^link|fallback>, in the machine's zone.
func date(target, fallback string) string {
	parts := strings.Split(target, "^")
	if len(parts) < 3 {
		return fallback
	}
	seconds, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return fallback
	}
	when := time.Unix(seconds, 0)
	forms := map[string]string{
		"{date_num}": "2006-01-02", "{date}": "January 2, 2006", "{date_short}": "Jan 2, 2006", "{date_long}": "Monday, January 2, 2006",
		"{date_pretty}": "January 2, 2006", "{date_short_pretty}": "Jan 2, 2006", "{date_long_pretty}": "Monday, January 2, 2006",
		"{time}": "15:04", "{time_secs}": "15:04:05",
	}
	return dateToken.ReplaceAllStringFunc(parts[2], func(token string) string {
		if form, ok := forms[token]; ok {
			return when.Format(form)
		}
		return token
	})
}
