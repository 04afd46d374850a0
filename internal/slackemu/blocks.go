package slackemu

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// surface is where blocks are shown, and how many fit.
type surface struct {
	name string
	max  int
}

var (
	messageSurface = surface{"message", 50}
	modalSurface   = surface{"modal", 100}
)

// control is an element that a person acts on: a button of a message, or an
// input of a modal.
type control struct {
	BlockID, ActionID, Type string
	Button                  *slack.ButtonBlockElement
	Input                   *slack.InputBlock
	Element                 slack.BlockElement
}

// parseBlocks reads blocks, checks them against Slack's limits, and names those
// that have no id, as Slack does.
func (s *Server) parseBlocks(raw string, on surface) (slack.Blocks, error) {
	var blocks slack.Blocks
	if err := json.Unmarshal([]byte(raw), &blocks); err != nil {
		return blocks, refuse("invalid_blocks_format", err.Error())
	}
	c := checker{files: s.world.Files}
	c.blocks(blocks, on)
	if len(c.wrong) > 0 {
		return blocks, refuse("invalid_blocks", c.wrong...)
	}
	for i, block := range blocks.BlockSet {
		s.nextID++
		name(block, fmt.Sprintf("b%d%d", i, s.nextID))
	}
	return blocks, nil
}

// name gives a block an id if it has none.
func name(block slack.Block, id string) {
	var at *string
	switch b := block.(type) {
	case *slack.ActionBlock:
		at = &b.BlockID
	case *slack.SectionBlock:
		at = &b.BlockID
	case *slack.HeaderBlock:
		at = &b.BlockID
	case *slack.ContextBlock:
		at = &b.BlockID
	case *slack.ImageBlock:
		at = &b.BlockID
	case *slack.InputBlock:
		at = &b.BlockID
	case *slack.DividerBlock:
		at = &b.BlockID
	default:
		return
	}
	if *at == "" {
		*at = id
	}
}

// controls lists what can be acted on, in order.
func controls(blocks slack.Blocks) []control {
	var found []control
	add := func(id string, element slack.BlockElement, input *slack.InputBlock) {
		c := control{BlockID: id, Element: element, Input: input, Type: string(element.ElementType())}
		switch e := element.(type) {
		case *slack.ButtonBlockElement:
			c.Button, c.ActionID = e, e.ActionID
		case *slack.PlainTextInputBlockElement:
			c.ActionID = e.ActionID
		case *slack.SelectBlockElement:
			c.ActionID = e.ActionID
		case *slack.RadioButtonsBlockElement:
			c.ActionID = e.ActionID
		case *slack.CheckboxGroupsBlockElement:
			c.ActionID = e.ActionID
		}
		found = append(found, c)
	}
	for _, block := range blocks.BlockSet {
		switch b := block.(type) {
		case *slack.ActionBlock:
			if b.Elements == nil {
				continue
			}
			for _, element := range b.Elements.ElementSet {
				add(b.BlockID, element, nil)
			}
		case *slack.SectionBlock:
			if b.Accessory != nil && b.Accessory.ButtonElement != nil {
				add(b.BlockID, b.Accessory.ButtonElement, nil)
			}
		case *slack.InputBlock:
			if b.Element != nil {
				add(b.BlockID, b.Element, b)
			}
		}
	}
	return found
}

// checker collects what Slack would not accept, in its words as far as they are
// public.
type checker struct {
	files map[string]*file
	wrong []string
}

func (c *checker) add(at, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf("[ERROR] "+format, args...)+" [json-pointer:"+at+"]")
}

func (c *checker) length(at, text string, most int) {
	if n := utf8.RuneCountInString(text); n > most {
		c.add(at, "must be no more than %d characters, is %d", most, n)
	}
}

// text checks a text object; plain wants plain_text.
func (c *checker) text(at string, t *slack.TextBlockObject, plain bool, most int) {
	switch {
	case t == nil:
		c.add(at, "missing required field")
		return
	case t.Type != slack.PlainTextType && t.Type != slack.MarkdownType:
		c.add(at+"/type", "unsupported type: %s", t.Type)
	case plain && t.Type != slack.PlainTextType:
		c.add(at+"/type", "must be plain_text")
	case t.Type == slack.MarkdownType && t.Emoji != nil:
		c.add(at+"/emoji", "emoji is for plain_text only")
	case t.Text == "":
		c.add(at+"/text", "must be more than 0 characters")
	}
	c.length(at+"/text", t.Text, most)
}

func (c *checker) blocks(blocks slack.Blocks, on surface) {
	if n := len(blocks.BlockSet); n > on.max {
		c.add("/blocks", "no more than %d items allowed in a %s [%d]", on.max, on.name, n)
	}
	ids := map[string]bool{}
	for i, block := range blocks.BlockSet {
		at := fmt.Sprintf("/blocks/%d", i)
		if id := block.ID(); id != "" {
			if ids[id] {
				c.add(at+"/block_id", "duplicate block_id %s", id)
			}
			ids[id] = true
			c.length(at+"/block_id", id, 255)
		}
		c.block(at, block)
	}
	actions := map[[2]string]bool{}
	for _, found := range controls(blocks) {
		key := [2]string{found.BlockID, found.ActionID}
		if found.ActionID != "" && actions[key] {
			c.add("/blocks", "action_id %s is twice in block %s", found.ActionID, found.BlockID)
		}
		actions[key] = true
		c.length("/blocks", found.ActionID, 255)
	}
}

