package analyze

import (
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// version is one version of a shop whose answers are full of noise, and of faults
// that are planted.
type version struct {
	mu     sync.Mutex // the asker asks from goroutines of its own
	random *rand.Rand
	pods   string
	visits int
	moody  bool                                                 // it shows what no two answers have in common, and is wrong now and then
	fault  func(request string, body map[string]any, a *answer) // nil = none
}

func newVersion(seed uint64, pods string, fault func(string, map[string]any, *answer)) *version {
	return &version{random: rand.New(rand.NewPCG(seed, 7)), pods: pods, fault: fault}
}

// answer answers a request, as a function of it and of chance.
func (v *version) answer(request string) answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.visits++
	now := time.Now().Add(time.Duration(v.random.IntN(40)) * time.Millisecond)
	target, _, _ := strings.Cut(strings.TrimPrefix(request, "GET "), "\n")
	path, query, _ := strings.Cut(target, "?")
	n, _ := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:])
	tags := []string{"new", "sale", "blue", "large", "soft"}
	v.random.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
	body := map[string]any{
		"id": n, "name": fmt.Sprintf("thing %d", n), "price": float64(n*37%1000) + 0.25, "currency": "EUR", "stock": n % 17,
		"query": query, "tags": tags, "visits": v.visits,
		"at": now.UTC().Format(time.RFC3339Nano), "second": now.Unix(),
		"pod":     fmt.Sprintf("shop-%s-7d9f8b6c5-%s", v.pods, []string{"abcde", "x2k4z", "pq9rs"}[v.random.IntN(3)]),
		"request": v.uuid(), "took": v.random.Float64() * 10, "coin": v.random.IntN(2) == 0,
		"lines": []any{map[string]any{"sku": fmt.Sprintf("s-%d", n), "sum": n * 2}, map[string]any{"sku": fmt.Sprintf("s-%d", n+1), "sum": n*2 + 2}},
	}
	a := answer{
		head:  fmt.Sprintf("x-served-by: shop-%s-7d9f8b6c5-%s\nx-trace: %x\ncache-control: no-store", v.pods, []string{"abcde", "x2k4z", "pq9rs"}[v.random.IntN(3)], md5.Sum([]byte(v.uuid()))),
		first: time.Duration((2 + v.random.ExpFloat64()) * float64(time.Millisecond)),
	}
	if v.moody {
		v.mood(body)
	}
	if v.fault != nil {
		v.fault(request, body, &a)
	}
	a.body = text(body)
	return a
}

// mood makes an answer that is not like the next one, in structure too.
func (v *version) mood(body map[string]any) {
	n := v.random.IntN(6)
	seen := []any{}
	for i := range 3 {
		seen = append(seen, map[string]any{"id": n + i, "name": fmt.Sprintf("thing %d", n+i)})
	}
	body["seen"] = seen
	if v.random.IntN(20) == 0 {
		body["hint"] = v.random.Float64()
	}
	if v.random.IntN(300) == 0 {
		body["name"] = "out of stock"
	}
	body["motd"] = []string{"Hello", "Good day to you", "Welcome back!"}[v.random.IntN(3)]
}

func (v *version) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", v.random.Uint32(), v.random.Uint32()&0xffff, v.random.Uint32()&0xfff, v.random.Uint32()&0xfff, v.random.Uint64()&0xffffffffffff)
}

// asker answers questions as the version does.
func (v *version) asker() shadow {
	return func(q *Question) *traffic.Outcome {
		lines := strings.Split(strings.ReplaceAll(string(q.Request.Head), "\r\n", "\n"), "\n")
		o := v.answer(strings.TrimSuffix(lines[0], " HTTP/1.1") + "\n" + strings.Join(lines[1:], "\n")).outcome(0)
		return &o
	}
}

// visitor makes requests: some of a few popular things, and some of many.
type visitor struct {
	random *rand.Rand
}

func (v *visitor) request() string {
	n := v.random.IntN(20)
	if v.random.IntN(2) == 0 {
		n = v.random.IntN(5000)
	}
	tenant := []string{"acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell", "wonka", "cyberdyne"}[v.random.IntN(10)]
	kind := []string{"things", "parts"}[v.random.IntN(2)]
	return fmt.Sprintf("GET /%s/%d?locale=%s\nx-tenant: %s\nuser-agent: app/%d", kind, n, []string{"en", "de", "tr", "fr"}[v.random.IntN(4)], tenant, v.random.IntN(3))
}
