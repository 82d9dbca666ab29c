package compare

import (
	stdjson "encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// The documents of these tests are random, and the same in every run: the seeds
// are fixed, so that none fails by chance.

// member is one of an object, whose members have an order here.
type pairOf struct {
	name  string
	value any
}

// randomValue is a document: []any, []pairOf or a scalar. Texts and names are
// drawn so that none occurs twice, which makes clear where something was added.
func randomValue(r *rand.Rand, depth int) any {
	kind := r.IntN(8)
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return r.IntN(2) == 0
	case 1:
		return r.IntN(1_000_000)
	case 2:
		return float64(r.IntN(1_000_000)) / 64
	case 3, 4:
		return text0(r)
	case 5:
		elements := make([]any, r.IntN(6))
		for i := range elements {
			elements[i] = randomValue(r, depth-1)
		}
		return elements
	default:
		members := make([]pairOf, r.IntN(7))
		for i := range members {
			members[i] = pairOf{fmt.Sprintf("m%d %s", i, []string{"", ".", "é", `"`}[r.IntN(4)]), randomValue(r, depth-1)}
		}
		return members
	}
}

func text0(r *rand.Rand) string { return fmt.Sprintf("t%d\n%s", r.Int64(), "ü\"\\"[:r.IntN(5)]) }

// encode writes a document, in one of many ways.
func encode(r *rand.Rand, v any) string {
	space := func() string { return []string{"", "", " ", "\n\t"}[r.IntN(4)] }
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, space()+encode(r, e)+space())
		}
		return "[" + strings.Join(parts, ",") + "]"
	case []pairOf:
		var parts []string
		for _, i := range r.Perm(len(v)) {
			parts = append(parts, space()+quote(r, v[i].name)+space()+":"+space()+encode(r, v[i].value)+space())
		}
		return "{" + strings.Join(parts, ",") + "}"
	case nil:
		return "null"
	case string:
		return quote(r, v)
	case float64:
		return strconv.FormatFloat(v, "efg"[r.IntN(3)], -1, 64)
	}
	return fmt.Sprint(v)
}

// quote writes a string with as many escapes as it likes.
func quote(r *rand.Rand, s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case r.IntN(8) == 0 && c < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, c)
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// mutate changes one place of a document, and says what was done and where.
func mutate(r *rand.Rand, v any, where string) (changed any, k Kind, at string) {
	switch v := v.(type) {
	case []any:
		i := r.IntN(len(v) + 1)
		if i == len(v) || r.IntN(4) == 0 {
			return slices.Insert(slices.Clone(v), i, any(text0(r))), Extra, fmt.Sprintf("%s[%d]", where, i)
		}
		return inside(r, v, i, where)
	case []pairOf:
		i := r.IntN(len(v) + 1)
		if i == len(v) {
			return append(slices.Clone(v), pairOf{"new", 1}), Extra, where + ".new"
		}
		at := string(appendName([]byte(where), []byte(v[i].name)))
		if r.IntN(4) == 0 {
			return slices.Delete(slices.Clone(v), i, i+1), Missing, at
		}
		v = slices.Clone(v)
		v[i].value, k, at = mutate(r, v[i].value, at)
		return v, k, at
	}
	switch r.IntN(3) {
	case 0:
		return []any{1}, Type, where
	case 1:
		return nil, Null, where
	}
	switch v := v.(type) {
	case bool:
		return !v, Changed, where
	case int:
		return v + 1, Changed, where
	case float64:
		return v + 0.125, Changed, where
	}
	return text0(r), Changed, where
}

func inside(r *rand.Rand, v []any, i int, where string) (any, Kind, string) {
	v = slices.Clone(v)
	e, k, at := mutate(r, v[i], fmt.Sprintf("%s[%d]", where, i))
	v[i] = e
	return v, k, at
}

// compared compares two documents of JSON.
func compared(c *Comparer, a, b string) Result {
	head := "HTTP/1.1 200 OK\nContent-Type: application/json\n\n"
	primary, shadow := answered(head+a), answered(head+b)
	shadow.Fate = traffic.Completed
	return c.Compare(&traffic.Exchange{}, &primary, &shadow, Options{})
}

func TestDocumentsMatchHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	c := New(nil)
	for range 5000 {
		document := randomValue(r, 5)
		a, b := encode(r, document), encode(r, document)
		if !stdjson.Valid([]byte(a)) {
			t.Fatalf("%s is no JSON", a)
		}
		if got := compared(c, a, b); got.Class != Match {
			t.Fatalf("%s\n%s\n%s", a, b, written(got))
		}
	}
}

// One change is found where it was made, and nowhere else; from the other side,
// it is the same with what was missing extra.
func TestOneChangeIsOneDifference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	c := New(nil)
	mirrored := map[Kind]Kind{Missing: Extra, Extra: Missing, Type: Type, Null: Null, Changed: Changed}
	kinds := map[Kind]int{}
	for range 8000 {
		document := []pairOf{{"root", randomValue(r, 5)}}
		changed, kind, at := mutate(r, document, "body")
		a, b := encode(r, document), encode(r, changed)
		got := compared(c, a, b)
		if got.Class != Diff || len(got.Differences) != 1 || got.Differences[0].Kind != kind || got.Differences[0].Where != at {
			t.Fatalf("%s\n%s\n%s at %s was found as %s", a, b, kind, at, written(got))
		}
		back := compared(c, b, a)
		if len(back.Differences) != 1 || back.Differences[0].Kind != mirrored[kind] || back.Differences[0].Path != got.Differences[0].Path {
			t.Fatalf("%s\n%s\nfrom the other side: %s", a, b, written(back))
		}
		kinds[kind]++
	}
	for kind := range mirrored {
		if kinds[kind] < 400 {
			t.Errorf("%s was tried %d times only", kind, kinds[kind])
		}
	}
}

// The generalised path of a difference, as a rule that ignores it, makes noise of
// it.
func TestPathsOfDifferencesAreRules(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		document := []pairOf{{"root", randomValue(r, 4)}}
		changed, _, _ := mutate(r, document, "body")
		a, b := encode(r, document), encode(r, changed)
		found := compared(New(nil), a, b).Differences[0]
		for _, s := range []string{found.Path, found.Where} {
			p, err := parsePath(s)
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			ignored := &rule{said: s, path: p, verb: ignore}
			got := compared(New(&Rules{all: []*rule{ignored}}), a, b)
			if got.Class != NoiseOnly || got.Noise[0].Rule != s {
				t.Fatalf("%s\n%s\nwith %s ignored: %s", a, b, s, written(got))
			}
		}
	}
}

// A prefix of a document is no difference to the document, and is read whatever
// byte it ends at.
func TestPrefixesMatch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		document := []pairOf{{"root", randomValue(r, 4)}}
		whole := encode(r, document)
		var a, b tree
		for _, end := range []int{len(whole), 1 + r.IntN(len(whole)-1), 1 + r.IntN(len(whole)-1)} {
			prefix := whole[:end]
			c := New(nil)
			c.begin(Options{})
			a.reset()
			b.reset()
			if !a.addJSON(a.keepString(whole), false) || !b.addJSON(b.keepString(prefix), end < len(whole)) {
				t.Fatalf("not read: %q of %q", prefix, whole)
			}
			a.close()
			b.close()
			c.a, c.b = a, b
			c.walk(c.a.root(), c.b.root())
			if n := len(c.found.differs.kept); n != 0 {
				t.Fatalf("%q of %q: %v", prefix, whole, c.found.differs.kept)
			}
		}
	}
}
