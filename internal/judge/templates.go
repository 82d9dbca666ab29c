package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Bounds of what is learned, and when words are none.
const (
	mostEndpoints = 500  // that are learned; more are {other}
	mostDepth     = 16   // segments; deeper ones are {rest}
	mostWords     = 200  // beside each other
	mostSegments  = 5000 // in all
	fewWords      = 20   // that many may be rare and still be names
	rarely        = 2    // visits of a word that is more a value than a name
	enoughVisits  = 500  // before the words that were seen rarely count
)

// What endpoints are called that have no template.
const (
	unmatched = " /{unmatched}" // nothing like it was ever answered well
	other     = " /{other}"     // there are too many endpoints
)

// Templates name the endpoints that requests belong to: those that were given,
// and those that are learned from paths. As JSON, what was learned can be resumed.
// Make them by [NewTemplates]; one goroutine uses them.
//
// Of a learned template each segment is a word or a class, as in
// /users/{int}/orders. What looks like an id is a class at once; see classOf. Words
// that stand beside each other collapse to {word} when they are more like values than
// like names: there are more than twenty of them, more than half of them were
// seen no more than twice in five hundred requests, and what follows them is alike. Two hundred
// words that are alike collapse however often they are seen. Those that are followed
// by something else stay. What has collapsed never comes apart again.
type Templates struct {
	given   *pattern
	root    *segment
	calls   *segment // of gRPC, by whole paths
	names   map[string]bool
	parts   int // segments in all
	renamed map[string]string
}

// segment is a node of what was learned.
type segment struct {
	Seen  int64               `json:"seen"`
	Words map[string]*segment `json:"words,omitempty"`
	Class map[string]*segment `json:"class,omitempty"` // by class, {word} among them
	Ends  map[string]string   `json:"ends,omitempty"`  // names of endpoints that end here, by method
}

// NewTemplates returns templates with the given ones, as /users/{id} and
// /files/{path...}, or an error that names the one that is wrong: endpoints[2]: ….
func NewTemplates(given []string) (*Templates, error) {
	patterns, err := compile(given)
	if err != nil {
		return nil, err
	}
	return &Templates{given: patterns, root: &segment{}, calls: &segment{}, names: map[string]bool{}, renamed: map[string]string{}}, nil
}

// Endpoint returns METHOD /template for a request, given its path without the
// query, and learns from it if the primary answered it with a status other than 400,
// 404 and 405, or a scanner would teach it. 0 is no answer and teaches nothing, and a
// call of gRPC that is UNIMPLEMENTED is to be given as 404.
func (t *Templates) Endpoint(method, path string, status int) string {
	relative, found := strings.CutPrefix(path, "/")
	method = verb(method)
	if !found {
		return method + unmatched // * of OPTIONS, or what no router would take
	}
	if template := t.given.match(relative); template != "" {
		return method + " " + template
	}
	from, isCall := t.root, isCall(method, relative)
	if isCall {
		from = t.calls
	}
	end := from.find(relative, isCall)
	if end != nil && end.Ends[method] != "" {
		t.count(from, relative, isCall)
		return end.Ends[method]
	}
	if status == 0 || status == 400 || status == 404 || status == 405 {
		return method + unmatched
	}
	return t.learn(method, relative, isCall)
}

// verb returns a method as it begins the name of an endpoint: there are as many
// methods as clients care to make up.
func verb(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return method
	}
	return "OTHER"
}

// isCall says whether a request looks like a call of gRPC: POST /package.Service/Method.
func isCall(method, relative string) bool {
	service, name, found := strings.Cut(relative, "/")
	if method != "POST" || !found || !strings.Contains(service, ".") {
		return false
	}
	return isName(name, "_") && isName(service, "._")
}

func isName(s, besides string) bool {
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isUpper(c) && !isDigit(c) && strings.IndexByte(besides, c) < 0 {
			return false
		}
	}
	return s != "" && !isDigit(s[0])
}

// next returns the node below that a segment belongs to, if there is one.
func (s *segment) next(text string) *segment {
	if word := s.Words[text]; word != nil {
		return word
	}
	if class := classOf(text); class != "" {
		return s.Class[class]
	}
	return s.Class[anyWord]
}

// find returns the node where a path ends, or nil.
func (s *segment) find(relative string, whole bool) *segment {
	if whole {
		return s.Words[relative]
	}
	for depth := 1; s != nil; depth++ {
		if depth > mostDepth {
			return s.Class[anyRest]
		}
		text, rest, more := strings.Cut(relative, "/")
		if s = s.next(text); !more {
			return s
		}
		relative = rest
	}
	return nil
}

// count counts a visit of a path that exists.
func (t *Templates) count(s *segment, relative string, whole bool) {
	s.Seen++
	if whole {
		return
	}
	for depth := 1; depth <= mostDepth; depth++ {
		text, rest, more := strings.Cut(relative, "/")
		if s = s.next(text); s == nil {
			return
		}
		s.Seen++
		if !more {
			return
		}
		relative = rest
	}
}

