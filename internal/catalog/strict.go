package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// document is a YAML document of a known shape while it is checked: every fault
// with its place, and the line of every field for faults that are found later.
type document struct {
	name   string
	lines  map[string]int
	faults []error
}

// decodeStrict reads exactly one YAML document into target, a pointer to a
// struct whose json tags name the fields. Unknown and duplicate fields and
// values of the wrong kind are faults, all of them listed.
func decodeStrict(name string, content []byte, target any) *document {
	d := &document{name: name, lines: map[string]int{}}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty; describe one service")
		}
		d.faults = append(d.faults, fmt.Errorf("%s: %w", name, err))
		return d
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.faults = append(d.faults, fmt.Errorf("%s: more than one document; a file describes one service", name))
		return d
	}
	value := d.read("", root.Content[0], reflect.TypeOf(target).Elem())
	if len(d.faults) > 0 {
		return d
	}
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, target)
	}
	if err != nil {
		d.faults = append(d.faults, fmt.Errorf("%s: %w", name, err))
	}
	return d
}

// fault notes what is wrong with the field at path.
func (d *document) fault(path, format string, args ...any) {
	d.faultAt(d.line(path), path, format, args...)
}

// faultAt notes what is wrong at a line within the field at path.
func (d *document) faultAt(line int, path, format string, args ...any) {
	place := d.name
	if line > 0 {
		place = fmt.Sprintf("%s:%d", d.name, line)
	}
	if path != "" {
		place += ": " + path
	}
	d.faults = append(d.faults, fmt.Errorf("%s: %w", place, fmt.Errorf(format, args...)))
}

// line is where the field at path, or the closest one around it, stands.
func (d *document) line(path string) int {
	for {
		if line, ok := d.lines[path]; ok {
			return line
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
}

// read turns node into what encoding/json would make of the same text, checking
// it against the type on the way.
func (d *document) read(path string, node *yaml.Node, t reflect.Type) any {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if _, seen := d.lines[path]; !seen {
		d.lines[path] = node.Line
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if node.Tag == "!!null" {
		return nil
	}
	switch composite := !decodesItself(t); {
	case composite && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		return d.readMapping(path, node, t)
	case composite && t.Kind() == reflect.Slice:
		return d.readSequence(path, node, t)
	}
	var value any
	err := node.Decode(&value)
	if err == nil {
		err = fits(value, t)
	}
	if err != nil {
		d.fault(path, "%w", err)
	}
	return value
}

func (d *document) readMapping(path string, node *yaml.Node, t reflect.Type) any {
	if node.Kind != yaml.MappingNode {
		d.fault(path, "want fields, found %s", describe(node))
		return nil
	}
	value := map[string]any{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			d.faultAt(key.Line, path, "merge keys (<<) are not read; use an anchor on the whole value")
			continue
		}
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		if _, twice := value[key.Value]; twice {
			d.faultAt(key.Line, path, "field %q stands twice; keep one", key.Value)
			continue
		}
		kind, ok := elementOf(t, key.Value)
		if !ok {
			d.faultAt(key.Line, path, "unknown field %q; %s", key.Value, suggest(key.Value, fieldNames(t)))
			continue
		}
		d.lines[at] = key.Line
		value[key.Value] = d.read(at, content, kind)
	}
	return value
}

func (d *document) readSequence(path string, node *yaml.Node, t reflect.Type) any {
	if node.Kind != yaml.SequenceNode {
		d.fault(path, "want a list, found %s", describe(node))
		return nil
	}
	value := make([]any, len(node.Content))
	for i, item := range node.Content {
		value[i] = d.read(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())
	}
	return value
}

// decodesItself tells whether the type has its own JSON form and is a leaf here.
func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

// elementOf is the type of the named field of a struct, or of a map's values.
func elementOf(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for field := range t.Fields() {
		if fieldName(field) == name {
			return field.Type, true
		}
	}
	return nil, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		names = append(names, fieldName(field))
	}
	return names
}

func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// fits reports in words whether the scalar can become a t.
func fits(value any, t reflect.Type) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("want %s: %w", article(t), err)
	}
	err = json.Unmarshal(text, reflect.New(t).Interface())
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("want %s, found %s", article(t), text)
	}
	return err
}

func article(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text (put it in quotes)"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "a " + t.Name()
	}
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", node.Value)
	}
}

// suggest lists the known names, the likely meant one first if there is one.
func suggest(name string, known []string) string {
	if len(known) == 0 {
		return "known: none"
	}
	known = slices.Sorted(slices.Values(known))
	text := "known: " + strings.Join(known, ", ")
	near := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
	if levenshtein.ComputeDistance(name, near) <= max(1, len(near)/3) {
		text = fmt.Sprintf("did you mean %q? %s", near, text)
	}
	return text
}
