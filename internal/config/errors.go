package config

import (
	"fmt"
	"sort"
	"strings"
)

// FieldError is one problem with one field of a configuration.
type FieldError struct {
	File    string // where the configuration came from; empty for flags
	Path    string // routes[0].rules[1].mirrors[0].percent, or a flag such as --primary; empty for the whole file
	Line    int    // 1 is the first; 0 = unknown
	Message string // what is wrong
	Hint    string // what to do about it; may be empty
}

// Error is "file:line: path: message (hint)" without the parts that are empty.
func (e FieldError) Error() string {
	var b strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		b.WriteString(e.File + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is every problem of one configuration, in the order of the file.
// [Load], [Parse] and [Quick] return it as their error, never empty; use
// errors.As to get at the fields.
type Errors []FieldError

// Error is one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// err is e in the order of the file, or nil without a problem.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	sort.SliceStable(e, func(i, j int) bool { return e[i].Line < e[j].Line })
	return e
}
