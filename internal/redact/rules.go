package redact

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/understudy-proxy/understudy/internal/config"
)

// minKey is how long a key must be, in bytes: a shorter one can be guessed, and
// with it the secrets behind tokens.
const minKey = 16

// maxField is the largest number of a field of a protobuf message.
const maxField = 1<<29 - 1

// Redactor redacts exchanges. It is for any number of goroutines.
type Redactor struct {
	headers  names
	query    names // besides fields
	fields   names
	leaves   names // last parts of paths, for bodies that are too broken to know where one is
	paths    *path // nil if there are none
	cookies  names // that are kept
	protobuf []protobufRule
	key      []byte
	workers  sync.Pool
}

// protobufRule is config.RedactProtobuf, compiled.
type protobufRule struct {
	method string // package.Service/Method, package.Service/ for all of a service, empty for all
	fields *numbers
}

// numbers is a node of a tree of paths of field numbers.
type numbers struct {
	next map[uint64]*numbers
	leaf bool
}

// New compiles what is to be redacted. An error names the field. Without a key
// one is drawn, and tokens mean nothing to another Redactor.
func New(c config.Redact) (*Redactor, error) {
	r := &Redactor{key: []byte(c.Key)}
	if c.Key == "" {
		r.key = make([]byte, 32)
		rand.Read(r.key) // never fails
	} else if len(c.Key) < minKey {
		return nil, fmt.Errorf("redact.key: has %d bytes and can be guessed; give at least %d, such as what `openssl rand -hex 16` prints", len(c.Key), minKey)
	}
	if err := r.keep(c.Keep); err != nil {
		return nil, err
	}
	for i, name := range c.Headers {
		if !isToken(name) {
			return nil, fmt.Errorf("redact.headers[%d]: %q is no name of a header", i, name)
		}
		r.headers.add(name)
	}
	for i, name := range c.Query {
		if err := nameProblem(name); err != "" {
			return nil, fmt.Errorf("redact.query[%d]: %s", i, err)
		}
		r.query.add(name)
	}
	for i, name := range c.Fields {
		if err := r.addField(name); err != "" {
			return nil, fmt.Errorf("redact.fields[%d]: %s", i, err)
		}
	}
	for i, p := range c.Protobuf {
		if err := r.addProtobuf(p); err != nil {
			return nil, fmt.Errorf("redact.protobuf[%d].%w", i, err)
		}
	}
	r.workers.New = func() any { return newWorker(r) }
	return r, nil
}

// keep enters the built-in names but those that are kept. What is kept may also
// be a cookie's name.
func (r *Redactor) keep(kept []string) error {
	for i, name := range kept {
		if err := nameProblem(name); err != "" {
			return fmt.Errorf("redact.keep[%d]: %s", i, err)
		}
		r.cookies.add(name)
	}
	for _, name := range secretHeaders {
		if !r.cookies.has([]byte(name)) {
			r.headers.add(name)
		}
	}
	for _, name := range secretFields {
		if !r.cookies.has([]byte(name)) {
			r.fields.add(name)
			r.headers.add(name)
			if name = "x-" + name; !r.cookies.has([]byte(name)) {
				r.headers.add(name)
			}
		}
	}
	return nil
}

// addField enters a name or a path, and returns what is wrong with it.
func (r *Redactor) addField(name string) string {
	if strings.ContainsAny(name, "[]*") {
		return fmt.Sprintf("%q: write items.price for the price of every item; arrays need no mark", name)
	}
	parts := strings.Split(name, ".")
	for _, part := range parts {
		if err := nameProblem(part); err != "" {
			if len(parts) > 1 {
				return fmt.Sprintf("%q: a part of the path %s", name, err)
			}
			return err
		}
	}
	if len(parts) == 1 {
		r.fields.add(name)
		return ""
	}
	if r.paths == nil {
		r.paths = &path{}
	}
	r.paths.add(parts)
	r.leaves.add(parts[len(parts)-1])
	return ""
}

// nameProblem says what is wrong with a name, or nothing.
func nameProblem(name string) string {
	var room [maxName]byte
	switch f := fold(&room, []byte(name)); {
	case strings.Trim(name, "-_ \t") == "":
		return "is empty; name what is to be redacted"
	case f == nil:
		return fmt.Sprintf("is longer than %d bytes", maxName)
	}
	return ""
}

// addProtobuf enters the fields of a method; an error begins with the field.
func (r *Redactor) addProtobuf(c config.RedactProtobuf) error {
	rule := protobufRule{method: strings.TrimPrefix(c.Method, "/"), fields: &numbers{}}
	switch service, method, ok := strings.Cut(rule.method, "/"); {
	case rule.method == "*":
		rule.method = ""
	case !ok || service == "" || method == "" || strings.Contains(method, "/"):
		return fmt.Errorf("method: %q is not package.Service/Method, package.Service/* or *", c.Method)
	case method == "*":
		rule.method = service + "/"
	}
	if len(c.Fields) == 0 {
		return fmt.Errorf("fields: is empty; name at least one, as 3 or 4.1")
	}
	for i, text := range c.Fields {
		at := rule.fields
		for part := range strings.SplitSeq(text, ".") {
			number, err := strconv.ParseUint(part, 10, 32)
			if err != nil || number == 0 || number > maxField {
				return fmt.Errorf("fields[%d]: %q is no path of field numbers, as 3 or 4.1", i, text)
			}
			if at.next == nil {
				at.next = map[uint64]*numbers{}
			}
			if at.next[number] == nil {
				at.next[number] = &numbers{}
			}
			at = at.next[number]
		}
		at.leaf = true
	}
	r.protobuf = append(r.protobuf, rule)
	return nil
}

// numbersOf returns the fields that are redacted in messages of a method, which
// may be several trees.
func (r *Redactor) numbersOf(method string) []*numbers {
	var found []*numbers
	for _, rule := range r.protobuf {
		if rule.method == "" || rule.method == method || strings.HasSuffix(rule.method, "/") && strings.HasPrefix(method, rule.method) {
			found = append(found, rule.fields)
		}
	}
	return found
}

// isToken says whether s may name a header (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0
	})
}