// learn adds what is not there yet and returns the name of the endpoint.
func (t *Templates) learn(method, relative string, whole bool) string {
	if whole {
		return t.end(t.grow(t.calls, relative), method, "/"+relative)
	}
	s := t.root
	s.Seen++
	var template strings.Builder
	for depth := 1; ; depth++ {
		text, rest, more := strings.Cut(relative, "/")
		label := label(s, text)
		if depth > mostDepth {
			label, more = anyRest, false
		}
		template.WriteString("/" + label)
		before := len(s.Words)
		next := t.grow(s, label)
		if next == nil {
			return method + other
		}
		next.Seen++
		if len(s.Words) > before && t.collapse(s, template.String()[:template.Len()-len(label)]) && s.Words[label] == nil {
			prefix := template.String()[:template.Len()-len(label)]
			template.Reset()
			template.WriteString(prefix + anyWord)
			next = s.Class[anyWord]
		}
		if s = next; !more {
			return t.end(s, method, template.String())
		}
		relative = rest
	}
}

// label returns what a segment is called below a node.
func label(s *segment, text string) string {
	if s.Words[text] != nil {
		return text
	}
	if class := classOf(text); class != "" {
		return class
	}
	if s.Class[anyWord] != nil {
		return anyWord
	}
	return text
}

// isClass says whether a label is a class; no word has a brace.
func isClass(label string) bool { return strings.HasSuffix(label, "}") }

// grow returns the node below with a label, made if there is room, else nil.
func (t *Templates) grow(s *segment, label string) *segment {
	children := &s.Words
	if isClass(label) {
		children = &s.Class
	}
	if child := (*children)[label]; child != nil {
		return child
	}
	if t.parts >= mostSegments || len(t.names) >= mostEndpoints || len(*children) > mostWords && s != t.calls {
		return nil
	}
	if *children == nil {
		*children = map[string]*segment{}
	}
	t.parts++
	(*children)[label] = &segment{}
	return (*children)[label]
}

// end returns the name of the endpoint with a template.
func (t *Templates) end(s *segment, method, template string) string {
	if s == nil {
		return method + other
	}
	if name := s.Ends[method]; name != "" {
		return name
	}
	name := method + " " + template
	if !t.names[name] {
		if len(t.names) >= mostEndpoints {
			return method + other
		}
		t.names[name] = true
	}
	if s.Ends == nil {
		s.Ends = map[string]string{}
	}
	s.Ends[method] = name
	return name
}

// Renamed returns which endpoints have become others since it was last called, as
// templates were learned: old names to new ones. Who keeps something by endpoint
// merges it. It is nil if there are none.
func (t *Templates) Renamed() map[string]string {
	if len(t.renamed) == 0 {
		return nil
	}
	renamed := t.renamed
	t.renamed = map[string]string{}
	return renamed
}

// Merge adds what other templates, of the same given ones, have learned. The
// others are of no use afterwards.
func (t *Templates) Merge(other *Templates) {
	t.join(t.root, other.root, "")
	t.join(t.calls, other.calls, "")
	t.settle()
}

// settle brings names and numbers up to date, and lets words collapse that
// together have become too many.
func (t *Templates) settle() {
	t.settleBelow(t.root, "")
	clear(t.names)
	t.parts = 0
	t.root.tell(t, "")
	t.calls.tell(t, "")
}

func (t *Templates) settleBelow(s *segment, prefix string) {
	if values := s.Class[anyWord]; values != nil {
		var more []string
		for name, word := range s.Words {
			if word.follows(values) {
				more = append(more, name)
			}
		}
		slices.Sort(more)
		t.gather(s, prefix+"/", more)
	}
	t.collapse(s, prefix+"/")
	for _, children := range []map[string]*segment{s.Words, s.Class} {
		for label, child := range children {
			t.settleBelow(child, prefix+"/"+label)
		}
	}
}

// tell counts the segments below and names the endpoints.
func (s *segment) tell(t *Templates, template string) {
	for method := range s.Ends {
		name := method + " " + template
		s.Ends[method] = name
		t.names[name] = true
	}
	for _, children := range []map[string]*segment{s.Words, s.Class} {
		for label, child := range children {
			t.parts++
			child.tell(t, template+"/"+label)
		}
	}
}

// learned is what of templates is written.
type learned struct {
	Root  *segment `json:"root"`
	Calls *segment `json:"calls"`
}

// MarshalJSON writes what was learned.
func (t *Templates) MarshalJSON() ([]byte, error) { return json.Marshal(learned{t.root, t.calls}) }

// UnmarshalJSON replaces what was learned. What was given stays.
func (t *Templates) UnmarshalJSON(text []byte) error {
	l := learned{&segment{}, &segment{}}
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	if l.Root == nil || l.Calls == nil || !l.Root.whole(0) || !l.Calls.whole(0) {
		return fmt.Errorf("templates: a node is missing, or there are more than %d levels", mostDepth)
	}
	if t.given == nil {
		t.given = &pattern{}
	}
	t.root, t.calls, t.names, t.renamed = l.Root, l.Calls, map[string]bool{}, map[string]string{}
	t.settle()
	return nil
}

// whole says whether nothing is missing below, and nothing is too deep.
func (s *segment) whole(depth int) bool {
	if s == nil || depth > mostDepth+1 {
		return false
	}
	for _, children := range []map[string]*segment{s.Words, s.Class} {
		for _, child := range children {
			if !child.whole(depth + 1) {
				return false
			}
		}
	}
	return true
}
