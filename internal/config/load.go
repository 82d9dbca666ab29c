package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads and parses the file at path; "-" is standard input. The error is
// either that of reading the file or [Errors].
func Load(path string) (*Config, error) {
	if path == "-" {
		data, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read configuration from standard input: %w", err)
		}
		return Parse("stdin", data)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse decodes one YAML or JSON document strictly, fills in the defaults and
// validates the outcome. Name stands for the file in errors. The error is
// always [Errors] and holds every problem that could be found, not the first.
func Parse(name string, data []byte) (*Config, error) {
	root, syntax := parseDocument(data)
	if syntax != nil {
		syntax.File = name
		return nil, Errors{*syntax}
	}
	d := &decoder{budget: aliasBudget(data)}
	c := new(Config)
	d.decode(root, reflect.ValueOf(c).Elem(), nil)
	// Fields that did not decode keep their zero value. Validating the rest
	// all the same lets one run report everything; what follows only from a
	// field that is already reported is left out.
	failed := newFailures(d.errs, d.meant)
	errs := append(d.errs, located(finish(c, failed), root, failed)...)
	for i := range errs {
		errs[i].File = name
	}
	c.Warnings = located(c.Warnings, root, failed)
	for i := range c.Warnings {
		c.Warnings[i].File = name
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// finish turns a Config into one that can be trusted, unless there are errors.
func finish(c *Config, failed *failures) Errors {
	setDefaults(c)
	errs := validate(c, failed)
	if len(errs) == 0 {
		c.Version = version(c)
	}
	return errs
}

// parseDocument returns the root node of the only document in data.
func parseDocument(data []byte) (*yaml.Node, *FieldError) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, &FieldError{Message: "is empty", Hint: "it needs at least listeners, routes and backends"}
	case err != nil:
		return nil, syntaxError(err)
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		return nil, &FieldError{Line: next.Line, Message: "has a second document", Hint: "one file holds one configuration"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	return doc.Content[0], nil
}

// syntaxError takes "yaml: line 3: found …" apart.
func syntaxError(err error) *FieldError {
	e := &FieldError{Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if rest, ok := strings.CutPrefix(e.Message, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				e.Line, e.Message = line, text
			}
		}
	}
	if strings.Contains(e.Message, "cannot start any token") {
		e.Hint = "indent with spaces, not tabs; put values that start with @, %, ` or * in quotes"
	}
	e.Message = "is not valid YAML: " + e.Message
	return e
}
