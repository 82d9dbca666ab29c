package config

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/tools/txtar"
)

// What Parse accepts means the same after a round trip; what it refuses has at
// least one problem, each with a message; and it never panics.
func FuzzConfig(f *testing.F) {
	for _, file := range testFiles(f, "testdata/good/*.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, file := range testFiles(f, "testdata/bad/*.txtar") {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", data)
		if err == nil {
			roundTrip(t, c)
			return
		}
		var problems Errors
		if !errors.As(err, &problems) || len(problems) == 0 || c != nil {
			t.Fatalf("Parse = %v, %#v", c, err)
		}
		for _, p := range problems {
			if p.Message == "" || p.File != "fuzz.yaml" || p.Line < 0 {
				t.Errorf("%#v", p)
			}
		}
	})
}
