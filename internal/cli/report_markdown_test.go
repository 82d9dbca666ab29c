package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
)

// GitHub refuses comments of more than 65,536 characters.
func TestMarkdownFitsIntoAComment(t *testing.T) {
	t.Parallel()
	r := reports()["fail"]
	m := &r.Mirrors[0]
	for i := range 500 {
		m.Noise = append(m.Noise, analyze.Noise{Endpoint: fmt.Sprintf("GET /%d", i), Path: "body.id", Why: "rule", Seen: 1})
	}
	long := analyze.Cluster{ID: "long", Endpoint: "GET /long", Title: "long", Class: compare.Diff}
	for range 64 {
		long.Differences = append(long.Differences, compare.Difference{Path: "body.x", Kind: compare.Changed, Primary: compare.Value{Type: "string", Text: strings.Repeat("|", 200)}})
	}
	m.Clusters = append(m.Clusters, long, m.Clusters[0])
	text := reportMarkdown(r)
	if len(text) > 65_536 {
		t.Errorf("%d bytes", len(text))
	}
	for want, n := range map[string]int{
		"\nAnd 462 more; `-o json` has them all.\n":                                     1,
		"1 section left out, because a comment has an end; `-o json` has everything.\n": 1,
		"<code>GET /long</code>":                                                        0,
		"<code>GET /37</code>":                                                          1,
		"<code>GET /38</code>":                                                          0,
		"<code>body&#46;price: missing</code> (412":                                     2, // what is behind the long one
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q is there %d times, want %d", want, got, n)
		}
	}
}
