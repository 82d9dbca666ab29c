package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// version is a service whose answers have a number that is never the same, and a
// price.
func version(t *testing.T, price int) string {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		p := 5
		if r.Header.Get("X-Tenant") == "acme" {
			p = price
		}
		fmt.Fprintf(w, `{"visit":%d,"price":%d}`, n.Add(1), p)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// comparing starts an instance between two versions.
func comparing(t *testing.T, data string, primary, next string) *instance {
	t.Helper()
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: primary, Shadows: []string{next}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := startInstance(cfg, instanceOptions{log: slog.New(slog.DiscardHandler), stdout: io.Discard, driver: loop.Go, data: data})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// visit sends n requests of tenants in turn, and waits until all was looked at.
func visit(t *testing.T, i *instance, n int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	base := "http://" + i.server.Addrs()["web"].String()
	for k := range n {
		r, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("%s/things/%d", base, k), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Tenant", []string{"acme", "globex", "initech"}[k%3])
		r.Header.Set("Authorization", "Bearer planted-secret")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
}

// seen waits until the report says that so many pairs were compared.
func seen(t *testing.T, i *instance, pairs int64) *analyze.MirrorReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if err := i.pairs.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		m := &i.pairs.Report().Mirrors[0]
		if m.Pairs+m.Held >= pairs {
			return m
		}
	}
}

func TestAnInstanceComparesAndRemembers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	primary, next := version(t, 5), version(t, 6)
	i := comparing(t, data, primary, next)
	visit(t, i, 60)
	m := seen(t, i, 60)
	if len(m.Clusters) != 1 || m.Clusters[0].Title != "body.price: another value" || m.Classes[compare.Diff] == 0 {
		t.Fatalf("classes %v, clusters %+v", m.Classes, m.Clusters)
	}
	c := m.Clusters[0]
	if len(c.Predictors) == 0 || c.Predictors[0].Attribute != "header.x-tenant" || c.Predictors[0].Value != "acme" {
		t.Errorf("predictors %v", c.Predictors)
	}
	if !strings.Contains(c.Curl, next+"/things/") || !strings.Contains(c.Curl, "x-tenant: acme") || strings.Contains(c.Curl, "planted-secret") || !strings.Contains(c.Curl, "# redacted: authorization") {
		t.Errorf("curl: %s", c.Curl)
	}
	if pair, ok := i.pairs.Pair(c.Examples[0]); !ok || !strings.Contains(c.Curl, next+strings.Fields(pair.Request.Head)[1]) {
		t.Errorf("the first example is not what the command is of: %s", c.Curl)
	}
	for _, n := range m.Noise {
		if n.Path != "body.visit" {
			t.Errorf("noise: %+v", n)
		}
	}
	if err := i.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := i.pairs.Report().Mirrors[0]
	again := comparing(t, data, primary, next)
	after := again.pairs.Report().Mirrors[0]
	if after.Pairs != before.Pairs || len(after.Clusters) != 1 || after.Clusters[0].ID != c.ID {
		t.Errorf("after a restart: %d pairs and %d clusters, before %d and %d", after.Pairs, len(after.Clusters), before.Pairs, len(before.Clusters))
	}
	if err := again.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}
