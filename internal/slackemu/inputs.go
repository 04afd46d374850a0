package slackemu

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// fill puts what a person entered, by action id or block id, into the view's
// state, and returns what Slack's own client would not send off: by block id,
// what is missing or too long.
func (v *view) fill(entered map[string][]string) map[string]string {
	v.entered = map[string][]string{}
	v.State.Values = map[string]map[string]object{}
	missing := map[string]string{}
	for _, c := range controls(v.Blocks) {
		if c.Input == nil {
			continue
		}
		values, given := entered[c.ActionID]
		if !given {
			values, given = entered[c.BlockID]
		}
		if !given {
			values = initial(c.Element)
		}
		v.entered[c.ActionID] = values
		state, length := held(c, values)
		v.State.Values[c.BlockID] = map[string]object{c.ActionID: state}
		if wrong := unfit(c, length); wrong != "" {
			missing[c.BlockID] = wrong
		}
	}
	return missing
}

// unfit says what is wrong with an input of the length.
func unfit(c control, length int) string {
	if length == 0 && !c.Input.Optional {
		return "This field is required"
	}
	t, ok := c.Element.(*slack.PlainTextInputBlockElement)
	switch {
	case !ok || length == 0:
		return ""
	case length < t.MinLength:
		return fmt.Sprintf("Use at least %d characters", t.MinLength)
	case t.MaxLength > 0 && length > t.MaxLength:
		return fmt.Sprintf("Use at most %d characters", t.MaxLength)
	}
	return ""
}

// initial is what an input holds before anybody touches it.
func initial(element slack.BlockElement) []string {
	switch e := element.(type) {
	case *slack.PlainTextInputBlockElement:
		if e.InitialValue != "" {
			return []string{e.InitialValue}
		}
	case *slack.SelectBlockElement:
		if e.InitialOption != nil {
			return []string{e.InitialOption.Value}
		}
	case *slack.RadioButtonsBlockElement:
		if e.InitialOption != nil {
			return []string{e.InitialOption.Value}
		}
	case *slack.CheckboxGroupsBlockElement:
		var values []string
		for _, option := range e.InitialOptions {
			values = append(values, option.Value)
		}
		return values
	}
	return nil
}

// choices are the options of an input that has some.
func choices(element slack.BlockElement) []*slack.OptionBlockObject {
	switch e := element.(type) {
	case *slack.SelectBlockElement:
		all := e.Options
		for _, group := range e.OptionGroups {
			all = slices.Concat(all, group.Options)
		}
		return all
	case *slack.RadioButtonsBlockElement:
		return e.Options
	case *slack.CheckboxGroupsBlockElement:
		return e.Options
	}
	return nil
}

// held is an input's state as Slack sends it, and how much it holds.
func held(c control, values []string) (state object, length int) {
	state = object{"type": c.Type}
	if options := choices(c.Element); options != nil {
		chosen := []*slack.OptionBlockObject{}
		for _, option := range options {
			if slices.Contains(values, option.Value) {
				chosen = append(chosen, option)
			}
		}
		switch {
		case c.Type == "checkboxes":
			state["selected_options"] = chosen
		case len(chosen) > 0:
			state["selected_option"] = chosen[0]
		default:
			state["selected_option"] = nil
		}
		return state, len(chosen)
	}
	state["value"] = nil
	if len(values) > 0 && values[0] != "" {
		state["value"] = values[0]
		length = utf8.RuneCountInString(values[0])
	}
	return state, length
}
