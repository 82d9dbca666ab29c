package compare

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sort of a step of a path.
type sort uint8

const (
	member    sort = iota // .name
	anyMember             // {*}
	index                 // [3]
	anyIndex              // [*]
	deep                  // **, any steps or none
)

// step is one part of a path. With the sorts member to anyIndex it also says
// where a walk is.
type step struct {
	sort  sort
	name  string // of a member
	index int
}

// path is what a rule names: status, header.etag, body.items[*].price.
type path []step

// roots are what paths begin with.
var roots = []string{"status", "header", "trailer", "body"}

// parsePath reads a path. Its error says what is wrong, and where.
func parsePath(s string) (path, error) {
	if s == "" {
		return nil, errors.New("is missing: it is status, header.NAME, trailer.NAME or body and what follows")
	}
	p, err := steps("." + s)
	if err != nil {
		return nil, err
	}
	root := p[0].name
	switch {
	case p[0].sort != member || !slices.Contains(roots, root):
		return nil, fmt.Errorf("begins with %q: a path begins with %s", firstStep(s), strings.Join(roots, ", "))
	case root == "status" && len(p) > 1:
		return nil, errors.New("there is nothing below status")
	case root == "header" || root == "trailer":
		if len(p) == 1 {
			return nil, fmt.Errorf("name a field, as %s.etag, or all of them with %s{*}", root, root)
		}
		if p[1].sort == member {
			p[1].name = strings.ToLower(p[1].name)
		}
	}
	return p, nil
}

// firstStep is the part of a path that an error shows.
func firstStep(s string) string {
	if end := strings.IndexAny(s, ".[{"); end > 0 {
		return s[:end]
	}
	return s
}

func steps(s string) (path, error) {
	var p path
	deeps := 0
	for s != "" {
		next, rest, err := cutStep(s)
		if err != nil {
			return nil, err
		}
		if next.sort == deep {
			if deeps++; deeps > maxDeep {
				return nil, fmt.Errorf("there are more than %d **", maxDeep)
			}
		}
		if p, s = append(p, next), rest; len(p) > maxSteps {
			return nil, fmt.Errorf("there are more than %d steps", maxSteps)
		}
	}
	return p, nil
}

// What bounds the cost of asking whether two paths meet.
const (
	maxDeep  = 2
	maxSteps = 64
)

// cutStep reads the first step of what is left of a path.
func cutStep(s string) (next step, rest string, err error) {
	switch {
	case strings.HasPrefix(s, "{*}"):
		return step{sort: anyMember}, s[3:], nil
	case strings.HasPrefix(s, "[*]"):
		return step{sort: anyIndex}, s[3:], nil
	case s[0] == '[':
		inside, rest, found := strings.Cut(s[1:], "]")
		i, err := strconv.ParseUint(inside, 10, 31)
		if err != nil || !found {
			return step{}, "", fmt.Errorf("%q is no index: write [*] or a number as [3]", s)
		}
		return step{sort: index, index: int(i)}, rest, nil
	case s[0] != '.':
		return step{}, "", fmt.Errorf("%q follows without a dot: write .name, [*], [3] or {*}, and quote names as .\"a.b\"", s)
	}
	s = s[1:]
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return step{}, "", fmt.Errorf("%s: the quotes do not end", s)
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return step{}, "", fmt.Errorf("%s is no quoted name", quoted)
		}
		return step{name: name}, s[len(quoted):], nil
	}
	end := strings.IndexAny(s, ".[{")
	if end < 0 {
		end = len(s)
	}
	name := s[:end]
	switch {
	case name == "**":
		return step{sort: deep}, s[end:], nil
	case name == "":
		return step{}, "", errors.New("a dot without a name after it")
	case !plainName(name):
		return step{}, "", fmt.Errorf("%q must be quoted to be a name, as .%q; for all of them write [*], {*} or .**", name, name)
	}
	return step{name: name}, s[end:], nil
}

// plainName says that a name needs no quotes in a path.
func plainName[T string | []byte](name T) bool {
	for i := range len(name) {
		switch c := name[i]; c {
		case '.', '[', ']', '{', '}', '*', '"', '\\', 0x7f:
			return false
		default:
			if c <= ' ' {
				return false
			}
		}
	}
	return len(name) > 0
}

// appendName appends a name as a step of a path.
func appendName(dst, name []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, '.')
	}
	if plainName(name) {
		return append(dst, name...)
	}
	return strconv.AppendQuote(dst, string(name))
}

// String is the path as a rule would write it.
func (p path) String() string {
	var b []byte
	for _, s := range p {
		switch s.sort {
		case member:
			b = appendName(b, []byte(s.name))
		case anyMember:
			b = append(b, "{*}"...)
		case index:
			b = append(strconv.AppendInt(append(b, '['), int64(s.index), 10), ']')
		case anyIndex:
			b = append(b, "[*]"...)
		case deep:
			b = append(b, ".**"...)
		}
	}
	return string(b)
}

// exactness orders paths: the larger one is the more specific. Names and
// numbers count more than what stands for any of them, and that more than **.
func (p path) exactness() int {
	total := 0
	for _, s := range p {
		switch s.sort {
		case member, index:
			total += 1 << 16
		case anyMember, anyIndex:
			total += 1 << 8
		case deep:
			total--
		}
	}
	return total
}

// meets says that there is a place that both paths match.
func (p path) meets(q path) bool {
	switch {
	case len(p) == 0 && len(q) == 0:
		return true
	case len(p) > 0 && p[0].sort == deep:
		return p[1:].meets(q) || len(q) > 0 && p.meets(q[1:])
	case len(q) > 0 && q[0].sort == deep:
		return q.meets(p)
	case len(p) == 0 || len(q) == 0:
		return false
	}
	return (p[0].covers(q[0]) || q[0].covers(p[0])) && p[1:].meets(q[1:])
}

// covers says that a step of a rule matches another step, not **.
func (s step) covers(at step) bool {
	switch s.sort {
	case anyMember:
		return at.sort == member || at.sort == anyMember
	case anyIndex:
		return at.sort == index || at.sort == anyIndex
	}
	return s == at
}
