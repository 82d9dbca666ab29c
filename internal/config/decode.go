package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a Config from a document. It goes on after a problem, so that
// all of them are reported.
type decoder struct {
	errs   Errors
	meant  []string // paths of the fields that misspelt ones seem to stand for
	budget int      // nodes left; aliases could otherwise make a small file huge
}

// aliasBudget allows every node of the file and a good deal of repetition.
func aliasBudget(data []byte) int { return 100_000 + 20*len(data) }

var (
	timeoutType    = reflect.TypeFor[Timeout]()
	sizeType       = reflect.TypeFor[Size]()
	hostPolicyType = reflect.TypeFor[HostPolicy]()
	prefixType     = reflect.TypeFor[netip.Prefix]()
	durationType   = reflect.TypeFor[time.Duration]()
	ageType        = reflect.TypeFor[Age]()
)

func (d *decoder) fail(n *yaml.Node, p *place, hint, format string, args ...any) {
	d.errs = append(d.errs, FieldError{Path: p.String(), Line: n.Line, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// decode fills v, which is settable, from n. The recursion is bounded by the
// depth of Config's types, which do not contain themselves.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, p *place) {
	if d.budget--; d.budget < 0 {
		if d.budget == -1 {
			// Of the whole file, so that what is missing now is not reported.
			d.fail(n, nil, "write fewer aliases", "the aliases (*name) of the file stand for too much")
		}
		return
	}
	n = resolved(n)
	if isNull(n) {
		d.decodeNull(n, v, p)
		return
	}
	switch v.Type() {
	case hostPolicyType:
		d.decodeHostPolicy(n, v, p)
		return
	case timeoutType, sizeType, prefixType, durationType, ageType:
		d.decodeText(n, v, p)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, v, p)
	case reflect.Slice:
		d.decodeSlice(n, v, p)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), p)
	default:
		d.decodeScalar(n, v, p)
	}
}

// decodeNull takes an empty list or section as unset: what is left when all of
// its lines are commented out. An empty value is refused: "percent:" would
// otherwise mean 100.
func (d *decoder) decodeNull(n *yaml.Node, v reflect.Value, p *place) {
	kind := v.Kind()
	if kind == reflect.Pointer {
		kind = v.Type().Elem().Kind()
	}
	if p == nil {
		d.fail(n, p, "it needs at least listeners, routes and backends", "is empty")
		return
	}
	if kind != reflect.Struct && kind != reflect.Slice || p.name == "" || v.Type() == hostPolicyType {
		d.fail(n, p, "give it one or remove the line", "has no value")
	}
}

func (d *decoder) decodeStruct(n *yaml.Node, v reflect.Value, p *place) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, p, "write the fields as name: value", "must be a section with fields, is %s", describe(n))
		return
	}
	names := fieldNames(v.Type())
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := slices.Index(names, key.Value)
		line, again := seen[key.Value]
		seen[key.Value] = key.Line
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fail(key, p, "", "has a field whose name is %s", describe(key))
		case key.Tag == "!!merge":
			d.fail(key, p, "write the fields out, or give the whole section as an alias", "merge keys (<<) are not supported")
		case !isToken(key.Value): // would make an odd path
			d.fail(key, p, "", "unknown field %q", abridged(key.Value))
		case again:
			d.fail(key, p.field(key.Value), "remove one of them", "is given twice, first on line %d", line)
		case field < 0:
			possible := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
			if name := closest(key.Value, possible); name != "" {
				d.meant = append(d.meant, p.field(name).String())
			}
			d.fail(key, p.field(key.Value), suggest(key.Value, possible), "unknown field")
		default:
			d.decode(value, v.Field(field), p.field(key.Value))
		}
	}
}

func (d *decoder) decodeSlice(n *yaml.Node, v reflect.Value, p *place) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, p, "write the elements as a list: [a, b], or one per line after a dash", "must be a list, is %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, element := range n.Content {
		if d.budget < 0 {
			return
		}
		d.decode(element, v.Index(i), p.at(i))
	}
}

