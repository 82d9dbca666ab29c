package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// element is any element of XML.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
	Text     string     `xml:",chardata"`
}

func (e *element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// junitRules are what the schemas of Ant and of Jenkins agree about: the attributes
// that an element must have and may have, and its children, in their order.
var junitRules = map[string]struct {
	must, may, children []string
}{
	"testsuites": {nil, nil, []string{"testsuite"}},
	"testsuite": {
		[]string{"name", "id", "package", "timestamp", "hostname", "tests", "failures", "errors", "time"}, []string{"skipped"},
		[]string{"properties", "testcase", "system-out", "system-err"},
	},
	"properties": {nil, nil, []string{"property"}},
	"property":   {[]string{"name", "value"}, nil, nil},
	"testcase":   {[]string{"name", "classname", "time"}, nil, []string{"skipped", "error", "failure"}},
	"skipped":    {nil, []string{"message", "type"}, nil},
	"failure":    {[]string{"type"}, []string{"message"}, nil},
	"system-out": {}, "system-err": {},
}

var (
	junitTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`)
	decimal   = regexp.MustCompile(`^\d+(\.\d+)?$`)
)

// violations are what of e is against the rules.
func violations(e *element) []string {
	var list []string
	name := e.XMLName.Local
	complain := func(format string, args ...any) {
		list = append(list, name+": "+fmt.Sprintf(format, args...))
	}
	rule, ok := junitRules[name]
	if !ok {
		complain("is no element of JUnit")
		return list
	}
	for _, attr := range rule.must {
		if !slices.ContainsFunc(e.Attrs, func(a xml.Attr) bool { return a.Name.Local == attr }) {
			complain("has no %s", attr)
		}
	}
	for _, a := range e.Attrs {
		if !slices.Contains(rule.must, a.Name.Local) && !slices.Contains(rule.may, a.Name.Local) {
			complain("has %s", a.Name.Local)
		}
		switch a.Name.Local {
		case "time":
			if !decimal.MatchString(a.Value) {
				complain("time %q", a.Value)
			}
		case "timestamp":
			if !junitTime.MatchString(a.Value) {
				complain("timestamp %q", a.Value)
			}
		case "tests", "failures", "errors", "skipped", "id":
			if _, err := strconv.ParseUint(a.Value, 10, 31); err != nil {
				complain("%s %q", a.Name.Local, a.Value)
			}
		}
	}
	last := 0
	for i := range e.Children {
		child := &e.Children[i]
		at := slices.Index(rule.children, child.XMLName.Local)
		if at < last {
			complain("%s does not belong there", child.XMLName.Local)
		}
		last = max(at, last)
		list = append(list, violations(child)...)
	}
	if name == "testsuite" {
		list = append(list, miscounted(e)...)
	}
	return list
}

// miscounted are attributes of a suite that are not what it holds.
func miscounted(e *element) []string {
	got := map[string]int{}
	parts := map[string]int{}
	for i := range e.Children {
		c := &e.Children[i]
		parts[c.XMLName.Local]++
		if c.XMLName.Local != "testcase" {
			continue
		}
		got["tests"]++
		for j := range c.Children {
			got[map[string]string{"failure": "failures", "skipped": "skipped", "error": "errors"}[c.Children[j].XMLName.Local]]++
		}
	}
	var list []string
	for _, name := range []string{"tests", "failures", "skipped", "errors"} {
		if e.attr(name) != strconv.Itoa(got[name]) {
			list = append(list, fmt.Sprintf("testsuite: %s is %s, not %d", name, e.attr(name), got[name]))
		}
	}
	for _, once := range []string{"properties", "system-out", "system-err"} {
		if parts[once] != 1 {
			list = append(list, fmt.Sprintf("testsuite: has %d %s", parts[once], once))
		}
	}
	return list
}

func TestJUnitKeepsTheRulesOfItsSchemas(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		var b strings.Builder
		if err := writeJUnit(&b, r); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		var root element
		if err := d.Decode(&root); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := d.Token(); err != io.EOF {
			if rest, _ := d.Token(); rest != nil {
				t.Errorf("%s: something follows: %v", name, rest)
			}
		}
		if root.XMLName.Local != "testsuites" || len(root.Children) != max(len(r.Mirrors), 1) {
			t.Errorf("%s: %s of %d suites", name, root.XMLName.Local, len(root.Children))
		}
		for _, v := range violations(&root) {
			t.Errorf("%s: %s", name, v)
		}
	}
}

// The rules themselves must be able to find something.
func TestJUnitRulesFindViolations(t *testing.T) {
	t.Parallel()
	const suite = `name="a" id="0" package="p" timestamp="2026-01-02T12:00:00" hostname="h" tests="1" failures="0" errors="0" time="0"`
	for document, want := range map[string]string{
		`<testsuites><testsuite ` + suite + ` skipped="0"><properties/><testcase name="a" classname="c" time="0"/><system-out/><system-err/></testsuite></testsuites>`:               "",
		`<testsuites><testsuite ` + suite + ` skipped="0"><testcase name="a" classname="c" time="0"/><properties/><system-out/><system-err/></testsuite></testsuites>`:               "testsuite: properties does not belong there",
		`<testsuites><testsuite ` + suite + ` skipped="0"><properties/><testcase name="a" time="x"/><system-out/><system-err/></testsuite></testsuites>`:                             "testcase: has no classname; testcase: time \"x\"",
		`<testsuites><testsuite ` + suite + ` skipped="1"><properties/><testcase name="a" classname="c" time="0"><b/></testcase><system-out/><system-err/></testsuite></testsuites>`: "testcase: b does not belong there; b: is no element of JUnit; testsuite: skipped is 1, not 0",
	} {
		var root element
		if err := xml.Unmarshal([]byte(document), &root); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(violations(&root), "; "); got != want {
			t.Errorf("%s\nfound %q, want %q", document, got, want)
		}
	}
}
