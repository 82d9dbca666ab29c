package content

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fieldsOf lists the fields of a head as "name=value".
func fieldsOf(head string) []string {
	var got []string
	for name, value := range Fields([]byte(head)) {
		got = append(got, string(name)+"="+string(value))
	}
	return got
}

func TestFields(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		head string
		want []string
	}{
		"usual":                     {"GET / HTTP/1.1\r\nHost: a\r\nX-A:  b \r\n", []string{"Host=a", "X-A=b"}},
		"bare line feeds":           {"HTTP/1.1 200 OK\nA: 1\nB:2\n", []string{"A=1", "B=2"}},
		"an empty value":            {"x\r\nA:\r\n", []string{"A="}},
		"a colon in the value":      {"x\r\nA: b: c\r\n", []string{"A=b: c"}},
		"continued lines":           {"x\r\nA: b\r\n c\r\nD: e\r\n", []string{"A=b\r\n c", "D=e"}},
		"no end of the last line":   {"x\r\nA: b", []string{"A=b"}},
		"lines that are no fields":  {"x\r\nnothing\r\n: empty\r\n\r\nA: b\r\n", []string{"A=b"}},
		"a start line alone":        {"GET / HTTP/1.1\r\n", nil},
		"a start line with a colon": {"GET /a:b HTTP/1.1", nil},
		"nothing":                   {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, fieldsOf(tt.head)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	head := []byte("GET /?host: HTTP/1.1\r\nHostess: x\r\nHOST : a\r\nhost: b\r\n")
	if v, ok := Lookup(head, "host"); string(v) != "a" || !ok {
		t.Errorf("host = %q, %v", v, ok)
	}
	if v, ok := Lookup(head, "hos"); ok {
		t.Errorf("hos = %q", v)
	}
	if v, ok := LookupLine([]byte("grpc-status: 0\r\n"), "Grpc-Status"); string(v) != "0" || !ok {
		t.Errorf("grpc-status = %q, %v", v, ok)
	}
}

func TestParameter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ value, name, want string }{
		"plain":                   {"text/html; charset=utf-8", "charset", "utf-8"},
		"quoted":                  {`multipart/form-data; boundary="a; b"; x=y`, "boundary", "a; b"},
		"after a quoted one":      {`a/b; x="c;charset=no"; Charset=yes`, "charset", "yes"},
		"an escape in quotes":     {`a/b; x="c\";d"; y=z`, "y", "z"},
		"blanks around":           {"a/b ;\tcharset = x ", "charset", "x"},
		"missing":                 {"a/b; c=d", "charset", ""},
		"the type is none":        {"charset=x", "charset", ""},
		"a quote that never ends": {`a/b; charset="x`, "charset", `"x`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(Parameter([]byte(tt.value), tt.name)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStartLines(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ head, want string }{
		"usual":              {"GET /a?b HTTP/1.1\r\nHost: x\r\n", "GET /a?b HTTP/1.1"},
		"of bare line feeds": {"HTTP/1.1 200 OK\nHost: x\n", "HTTP/1.1 200 OK"},
		"not ended":          {"GET", "GET"},
		"nothing":            {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(StartLine([]byte(tt.head))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
