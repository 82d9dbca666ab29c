package admin

import (
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

var update = flag.Bool("update", false, "rewrite generated files")

// TestDescriptionOfTheAPIIsCurrent derives the description from the endpoints
// and the types they answer with, and compares it with the embedded one.
func TestDescriptionOfTheAPIIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := json.MarshalIndent(describeAPI(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("openapi.json is not what the code answers; run go test ./internal/admin -update (-want +got):\n%s", diff)
	}
}

type object = map[string]any

func describeAPI() object {
	schemas := object{}
	failure := answer("A failure, with what to do about it.", schemaOf(reflect.TypeFor[Failure](), schemas))
	paths := object{}
	for _, e := range (&Server{}).list() {
		ok := answer("Success.", nil)
		if e.schema != nil {
			ok = answer("Success.", schemaOf(reflect.TypeOf(e.schema), schemas))
		}
		responses := object{"200": ok}
		if !e.open {
			responses["401"] = failure
		}
		if e.path == "/readyz" {
			responses["503"] = failure
		}
		if len(e.parameters) > 0 {
			responses["400"] = failure
		}
		if slices.ContainsFunc((&Server{}).pairEndpoints(), func(p *endpoint) bool { return p.path == e.path }) {
			responses["404"] = failure
		}
		operation := object{"summary": e.summary, "responses": responses}
		if list := parametersOf(e); len(list) > 0 {
			operation["parameters"] = list
		}
		if e.open {
			operation["security"] = []any{}
		}
		paths[e.path] = object{strings.ToLower(cmp.Or(e.method, "GET")): operation}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Understudy admin API",
			"version":     "1",
			"description": "What a mirroring proxy says about itself, and about its shadows. A token is needed when the configuration sets one.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths":      paths,
		"security":   []any{object{"token": []any{}}},
		"components": object{"schemas": schemas, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}
}

func parametersOf(e *endpoint) []any {
	text := object{"type": "string"}
	var list []any
	if strings.HasSuffix(e.path, placeholder) {
		list = append(list, object{"name": "id", "in": "path", "required": true, "schema": text})
	}
	for _, p := range e.parameters {
		list = append(list, object{"name": p.name, "in": "query", "description": p.doc, "schema": text})
	}
	return list
}

// sets are the types whose values are closed sets.
var sets = map[reflect.Type]any{
	reflect.TypeFor[compare.Class](): compare.Classes,
	reflect.TypeFor[compare.Kind]():  []compare.Kind{compare.Missing, compare.Extra, compare.Type, compare.Null, compare.Changed, compare.Length, compare.Order},
	reflect.TypeFor[judge.Verdict](): []judge.Verdict{judge.Pass, judge.Fail, judge.Running, judge.NotEnoughTraffic},
	reflect.TypeFor[judge.Metric]():  []judge.Metric{judge.Mismatch, judge.Errors, judge.Latency, judge.Tail},
}

func answer(description string, schema object) object {
	a := object{"description": description}
	if schema != nil {
		a["content"] = object{"application/json": object{"schema": schema}}
	}
	return a
}

// schemaOf describes a type as encoding/json writes it; structs go to schemas
// under their names.
func schemaOf(t reflect.Type, schemas object) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[*time.Time]():
		return object{"type": []string{"string", "null"}, "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, schemas)
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Array:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.String:
		if set := sets[t]; set != nil {
			return object{"type": "string", "enum": set}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	}
	panic("no schema for " + t.String())
}

// schemaTypes are the types that have a schema, by its name.
var schemaTypes = map[string]reflect.Type{}

func structSchema(t reflect.Type, schemas object) object {
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if taken := schemaTypes[t.Name()]; taken != nil && taken != t {
		panic("two types are called " + t.Name())
	}
	schemaTypes[t.Name()] = t
	if schemas[t.Name()] != nil {
		return ref
	}
	properties, required := object{}, []string{}
	schemas[t.Name()] = object{"type": "object", "properties": properties}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		p := schemaOf(f.Type, schemas)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			p["enum"] = strings.Split(enum, ",")
		}
		properties[name] = p
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	schemas[t.Name()].(object)["required"] = required
	return ref
}