func (d *decoder) decodeScalar(n *yaml.Node, v reflect.Value, p *place) {
	switch v.Kind() {
	case reflect.String:
		d.decodeString(n, v, p)
	case reflect.Bool:
		var b bool
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
			d.fail(n, p, "write true or false", "must be true or false, is %s", describe(n))
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		var i int64
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&i) != nil || v.OverflowInt(i) {
			d.fail(n, p, "write it in digits, without a unit or quotes", "must be a whole number, is %s", describe(n))
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		var f float64
		number := n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float")
		if !number || n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.fail(n, p, "write it like 12.5, without % or quotes", "must be a number, is %s", describe(n))
			return
		}
		v.SetFloat(f)
	default:
		// Only a new kind of field in Config's types can bring us here; the
		// tests decode every field once.
		panic("config: no decoder for " + v.Type().String())
	}
}

func (d *decoder) decodeString(n *yaml.Node, v reflect.Value, p *place) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, p, "", "must be a text, is %s", describe(n))
		return
	}
	if n.Tag != "!!str" {
		// A number or a truth value may not be what it looks like: 010, 1.0
		// and yes have other meanings in other YAML readers.
		if secret(p) {
			d.fail(n, p, "write it in quotes", "must be a text") // and must not get into logs
			return
		}
		d.fail(n, p, fmt.Sprintf("write %q, in quotes", n.Value), "must be a text, is %s", describe(n))
		return
	}
	if i := strings.IndexFunc(n.Value, forbiddenRune); i >= 0 {
		d.fail(n, p, "remove it", "has a control character at position %d", i+1)
		return
	}
	v.SetString(n.Value)
}

// secret says whether what is written at p must not be shown.
func secret(p *place) bool {
	path := p.String()
	return path == "admin.token" || path == "redact.key"
}

// forbiddenRune reports control characters other than the tab: no name, value
// or pattern needs one, and a line end in a header value would let a
// configuration smuggle requests.
func forbiddenRune(r rune) bool {
	return r < ' ' && r != '\t' || r >= 0x7f && r <= 0x9f || r == '\ufffd'
}

// decodeText fills the types that are written as a word with a meaning.
func (d *decoder) decodeText(n *yaml.Node, v reflect.Value, p *place) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, p, "", "must be a text, is %s", describe(n))
		return
	}
	var err *textError
	switch value := v.Addr().Interface().(type) {
	case *Timeout:
		*value, err = parseTimeout(n.Value)
	case *Size:
		*value, err = parseSize(n.Value)
	case *netip.Prefix:
		*value, err = parsePrefix(n.Value)
	case *time.Duration:
		*value, err = parseDuration(n.Value)
	case *Age:
		*value, err = parseAge(n.Value)
	}
	if err != nil {
		d.fail(n, p, err.hint, "%s", err.message)
	}
}

func (d *decoder) decodeHostPolicy(n *yaml.Node, v reflect.Value, p *place) {
	if n.Kind == yaml.MappingNode {
		var long struct {
			Literal string `yaml:"literal"`
		}
		d.decodeStruct(n, reflect.ValueOf(&long).Elem(), p)
		v.Set(reflect.ValueOf(HostPolicy{Kind: HostLiteral, Literal: long.Literal}))
		return
	}
	var word string
	d.decodeString(n, reflect.ValueOf(&word).Elem(), p)
	v.Set(reflect.ValueOf(HostPolicy{Kind: HostPolicyKind(word)}))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe names what is written at n, for "must be …, is …".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "the number " + abridged(n.Value)
	case n.Tag == "!!str":
		return fmt.Sprintf("%q", abridged(n.Value))
	}
	return abridged(n.Value)
}

// abridged keeps an error on one line.
func abridged(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// fieldCache holds fieldNames by reflect.Type: reading tags is slow, and there
// are as many structs as rules.
var fieldCache sync.Map

// fieldNames lists the fields of a struct type as a file spells them; "" is a
// field that no file can set. Must not be changed.
func fieldNames(t reflect.Type) []string {
	if names, ok := fieldCache.Load(t); ok {
		return names.([]string)
	}
	names := make([]string, t.NumField())
	for i := range names {
		if name := t.Field(i).Tag.Get("yaml"); name != "-" {
			names[i] = name
		}
	}
	fieldCache.Store(t, names)
	return names
}