func (c *checker) block(at string, block slack.Block) {
	switch b := block.(type) {
	case *slack.HeaderBlock:
		c.text(at+"/text", b.Text, true, 150)
	case *slack.SectionBlock:
		c.section(at, b)
	case *slack.ContextBlock:
		if n := len(b.ContextElements.Elements); n < 1 || n > 10 {
			c.add(at+"/elements", "want 1 to 10 items, are %d", n)
		}
		for i, element := range b.ContextElements.Elements {
			if t, ok := element.(*slack.TextBlockObject); ok {
				c.text(fmt.Sprintf("%s/elements/%d", at, i), t, false, 2000)
			}
		}
	case *slack.ActionBlock:
		if b.Elements == nil || len(b.Elements.ElementSet) < 1 || len(b.Elements.ElementSet) > 25 {
			c.add(at+"/elements", "want 1 to 25 items")
			return
		}
		for i, element := range b.Elements.ElementSet {
			c.element(fmt.Sprintf("%s/elements/%d", at, i), element)
		}
	case *slack.ImageBlock:
		c.image(at, b.ImageURL, b.SlackFile, b.AltText)
		if b.Title != nil {
			c.text(at+"/title", b.Title, true, 2000)
		}
	case *slack.InputBlock:
		c.text(at+"/label", b.Label, true, 2000)
		if b.Hint != nil {
			c.text(at+"/hint", b.Hint, true, 2000)
		}
		if b.Element == nil {
			c.add(at+"/element", "missing required field")
			return
		}
		c.element(at+"/element", b.Element)
	case *slack.MarkdownBlock:
		c.length(at+"/text", b.Text, 12_000)
	case *slack.UnknownBlock:
		c.add(at+"/type", "unsupported type: %s", b.Type)
	}
}

func (c *checker) section(at string, b *slack.SectionBlock) {
	if b.Text == nil && len(b.Fields) == 0 {
		c.add(at, "missing text or fields")
	}
	if b.Text != nil {
		c.text(at+"/text", b.Text, false, 3000)
	}
	if len(b.Fields) > 10 {
		c.add(at+"/fields", "no more than 10 items allowed [%d]", len(b.Fields))
	}
	for i, field := range b.Fields {
		c.text(fmt.Sprintf("%s/fields/%d", at, i), field, false, 2000)
	}
	if b.Accessory != nil && b.Accessory.ButtonElement != nil {
		c.element(at+"/accessory", b.Accessory.ButtonElement)
	}
}

func (c *checker) image(at, address string, uploaded *slack.SlackFileObject, alt string) {
	if (address == "") == (uploaded == nil) {
		c.add(at, "want one of image_url and slack_file")
	}
	if uploaded != nil && uploaded.ID != "" && (c.files[uploaded.ID] == nil || c.files[uploaded.ID].URLPrivate == "") {
		c.add(at+"/slack_file", "invalid slack file")
	}
	if alt == "" {
		c.add(at+"/alt_text", "missing required field")
	}
	c.length(at+"/alt_text", alt, 2000)
	c.length(at+"/image_url", address, 3000)
}

func (c *checker) element(at string, element slack.BlockElement) {
	switch e := element.(type) {
	case *slack.ButtonBlockElement:
		c.text(at+"/text", e.Text, true, 75)
		c.length(at+"/value", e.Value, 2000)
		c.length(at+"/url", e.URL, 3000)
		if e.Style != "" && e.Style != slack.StylePrimary && e.Style != slack.StyleDanger {
			c.add(at+"/style", "want primary or danger")
		}
	case *slack.PlainTextInputBlockElement:
		if e.Placeholder != nil {
			c.text(at+"/placeholder", e.Placeholder, true, 150)
		}
		if e.MinLength > 3000 || e.MaxLength > 3000 {
			c.add(at+"/max_length", "must be no more than 3000")
		}
		c.length(at+"/initial_value", e.InitialValue, 3000)
	case *slack.RadioButtonsBlockElement:
		c.options(at, e.Options, 10)
	case *slack.CheckboxGroupsBlockElement:
		c.options(at, e.Options, 10)
	case *slack.SelectBlockElement:
		if e.Type == slack.OptTypeStatic && len(e.OptionGroups) == 0 {
			c.options(at, e.Options, 100)
		}
	}
}

func (c *checker) options(at string, options []*slack.OptionBlockObject, most int) {
	if len(options) < 1 || len(options) > most {
		c.add(at+"/options", "want 1 to %d items, are %d", most, len(options))
	}
	for i, option := range options {
		c.text(fmt.Sprintf("%s/options/%d/text", at, i), option.Text, false, 75)
		c.length(fmt.Sprintf("%s/options/%d/value", at, i), option.Value, 150)
	}
}
