// Package browser walks pages as a person does whose browser runs no scripts: it
// keeps cookies, follows redirects, fills in forms and presses their buttons.
package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// loadTime bounds the load of a page.
const loadTime = 20 * time.Second

// maxPage bounds what is read of one.
const maxPage = 4 << 20

// Browser is one person's, with the page that it shows.
type Browser struct {
	client *http.Client
	at     *url.URL
	page   *html.Node
}

// New is a browser without cookies and pages.
func New() (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Browser{client: &http.Client{Jar: jar, Timeout: loadTime}}, nil
}

// Open shows the page at address, after all redirects. A page with an error
// status is shown too, and is an error.
func (b *Browser) Open(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	return b.load(request)
}

// Press presses the first button that says label, after having put values into
// the fields of its form by their names.
func (b *Browser) Press(ctx context.Context, label string, values map[string]string) error {
	if b.page == nil {
		return errors.New("no page is open")
	}
	for form := range b.page.Descendants() {
		if form.DataAtom != atom.Form {
			continue
		}
		button := find(form, func(n *html.Node) bool { return n.DataAtom == atom.Button && text(n) == label })
		if button == nil {
			continue
		}
		fields, err := filled(form, values)
		if err != nil {
			return fmt.Errorf("%s: %w", b.at, err)
		}
		if name := attribute(button, "name"); name != "" {
			fields.Set(name, attribute(button, "value"))
		}
		action, err := b.at.Parse(attribute(form, "action"))
		if err != nil {
			return fmt.Errorf("%s: the form's action: %w", b.at, err)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", b.at.Scheme+"://"+b.at.Host)
		request.Header.Set("Referer", b.at.String())
		return b.load(request)
	}
	return fmt.Errorf("%s has no button %q; it says: %s", b.at, label, b.Text())
}

// At is the address of the page that is shown.
func (b *Browser) At() *url.URL { return b.at }

// Heading is the page's first heading, "" if it has none.
func (b *Browser) Heading() string {
	if heading := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.H1 }); heading != nil {
		return text(heading)
	}
	return ""
}

// Text is what the page says, without markup.
func (b *Browser) Text() string {
	if body := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.Body }); body != nil {
		return text(body)
	}
	return ""
}

func (b *Browser) load(request *http.Request) error {
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	page, err := html.Parse(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return fmt.Errorf("%s: %w", response.Request.URL, err)
	}
	b.at, b.page = response.Request.URL, page
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answered %s: %s", b.at.Redacted(), response.Status, b.Text())
	}
	return nil
}

// filled are a form's fields with the values in; each value must have one.
func filled(form *html.Node, values map[string]string) (url.Values, error) {
	fields := url.Values{}
	var known []string
	for n := range form.Descendants() {
		name := attribute(n, "name")
		if name == "" {
			continue
		}
		switch n.DataAtom {
		case atom.Input:
			fields.Set(name, attribute(n, "value"))
		case atom.Textarea:
			fields.Set(name, text(n))
		case atom.Select:
			if option := find(n, func(o *html.Node) bool { return o.DataAtom == atom.Option }); option != nil {
				fields.Set(name, text(option))
			}
		default:
			continue
		}
		known = append(known, name)
	}
	for name, value := range values {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("the form has no field %q", name)
		}
		fields.Set(name, value)
	}
	return fields, nil
}

func find(in *html.Node, is func(*html.Node) bool) *html.Node {
	if in == nil {
		return nil
	}
	for n := range in.Descendants() {
		if is(n) {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what a node says, with single spaces.
func text(n *html.Node) string {
	var out strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.DataAtom != atom.Style && d.Parent.DataAtom != atom.Script {
			out.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}
