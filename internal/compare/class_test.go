package compare

import (
	"strings"
	"testing"
)

func TestClasses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]ValueClass{
		"6f1c1f2e-7c1a-4b57-9d4f-0d6a3f2b9c11": UUID,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":           ULID,
		"0ujtsYcgvSTl8PAuAdqWYSMnLOv":          KSUID,
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U": JWT,
		"9f86d081884c7d659a2feaa0c55ad015":                                                 Hex,
		`W/"9f86d081884c7d65"`:                                                             Hex,
		"dGhlIHF1aWNrIGJyb3duIGZveA==":                                                     Base64,
		"V1StGXR8_Z5jdHi6B-myT":                                                            Base64,
		"a1b2c3d4e5":                                                                       Token,
		"2026-11-26T10:00:00Z":                                                             Time,
		"2026-11-26 10:00:00.123":                                                          Time,
		"2026-11-26":                                                                       Time,
		"Thu, 26 Nov 2026 10:00:00 GMT":                                                    Time,
		"1764151200":                                                                       Epoch,
		"1764151200.25":                                                                    Epoch,
		"1764151200123":                                                                    Epoch,
		"1764151200123456789":                                                              Epoch,
		"9764151200":                                                                       Number,
		"12":                                                                               Number,
		"-1.5e3":                                                                           Number,
		"10.0.0.1":                                                                         IP,
		"10.0.0.1:8080":                                                                    IP,
		"2001:db8::1":                                                                      IP,
		"web-7d4b9c6f5d-x2x9z":                                                             Pod,
		"shop.example.com":                                                                 Host,
		"shop.example.com:8080":                                                            Host,
		"https://example.com/a?b=c d":                                                      "",
		"https://example.com/a?b=c":                                                        URL,
		"ada@example.com":                                                                  Email,
		"shipped":                                                                          Word,
		"OUT_OF_STOCK":                                                                     Word,
		"":                                                                                 "",
		"Ada Lovelace":                                                                     "",
		"order-17":                                                                         "",
		"007":                                                                              "",
		strings.Repeat("ab", 8<<10):                                                        "",
	} {
		if got := ClassOf([]byte(value)); got != want {
			t.Errorf("ClassOf(%.80q) = %q, want %q", value, got, want)
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"6f1c1f2e-7c1a-4b57-9d4f-0d6a3f2b9c11", "11111111-7c1a-4b57-9d4f-0d6a3f2b9c22", true},
		{"9f86d081884c7d65", "0000000000000000a", false},         // another length
		{"2026-11-26T10:00:00Z", "2026-11-26T10:00:00.5Z", true}, // fractions come and go
		{"2026-11-26T10:00:00Z", "2026-11-26T11:00:00+01:00", false},
		{"2026-11-26T10:00:00Z", "1764151200", false},
		{"1764151200", "0", false},
		{"shipped", "", false},
		{"shipped", "pending", true},
		{"order-17", "order-4711", true},
		{"order-17", "order/17", false},
		{"Ada Lovelace", "Alan Turing", true},
		{"Ada Lovelace", "ada@example.com", false},
		{"834512", "83451e", true}, // drawn from one alphabet
		{"a", "undefined", true},
		{"https://a.example/1", "https://b.example/2", true},
		{"https://a.example/1", "/2", false},
	} {
		if got := similar([]byte(test.a), []byte(test.b)); got != test.same {
			t.Errorf("%q (%s) and %q (%s): similar = %v", test.a, Shape(test.a), test.b, Shape(test.b), got)
		}
	}
}

func TestGeneratedClasses(t *testing.T) {
	t.Parallel()
	for class, want := range map[ValueClass]bool{UUID: true, Time: true, Epoch: true, Pod: true, Word: false, Number: false, Email: false, "": false} {
		if class.Generated() != want {
			t.Errorf("%q.Generated() = %v", class, !want)
		}
	}
}

func FuzzClass(f *testing.F) {
	for _, s := range []string{"", "W/\"\"", "1764151200", "2026-11-26T10:00:00Z", "a@b.c", "web-7d4b9c6f5d-x2x9z", "eyJ..", "http://x", "\x00\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		before := string(v)
		shape := Shape(before)
		if len(shape) > 96 || shape == "" {
			t.Errorf("shape %q", shape)
		}
		if !similar(v, v) || string(v) != before {
			t.Errorf("%q is not similar to itself, or was changed", before)
		}
	})
}
