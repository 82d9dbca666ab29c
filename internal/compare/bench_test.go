package compare

import (
	stdjson "encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wI2L/jsondiff"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// order is a document as shops send them, of about 190 bytes for each item.
func order(items int) string {
	var b strings.Builder
	b.WriteString(`{"order":"4711","customer":{"id":"c-1001","name":"Ada Lovelace","email":"ada@example.com"},"items":[`)
	for i := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	b.WriteString(`],"currency":"EUR","total":1234.5,"paid":true,"note":null}`)
	return b.String()
}

func item(i int) string {
	return fmt.Sprintf(`{"id":%d,"sku":"SKU-%05d","name":"Item number %d","price":%d.%02d,"quantity":%d,"tags":["new","sale","tea"],"stock":{"warehouse":"ams-%d","left":%d},"active":true}`,
		i, i, i, i%90+9, i%100, i%7+1, i%4, i*3)
}

// sizes are the documents of the benchmarks: the number of items of each.
var sizes = []struct {
	name  string
	items int
}{{"1KB", 5}, {"10KB", 53}, {"1MB", 5300}}

// changes are what differs in them.
var changes = []struct {
	name string
	in   func(document string, items int) string
}{
	{"equal", func(d string, _ int) string { return strings.Replace(d, `"4711",`, `"4711", `, 1) }}, // not the same bytes
	{"leaf", func(d string, n int) string {
		return strings.Replace(d, fmt.Sprintf(`"name":"Item number %d"`, n/2), `"name":"Item"`, 1)
	}},
	{"spaced", func(d string, n int) string { // a leaf, and no line of the other document is the same
		return strings.ReplaceAll(strings.Replace(d, fmt.Sprintf(`"name":"Item number %d"`, n/2), `"name":"Item"`, 1), `":`, `": `)
	}},
	{"inserted", func(d string, n int) string {
		at := item(n / 2)
		return strings.Replace(d, at, item(1_000_000)+","+at, 1)
	}},
}

// answerOfJSON is an outcome with a body of JSON and the head of a busy service.
func answerOfJSON(body, id string) traffic.Outcome {
	o := answered("HTTP/1.1 200 OK\nDate: Thu, 26 Nov 2026 10:00:00 GMT\nContent-Type: application/json\nX-Request-Id: " + id +
		"\nCache-Control: no-store\nVary: Accept\nServer: shop\nContent-Length: " + fmt.Sprint(len(body)) + "\n\n" + body)
	o.Fate = traffic.Completed
	return o
}

// Whole pairs: heads, bodies and all that Compare does with them. MB/s count one
// of the two documents, here and below.
func BenchmarkCompare(b *testing.B) {
	everyChange(b, len(sizes), func(b *testing.B, x, y string) {
		primary, shadow := answerOfJSON(x, "1"), answerOfJSON(y, "2")
		exchange := &traffic.Exchange{Method: "GET", Path: "/orders/4711"}
		c := New(nil)
		for b.Loop() {
			c.Compare(exchange, &primary, &shadow, Options{})
		}
	})
}

// The same documents, without heads.
func BenchmarkJSONDiff(b *testing.B) {
	everyChange(b, len(sizes), func(b *testing.B, x, y string) {
		source, target := []byte(x), []byte(y)
		for b.Loop() {
			if _, err := jsondiff.CompareJSON(source, target); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// It is not given the largest documents, which would take most of the time.
func BenchmarkGoCmp(b *testing.B) {
	everyChange(b, 2, func(b *testing.B, x, y string) {
		for b.Loop() {
			var first, second any
			if stdjson.Unmarshal([]byte(x), &first) != nil || stdjson.Unmarshal([]byte(y), &second) != nil {
				b.Fatal("no JSON")
			}
			_ = cmp.Diff(first, second)
		}
	})
}

// everyChange runs a benchmark on the first sizes.
func everyChange(b *testing.B, first int, run func(b *testing.B, x, y string)) {
	for _, size := range sizes[:first] {
		for _, change := range changes {
			b.Run(size.name+"/"+change.name, func(b *testing.B) {
				x := order(size.items)
				y := change.in(x, size.items)
				if x == y {
					b.Fatal("nothing was changed")
				}
				b.SetBytes(int64(len(x)))
				b.ReportAllocs()
				run(b, x, y)
			})
		}
	}
}
