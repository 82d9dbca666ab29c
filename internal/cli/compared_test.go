package cli

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// compared is a proxy of which a configuration says what it compares.
type compared struct {
	t        *testing.T
	instance *instance
	client   *http.Client
	asked    int
}

// compares serves a configuration until the test ends.
func compares(t *testing.T, text string) *compared {
	t.Helper()
	cfg, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c := &compared{t: t, instance: unyielding(t, cfg), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// unyielding is an instance that compares all it is to compare, until the test ends:
// tests may have the whole machine.
func unyielding(t *testing.T, cfg *config.Config) *instance {
	t.Helper()
	cfg.Capture.Yield = new(false)
	driver, err := loop.ParseDriver("auto")
	if err != nil {
		t.Fatal(err)
	}
	i, err := startInstance(cfg, instanceOptions{log: slog.New(slog.DiscardHandler), stdout: io.Discard, driver: driver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return i
}

// ask sends so many requests, no two alike, and returns when all that is to be known of
// them is.
func (c *compared) ask(requests int) {
	c.t.Helper()
	for range requests {
		c.asked++
		r, err := http.NewRequestWithContext(c.t.Context(), "GET", fmt.Sprintf("http://%s/things?n=%d", c.instance.server.Addrs()["web"], c.asked), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		r.Host = "shop.example.com"
		answer, err := c.client.Do(r)
		if err != nil {
			c.t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		captured := c.instance.server.Snapshot().Capture.InFlight
		if err := c.instance.pairs.Wait(ctx); err != nil {
			c.t.Fatal(err)
		}
		if captured == 0 {
			return
		}
	}
}

// report is that on the only mirror.
func (c *compared) report() *analyze.MirrorReport {
	c.t.Helper()
	r := c.instance.pairs.Report()
	if len(r.Mirrors) != 1 {
		c.t.Fatalf("%d mirrors in the report", len(r.Mirrors))
	}
	return &r.Mirrors[0]
}

// says is a server whose answers are JSON.
func says(t *testing.T, answer func(r *http.Request) string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(speaks(answer))
	t.Cleanup(s.Close)
	return s
}

func speaks(answer func(r *http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer(r)) // who has gone away does not matter
	}
}

func address(s *httptest.Server) string { return s.Listener.Addr().String() }

const threeBackends = `
listeners: [{name: web, address: "127.0.0.1:0"}]
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2, compare: {baseline: other-v1, %s}}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
  - {name: other-v1, endpoints: ["%s"]}
`

// moods are what a version of the shop says by itself, one after the other.
type moods struct {
	mu  sync.Mutex
	all []string
	n   int
}

func (m *moods) next() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	return m.all[m.n%len(m.all)]
}

func moody(all ...string) *moods { return &moods{all: all} }

// What the primary's version says by itself is learned from the baseline alone, where
// nobody else can be asked, and is no difference when the shadow says it too.
func TestABaselineTeachesWhatIsNoise(t *testing.T) {
	t.Parallel()
	var atBaseline []string
	// What each version says is drawn by its name and the request, whatever comes first.
	answer := func(version string) func(*http.Request) string {
		return func(r *http.Request) string {
			n, words := r.URL.Query().Get("n"), []string{"good morning", "hello again", "welcome back", "good evening", "nice to see you"}
			drawn := md5.Sum([]byte(version + n))
			return fmt.Sprintf(`{"n": %q, "greeting": %q}`, n, words[drawn[0]%5])
		}
	}
	told := answer("baseline")
	marks := make(chan string, 1024)
	c := compares(t, fmt.Sprintf(threeBackends, "requery: false, repeat: 100",
		address(says(t, answer("primary"))), address(says(t, answer("shadow"))),
		address(says(t, func(r *http.Request) string {
			marks <- r.Header.Get(config.CopyMarker)
			return told(r)
		}))))
	for batch := 0; batch < 10 && len(c.report().Noise) == 0; batch++ {
		c.ask(40)
	}
	c.ask(40)
	for range len(marks) {
		atBaseline = append(atBaseline, <-marks)
	}
	if len(atBaseline) == 0 || strings.Trim(strings.Join(atBaseline, ""), "v2") != "" {
		t.Errorf("the baseline got copies marked %q", atBaseline)
	}
	m := c.report()
	if len(m.Noise) != 1 || m.Noise[0].Path != "body.greeting" || m.Noise[0].Why != "primary repeats" {
		t.Errorf("noise %+v", m.Noise)
	}
	if m.Verdict == "FAIL" || len(m.Clusters) != 0 || m.Held != 0 {
		t.Errorf("%s with %d clusters, %d held: %v", m.Verdict, len(m.Clusters), m.Held, m.Reasons)
	}
}

// What only the shadow says by itself is not excused: the baseline shows that the
// primary's version does not.
func TestABaselineDoesNotExcuseAShadowThatAloneIsUnsteady(t *testing.T) {
	t.Parallel()
	steady := func(r *http.Request) string { return `{"n": "` + r.URL.Query().Get("n") + `", "greeting": "hello"}` }
	shadow := moody("good morning", "hello again", "welcome back")
	c := compares(t, fmt.Sprintf(threeBackends, "judge: {pairs: 50}",
		address(says(t, steady)),
		address(says(t, func(r *http.Request) string {
			return fmt.Sprintf(`{"n": %q, "greeting": %q}`, r.URL.Query().Get("n"), shadow.next())
		})),
		address(says(t, steady))))
	// A tenth of the pairs is asked of the baseline, and half of them once the shadow
	// has contradicted itself. That of 2000 pairs not eight are does not happen.
	for batch := 0; batch < 20 && c.report().Verdict != "FAIL"; batch++ {
		c.ask(100)
	}
	m := c.report()
	if m.Verdict != "FAIL" || len(m.Clusters) != 1 || len(m.Noise) != 0 {
		t.Fatalf("%s with %d clusters and the noise %+v: %v", m.Verdict, len(m.Clusters), m.Noise, m.Reasons)
	}
	if d := m.Clusters[0].Differences; len(d) != 1 || d[0].Path != "body.greeting" {
		t.Errorf("the cluster is about %+v", d)
	}
}

// A baseline that is not there teaches nothing and excuses nothing, and nothing waits
// for it for ever.
func TestABaselineThatIsNotThereChangesNothing(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	nowhere := address(gone)
	gone.Close()
	c := compares(t, fmt.Sprintf(threeBackends, "judge: {pairs: 50}",
		address(says(t, func(*http.Request) string { return `{"price": 5}` })),
		address(says(t, func(*http.Request) string { return `{"price": 6}` })),
		nowhere))
	for batch := 0; batch < 10 && c.report().Verdict != "FAIL"; batch++ {
		c.ask(60)
	}
	if m := c.report(); m.Verdict != "FAIL" || len(m.Clusters) != 1 {
		t.Errorf("%s with %d clusters, %d held: %v", m.Verdict, len(m.Clusters), m.Held, m.Reasons)
	}
}
