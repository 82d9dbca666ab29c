package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is one on its way out, which noise and faults may change.
type answer struct {
	status int
	header http.Header
	body   []byte
	abort  bool          // hang up in the middle of the body
	delay  time.Duration // before the first byte, on top of the service's own
}

// recorder keeps what a handler answers.
type recorder struct {
	answer
	wrote bool
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, p...)
	return len(p), nil
}

// Flush implements http.Flusher: everything leaves at once, at the end.
func (r *recorder) Flush() {}

// version is one version of the services: its own noise, and maybe a fault.
type version struct {
	name  string // of its instance: names in noise begin with it
	serve http.Handler
	fault *fault // nil = none

	mu   sync.Mutex
	dice *rand.Rand
}

// ServeHTTP answers with noise, and wrongly if there is a fault.
func (v *version) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{answer: answer{status: http.StatusOK, header: http.Header{}}}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	v.serve.ServeHTTP(rec, r)
	a := &rec.answer
	v.mu.Lock()
	work := v.work(r)
	if v.fault != nil && v.fault.spoil != nil && v.fault.hits(r) {
		v.fault.spoil(v, r, a)
	}
	v.noise(r, a)
	if v.fault != nil && v.fault.spoilLate != nil && v.fault.hits(r) {
		v.fault.spoilLate(v, r, a)
	}
	if v.fault != nil && v.fault.slow != nil && v.fault.hits(r) {
		a.delay = v.fault.slow(v.dice, work)
	}
	v.mu.Unlock()
	sleep(r, work+a.delay)
	v.send(w, a)
}

func (v *version) send(w http.ResponseWriter, a *answer) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.abort {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)+1))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func sleep(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

// work is how long the service takes for r: requests differ (by what they ask for),
// and runs of the same request differ less.
func (v *version) work(r *http.Request) time.Duration {
	if !strings.HasPrefix(r.URL.Path, "/shop/api/products/") {
		return 0
	}
	h := fnv.New32a()
	io.WriteString(h, r.URL.RequestURI())
	heavy := 1 + float64(h.Sum32()%100)/50 // 1 to 3
	return time.Duration(float64(10*time.Millisecond) * heavy * (1 + 0.25*v.dice.ExpFloat64()))
}

// noise is what no two answers have in common.
func (v *version) noise(r *http.Request, a *answer) {
	pod := v.pod()
	a.header.Set("X-Request-Id", v.uuid())
	a.header.Set("X-Served-By", pod)
	a.header.Set("X-Edition", "classic")
	a.header.Set("Cache-Control", "max-age=60")
	http.SetCookie((*headerOnly)(&a.header), &http.Cookie{Name: "visit", Value: v.hex(16), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	if !strings.HasPrefix(r.URL.Path, "/shop/") || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		return
	}
	var data any
	if json.Unmarshal(a.body, &data) != nil {
		return
	}
	meta := map[string]any{
		"request_id": v.uuid(), "generated_at": time.Now().UTC().Format(time.RFC3339Nano), "took_us": 100 + v.dice.IntN(9000),
		"served_by": pod, "trace": v.hex(16), "token": v.token(), "features": v.mixed("alpha", "beta", "gamma", "delta"),
		"big": json.Number("9007199254740993"), "enabled": true, "unit": "cents",
	}
	if _, id, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/shop/api/"), "/"); ok {
		meta["ref"] = v.ref(id) // each instance has ids of its own, which stay
	}
	a.body = v.shuffled(map[string]any{"data": data, "meta": meta})
}

// pod is the name of one of three that serve.
func (v *version) pod() string {
	return v.name + "-6d4cf56db6-" + [...]string{"x2k9p", "m7qvd", "t4zlb"}[v.dice.IntN(3)]
}

// ref is the instance's own id of a thing.
func (v *version) ref(id string) string {
	h := fnv.New64a()
	io.WriteString(h, v.name+" "+id)
	return fmt.Sprintf("ref_%016x", h.Sum64())
}

// headerOnly lets http.SetCookie write to a header.
type headerOnly http.Header

func (h *headerOnly) Header() http.Header       { return http.Header(*h) }
func (h *headerOnly) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (h *headerOnly) WriteHeader(int)           {}

func (v *version) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v.dice.Uint32())
	}
	return hex.EncodeToString(b)
}

func (v *version) uuid() string {
	h := v.hex(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

func (v *version) token() string {
	return "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOi" + v.hex(12) + "." + v.hex(20)
}

func (v *version) mixed(words ...string) []any {
	v.dice.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

// shuffled writes JSON with the members of objects in random order.
func (v *version) shuffled(value any) []byte {
	switch value := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(value))
		for k := range value {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		v.dice.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		var parts [][]byte
		for _, k := range keys {
			parts = append(parts, append([]byte(strconv.Quote(k)+":"), v.shuffled(value[k])...))
		}
		return append(append([]byte("{"), bytes.Join(parts, []byte(","))...), '}')
	case []any:
		var parts [][]byte
		for _, e := range value {
			parts = append(parts, v.shuffled(e))
		}
		return append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // of our own making
	}
	return text
}
