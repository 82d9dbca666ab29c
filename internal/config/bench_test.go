package config

import (
	"fmt"
	"strings"
	"testing"
)

// large is a configuration with n rules of the usual kind.
func large(n int) []byte {
	var b strings.Builder
	b.WriteString("listeners: [{name: web, address: \"127.0.0.1:8080\"}]\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: r%d
    hostnames: [s%d.example.com]
    rules:
      - matches: [{path: {value: /api}, methods: [GET], headers: [{name: x-tenant, value: t%d}]}]
        backends: [{name: v1}]
        mirrors: [{backend: v2, percent: 10}]
`, i, i, i)
	}
	b.WriteString("backends: [{name: v1, endpoints: [\"127.0.0.1:9000\"]}, {name: v2, endpoints: [\"127.0.0.1:9001\"]}]\n")
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			data := large(n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("bench.yaml", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkYAML(b *testing.B) {
	c, err := Parse("bench.yaml", large(1_000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.YAML(); err != nil {
			b.Fatal(err)
		}
	}
}
