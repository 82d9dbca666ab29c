package admin

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
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
		get := object{"summary": e.summary, "responses": responses}
		if e.open {
			get["security"] = []any{}
		}
		paths[e.path] = object{"get": get}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Understudy admin API",
			"version":     "1",
			"description": "What a mirroring proxy says about itself. It only reads. A token is needed when the configuration sets one.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths":      paths,
		"security":   []any{object{"token": []any{}}},
		"components": object{"schemas": schemas, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}
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

func structSchema(t reflect.Type, schemas object) object {
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if schemas[t.Name()] != nil {
		return ref
	}
	properties, required := object{}, []string{}
	schemas[t.Name()] = object{"type": "object", "properties": properties}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
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
