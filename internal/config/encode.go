package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Redacted stands for the admin token and the key of redaction wherever a Config
// is shown.
const Redacted = "[redacted]"

// versionDigits of SHA-256 tell the configurations of one installation apart
// and are short enough to be read aloud.
const versionDigits = 12

// YAML is the configuration in force, every default written out, its secrets
// redacted. Parsing it gives the same Config again, but for those.
// It fails only on a Config that was not validated.
func (c *Config) YAML() ([]byte, error) {
	// JSON is YAML, so one encoder serves both.
	var doc yaml.Node
	if err := yaml.Unmarshal(c.JSON(), &doc); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	setBlockStyle(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return out.Bytes(), nil
}

// JSON is what [Config.YAML] is, as JSON on one line. It is the canonical form
// that Config.Version is computed from.
func (c *Config) JSON() []byte {
	return appendValue(nil, reflect.ValueOf(c).Elem())
}

// version leaves secrets out, so that a version can be shown to anybody without
// letting them try out secrets at home.
func version(c *Config) string {
	sum := sha256.Sum256(c.JSON())
	return hex.EncodeToString(sum[:])[:versionDigits]
}

// String is the Admin with its token redacted, so that printing a Config does
// not leak it.
func (a Admin) String() string {
	return fmt.Sprintf("{Address:%s Token:%s Pprof:%t}", a.Address, a.redacted().Token, a.Pprof)
}

// GoString is String, for %#v.
func (a Admin) GoString() string { return "config.Admin" + a.String() }

// MarshalJSON redacts the token.
func (a Admin) MarshalJSON() ([]byte, error) {
	return appendStruct(nil, reflect.ValueOf(a.redacted())), nil
}

// MarshalYAML redacts the token.
func (a Admin) MarshalYAML() (any, error) {
	type plain Admin // without this method
	return plain(a.redacted()), nil
}

func (a Admin) redacted() Admin {
	if a.Token != "" {
		a.Token = Redacted
	}
	return a
}

// String is the Redact with its key redacted, so that printing a Config does not
// leak it.
func (r Redact) String() string {
	type plain Redact // without this method
	return fmt.Sprintf("%+v", plain(r.redacted()))
}

// GoString is String, for %#v.
func (r Redact) GoString() string { return "config.Redact" + r.String() }

// MarshalJSON redacts the key.
func (r Redact) MarshalJSON() ([]byte, error) {
	return appendStruct(nil, reflect.ValueOf(r.redacted())), nil
}

// MarshalYAML redacts the key.
func (r Redact) MarshalYAML() (any, error) {
	type plain Redact // without this method
	return plain(r.redacted()), nil
}

func (r Redact) redacted() Redact {
	if r.Key != "" {
		r.Key = Redacted
	}
	return r
}

// setBlockStyle drops JSON's braces and quotes; the encoder puts quotes back
// where they are needed. Short lists of scalars stay on one line.
func setBlockStyle(n *yaml.Node) {
	n.Style = 0
	scalars := n.Kind == yaml.SequenceNode
	for _, child := range n.Content {
		setBlockStyle(child)
		scalars = scalars && child.Kind == yaml.ScalarNode
	}
	if scalars {
		n.Style = yaml.FlowStyle
	}
}

// appendValue appends v as JSON. Fields in the order of the types; unset ones
// are left out, which after setDefaults means: what the file did not ask for.
func appendValue(dst []byte, v reflect.Value) []byte {
	switch value := v.Interface().(type) {
	case Admin:
		return appendStruct(dst, reflect.ValueOf(value.redacted()))
	case Redact:
		return appendStruct(dst, reflect.ValueOf(value.redacted()))
	case HostPolicy:
		return appendHostPolicy(dst, value)
	case fmt.Stringer: // Timeout, Size, netip.Prefix
		return appendString(dst, value.String())
	}
	switch v.Kind() {
	case reflect.Struct:
		return appendStruct(dst, v)
	case reflect.Pointer:
		return appendValue(dst, v.Elem())
	case reflect.Slice:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, v.Index(i))
		}
		return append(dst, ']')
	case reflect.String:
		return appendString(dst, v.String())
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case reflect.Float64:
		return strconv.AppendFloat(dst, v.Float(), 'f', -1, 64)
	}
	// Of whole numbers there is only this kind; any other panics here, in the
	// first test that meets it.
	return strconv.AppendInt(dst, v.Int(), 10)
}

func appendStruct(dst []byte, v reflect.Value) []byte {
	dst = append(dst, '{')
	first := true
	for i, name := range fieldNames(v.Type()) {
		field := v.Field(i)
		if name == "" || unset(field) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, name), ':')
		dst = appendValue(dst, field)
	}
	return append(dst, '}')
}

// unset is the zero value of a field, an empty list, or a section of such
// fields. A pointer is there to tell "unset" from zero, so what it points to
// is set, whatever it is.
func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice:
		return v.Len() == 0
	case reflect.Struct:
		for i := range v.NumField() {
			if !unset(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

func appendHostPolicy(dst []byte, h HostPolicy) []byte {
	if h.Kind == HostLiteral {
		dst = append(dst, `{"literal":`...)
		return append(appendString(dst, h.Literal), '}')
	}
	return appendString(dst, string(h.Kind))
}

// appendString escapes what JSON must have escaped, and what YAML does not
// read raw.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r > 0xffff || r != 0xfeff && unicode.IsPrint(r):
			dst = append(dst, string(r)...)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}
