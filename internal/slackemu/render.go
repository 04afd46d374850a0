package slackemu

import (
	"html/template"
	"net/url"
	"slices"

	"github.com/slack-go/slack"
)

// What the page's template shows.
type (
	pageView struct {
		Me                            User
		People                        []User
		Channels                      []channelView
		Channel, Name, Thread, Domain string
		Messages, Replies             []messageView
		Modal                         *modalView
		Notice                        string
	}
	channelView struct {
		ID, Name string
		Here     bool
	}
	messageView struct {
		Channel, TS, Thread, Parent  string
		Author, Initial, Time, When  string
		App, Only, Edited, Broadcast bool
		Text                         template.HTML
		Blocks                       []blockView
		Files                        []fileView
		Replies                      int
		LastReply                    string
	}
	fileView struct {
		Title, URL string
		Image      bool
	}
	modalView struct {
		ID            string
		Title         template.HTML
		Submit, Close string
		Lost          string
		Blocks        []blockView
	}
	blockView struct {
		Kind       string
		Text       template.HTML
		Fields     []template.HTML
		Items      []itemView
		Buttons    []buttonView
		Image, Alt string
		Input      *inputView
	}
	itemView struct {
		Text       template.HTML
		Image, Alt string
	}
	buttonView struct {
		Block, Action, Style string
		Text                 template.HTML
		Link                 bool
	}
	inputView struct {
		Kind, Name, Action, Placeholder, Value string
		Label, Hint                            template.HTML
		Optional                               bool
		Options                                []optionView
		Fault                                  string
		Min, Max                               int
	}
	optionView struct {
		Text     template.HTML
		Value    string
		Selected bool
	}
)

// scope is a block with what its buttons must send along.
type scope struct {
	Block                     blockView
	Channel, TS, View, Thread string
}

// Buttons are the block's.
func (s scope) Buttons() []buttonView { return s.Block.Buttons }

// In is a block of the message.
func (m messageView) In(b blockView) scope {
	return scope{Block: b, Channel: m.Channel, TS: m.TS, Thread: m.Thread}
}

// In is a block of the modal.
func (m modalView) In(b blockView, channel, thread string) scope {
	return scope{Block: b, Channel: channel, View: m.ID, Thread: thread}
}

func (in *inputView) fill(values []string) {
	if len(values) > 0 {
		in.Value = values[0]
	}
	for i := range in.Options {
		in.Options[i].Selected = slices.Contains(values, in.Options[i].Value)
	}
}

func (s *Server) textHTML(t *slack.TextBlockObject) template.HTML {
	switch {
	case t == nil:
		return ""
	case t.Type == slack.PlainTextType:
		return plainHTML(t.Text)
	}
	return mrkdwn(t.Text, s.name)
}

func (s *Server) blockViews(blocks slack.Blocks) []blockView {
	views := make([]blockView, len(blocks.BlockSet))
	for i, block := range blocks.BlockSet {
		views[i] = s.blockView(block)
	}
	return views
}

func (s *Server) blockView(block slack.Block) blockView {
	v := blockView{Kind: string(block.BlockType())}
	switch b := block.(type) {
	case *slack.HeaderBlock:
		v.Text = s.textHTML(b.Text)
	case *slack.SectionBlock:
		v.Text = s.textHTML(b.Text)
		for _, field := range b.Fields {
			v.Fields = append(v.Fields, s.textHTML(field))
		}
		if a := b.Accessory; a != nil && a.ButtonElement != nil {
			v.Buttons = []buttonView{button(b.BlockID, a.ButtonElement)}
		} else if a != nil && a.ImageElement != nil {
			v.Image, v.Alt = s.imageOf(deref(a.ImageElement.ImageURL), a.ImageElement.SlackFile), a.ImageElement.AltText
		}
	case *slack.ContextBlock:
		for _, element := range b.ContextElements.Elements {
			switch e := element.(type) {
			case *slack.TextBlockObject:
				v.Items = append(v.Items, itemView{Text: s.textHTML(e)})
			case *slack.ImageBlockElement:
				v.Items = append(v.Items, itemView{Image: s.imageOf(deref(e.ImageURL), e.SlackFile), Alt: e.AltText})
			}
		}
	case *slack.ActionBlock:
		for _, element := range b.Elements.ElementSet {
			if e, ok := element.(*slack.ButtonBlockElement); ok {
				v.Buttons = append(v.Buttons, button(b.BlockID, e))
			}
		}
	case *slack.ImageBlock:
		v.Text, v.Image, v.Alt = s.textHTML(b.Title), s.imageOf(b.ImageURL, b.SlackFile), b.AltText
	case *slack.InputBlock:
		v.Input = s.inputView(b)
	case *slack.MarkdownBlock:
		v.Text = plainHTML(b.Text)
	}
	return v
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func button(block string, e *slack.ButtonBlockElement) buttonView {
	return buttonView{Block: block, Action: e.ActionID, Style: string(e.Style), Text: plainHTML(e.Text.Text), Link: e.URL != ""}
}

// imageOf is where the page finds an image.
func (s *Server) imageOf(address string, uploaded *slack.SlackFileObject) string {
	if uploaded == nil {
		return address
	}
	if f := s.world.Files[uploaded.ID]; f != nil {
		return "/files-pri/" + f.ID + "/" + url.PathEscape(f.Name)
	}
	return uploaded.URL
}

func (s *Server) inputView(b *slack.InputBlock) *inputView {
	in := &inputView{Label: s.textHTML(b.Label), Hint: s.textHTML(b.Hint), Optional: b.Optional, Kind: string(b.Element.ElementType())}
	switch e := b.Element.(type) {
	case *slack.PlainTextInputBlockElement:
		in.Action, in.Min, in.Max = e.ActionID, e.MinLength, e.MaxLength
		if e.Placeholder != nil {
			in.Placeholder = e.Placeholder.Text
		}
		if e.Multiline {
			in.Kind = "multiline"
		}
	case *slack.SelectBlockElement:
		in.Action = e.ActionID
	case *slack.RadioButtonsBlockElement:
		in.Action = e.ActionID
	case *slack.CheckboxGroupsBlockElement:
		in.Action = e.ActionID
	}
	in.Name = "input:" + in.Action
	for _, option := range choices(b.Element) {
		in.Options = append(in.Options, optionView{Text: s.textHTML(option.Text), Value: option.Value})
	}
	return in
}
