package analyze

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPairs looks at pairs of one kilobyte of JSON whose times and ids always
// differ, from Offer to the tally.
func BenchmarkPairs(b *testing.B) {
	s := open(b, "", Options{Offline: true})
	body := func(i int, side string) string {
		return fmt.Sprintf(`{"id":%d,"request":"%08x-0000-4000-8000-%012x","at":"2026-01-02T03:04:%02d.%06dZ","name":"thing %d","filler":"%s","lines":[%s]}`,
			i%100, i, i, i%60, i%1000000, i%100, strings.Repeat("words and ", 40), strings.Repeat(fmt.Sprintf(`{"sku":"s-%d","sum":12.5,"side":true},`, i%100), 10)+`{}`) + strings.Repeat(" ", len(side))
	}
	const kinds = 4096
	primary, next := make([]answer, kinds), make([]answer, kinds)
	for i := range kinds {
		primary[i], next[i] = answer{body: body(2*i, "")}, answer{body: body(2*i+1, "")}
		next[i].body = strings.Replace(next[i].body, fmt.Sprintf(`"id":%d,`, (2*i+1)%100), fmt.Sprintf(`"id":%d,`, (2*i)%100), 1)
		next[i].body = strings.ReplaceAll(next[i].body, fmt.Sprintf("thing %d", (2*i+1)%100), fmt.Sprintf("thing %d", (2*i)%100))
		next[i].body = strings.ReplaceAll(next[i].body, fmt.Sprintf("s-%d", (2*i+1)%100), fmt.Sprintf("s-%d", (2*i)%100))
	}
	feed := func(i int) {
		k := i % kinds
		x := s.exchange(fmt.Sprintf("GET /things/%d?locale=en\nuser-agent: app/%d\naccept: application/json", i%5000, i%3), primary[k], next[k])
		for !s.pipeline.Offer(x) {
			s.wait()
		}
	}
	for i := range 2 * kinds {
		feed(i)
	}
	s.wait()
	b.SetBytes(int64(len(primary[0].body)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		feed(i)
	}
	s.wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
	if m := s.mirror(); len(m.Clusters) > 0 {
		b.Fatalf("a cluster: %s, %v", m.Clusters[0].Title, m.Clusters[0].Differences)
	}
}
