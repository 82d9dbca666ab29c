//go:build linux

package load

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	tests := map[string]struct {
		values []time.Duration
		q      float64
		want   time.Duration // exact: small values have buckets of their own, the largest is kept
	}{
		"empty":                   {nil, 0.5, 0},
		"one value":               {[]time.Duration{7 * ms}, 0.5, 7 * ms},
		"negative counts as zero": {[]time.Duration{-5}, 1, 0},
		"median of odd":           {[]time.Duration{1, 2, 3}, 0.5, 2},
		"median of even is lower": {[]time.Duration{1, 2, 3, 4}, 0.5, 2},
		"zero is the smallest":    {[]time.Duration{3, 1, 2}, 0, 1},
		"one is the largest":      {[]time.Duration{3, time.Hour, 2}, 1, time.Hour},
		"last of its own buckets": {[]time.Duration{255, time.Hour}, 0.5, 255},
		"first shared bucket":     {[]time.Duration{256, time.Hour}, 0.5, 257},
		"p99 of a hundred":        {append(make([]time.Duration, 98), 5, time.Hour), 0.99, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Histogram
			for _, v := range tt.values {
				h.Record(v)
			}
			if got := h.Quantile(tt.q); got != tt.want {
				t.Errorf("quantile %g of %v is %d, want %d", tt.q, tt.values, got, tt.want)
			}
		})
	}
}

func TestEveryValueIsWithinAPercentOfItsBucketsEdge(t *testing.T) {
	t.Parallel()
	for shift := range 63 {
		for _, v := range []uint64{1 << shift, 1<<shift + 1, 1<<(shift+1) - 1, 3 << shift >> 1} {
			edge := upperEdge(bucketOf(v))
			if edge < v || float64(edge-v) > 0.008*float64(v) {
				t.Errorf("%d is in a bucket up to %d", v, edge)
			}
			if bucketOf(edge) != bucketOf(v) || edge < 1<<63-1 && bucketOf(edge+1) != bucketOf(v)+1 {
				t.Errorf("%d is not the last value of the bucket of %d", edge, v)
			}
		}
	}
}

func TestMergedHistogramsAreTheHistogramOfAll(t *testing.T) {
	t.Parallel()
	var a, b, both, empty Histogram
	for _, v := range []time.Duration{10, 20, time.Second} {
		a.Record(v)
		both.Record(v)
	}
	for _, v := range []time.Duration{5, time.Minute} {
		b.Record(v)
		both.Record(v)
	}
	var got Histogram
	got.Merge(&a)
	got.Merge(&empty)
	got.Merge(&b)
	if diff := cmp.Diff(both, got, cmp.AllowUnexported(Histogram{})); diff != "" {
		t.Error(diff)
	}
	if got.Count() != 5 || got.Max() != time.Minute || got.Mean() != 12_200_000_007 {
		t.Errorf("count %d, max %s, mean %d", got.Count(), got.Max(), got.Mean())
	}
}

func TestHistogramSurvivesJSON(t *testing.T) {
	t.Parallel()
	var h, got Histogram
	for _, v := range []time.Duration{0, 1, 300, time.Hour, time.Hour} {
		h.Record(v)
	}
	b, err := json.Marshal(&h)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got, cmp.AllowUnexported(Histogram{})); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte(`{"buckets":[[99999,1]]}`), &got); err == nil {
		t.Error("a bucket that does not exist was taken")
	}
}

func TestScheduleFallsDueAtItsRate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		i    uint64
		rate float64
		want time.Duration
	}{
		{0, 4000, 0},
		{1, 4000, 250 * time.Microsecond},
		{4000, 4000, time.Second},
		{3, 0.5, 6 * time.Second},
		{1, 3, 333_333_333},
		{3, 3, time.Second},
		{3_000_000_000, 30_000, 100_000 * time.Second},
	}
	for _, tt := range tests {
		if got := due(tt.i, tt.rate); got != tt.want {
			t.Errorf("request %d at %g/s is due at %s, want %s", tt.i, tt.rate, got, tt.want)
		}
	}
}

func TestIDSetsIgnoreOrderAndNoticeChanges(t *testing.T) {
	t.Parallel()
	set := func(ids ...uint64) (s IDSet) {
		for _, id := range ids {
			s.Add(id)
		}
		return s
	}
	of := set(1, 2, 3, 1<<40)
	if of != set(1<<40, 3, 1, 2) {
		t.Error("order matters")
	}
	for name, other := range map[string]IDSet{
		"one missing":                    set(1, 2, 3),
		"one too many":                   set(1, 2, 3, 1<<40, 4),
		"one twice instead of another":   set(1, 2, 2, 1<<40),
		"another one, equal count":       set(1, 2, 4, 1<<40),
		"two others, equal plain sum":    set(1, 1, 4, 1<<40),
		"two others, equal exclusive or": set(0, 3, 3, 1<<40),
	} {
		if of == other {
			t.Errorf("%s: not noticed", name)
		}
	}
	a, b := set(1, 2), set(3, 1<<40)
	a.Merge(b)
	if a != of {
		t.Error("merging two halves does not give the whole")
	}
}

func TestIDsSurviveTheirDigits(t *testing.T) {
	t.Parallel()
	for id, want := range map[uint64]string{0: "0000000000000000", 0xdeadbeef: "00000000deadbeef", 1<<64 - 1: "ffffffffffffffff"} {
		b := make([]byte, 16)
		putID(b, id)
		if string(b) != want {
			t.Errorf("%d is written as %s, want %s", id, b, want)
		}
		if got, ok := getID(b); !ok || got != id {
			t.Errorf("%s is read as %d, %t", b, got, ok)
		}
	}
	for _, s := range []string{"", "000000000000000", "000000000000000g", "000000000000000A"} {
		if _, ok := getID([]byte(s)); ok {
			t.Errorf("%q was taken for an id", s)
		}
	}
}

func TestHeads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want head // method and target are compared apart
		line string
		bad  bool
	}{
		"get":          {in: "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", line: "GET /a", want: head{length: -1}},
		"id":           {in: "GET /a?x=y&id=000000000000000f HTTP/1.1\r\n\r\n", line: "GET /a?x=y&id=000000000000000f", want: head{length: -1, id: 15, hasID: true}},
		"no id":        {in: "GET /a?xid=000000000000000f&id=1 HTTP/1.1\r\n\r\n", line: "GET /a?xid=000000000000000f&id=1", want: head{length: -1}},
		"length":       {in: "POST / HTTP/1.1\r\ncontent-length:  12 \r\n\r\n", line: "POST /", want: head{length: 12}},
		"chunked":      {in: "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n", line: "POST /", want: head{length: -1, chunked: true, expect: true}},
		"close":        {in: "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", line: "GET /", want: head{length: -1, close: true}},
		"1.0":          {in: "GET / HTTP/1.0\r\n\r\n", line: "GET /", want: head{length: -1, close: true}},
		"1.0 kept":     {in: "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", line: "GET /", want: head{length: -1}},
		"answer":       {in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", want: head{status: 200, length: 5}},
		"no reason":    {in: "HTTP/1.1 204\r\n\r\n", want: head{status: 204, length: -1}},
		"echoed id":    {in: "HTTP/1.1 200 OK\r\nx-load-id: 0000000000000010\r\n\r\n", want: head{status: 200, length: -1, id: 16, hasID: true}},
		"1.0 answer":   {in: "HTTP/1.0 200 OK\r\n\r\n", want: head{status: 200, length: -1, close: true}},
		"bad status":   {in: "HTTP/1.1 2xx OK\r\n\r\n", bad: true},
		"short status": {in: "HTTP/1.1 20\r\n\r\n", bad: true},
		"no version":   {in: "GET /\r\n\r\n", bad: true},
		"no colon":     {in: "GET / HTTP/1.1\r\nHost\r\n\r\n", bad: true},
		"bad length":   {in: "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", bad: true},
		"bad coding":   {in: "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", bad: true},
		"empty":        {in: "\r\n\r\n", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range len(tt.in) - 1 {
				if _, n, err := parseHead([]byte(tt.in[:i])); n != 0 || err != nil {
					t.Fatalf("%q: n %d, error %v before its end", tt.in[:i], n, err)
				}
			}
			h, n, err := parseHead([]byte(tt.in + "rest"))
			if (err != nil) != tt.bad || n != len(tt.in) {
				t.Fatalf("n %d, error %v; want %d, error %t", n, err, len(tt.in), tt.bad)
			}
			if tt.bad {
				return
			}
			if line := string(h.method) + " " + string(h.target); tt.line != "" && line != tt.line {
				t.Errorf("got %q, want %q", line, tt.line)
			}
			h.method, h.target = nil, nil
			if diff := cmp.Diff(tt.want, h, cmp.AllowUnexported(head{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeadWithoutAnEndIsRefused(t *testing.T) {
	t.Parallel()
	if _, _, err := parseHead(make([]byte, maxHead+1)); err == nil {
		t.Error("a head may grow for ever")
	}
}

// Whatever pieces a body comes in, the content is the same and nothing behind
// the body is touched.
func TestBodiesInAnyPieces(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body    body
		in      string
		content string
		rest    string
		bad     bool
	}{
		"none":           {body{}, "GET", "", "GET", false},
		"length":         {newBody(byLength, 3), "abcdef", "abc", "def", false},
		"until close":    {newBody(byClose, 0), "abc", "abc", "", false},
		"chunks":         {newBody(byChunks, 0), "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET", "abc0123456789", "GET", false},
		"extension":      {newBody(byChunks, 0), "1;a=b\r\nx\r\n0;c\r\n\r\n", "x", "", false},
		"trailer":        {newBody(byChunks, 0), "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nG", "x", "G", false},
		"only the end":   {newBody(byChunks, 0), "0\r\n\r\nG", "", "G", false},
		"no size":        {newBody(byChunks, 0), "g\r\n", "", "", true},
		"size too large": {newBody(byChunks, 0), "1000000000000\r\n", "", "", true},
		"chunk too long": {newBody(byChunks, 0), "1\r\nxy\r\n", "", "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(50) {
				content, rest, err := inPieces(tt.body, tt.in, rand.New(rand.NewPCG(seed, 0)))
				if (err != nil) != tt.bad {
					t.Fatalf("error %v, want %t", err, tt.bad)
				}
				if !tt.bad && (content != tt.content || rest != tt.rest) {
					t.Fatalf("content %q, rest %q; want %q, %q", content, rest, tt.content, tt.rest)
				}
			}
		})
	}
}

func inPieces(b body, in string, r *rand.Rand) (content, rest string, err error) {
	for len(in) > 0 && !b.done() {
		piece := []byte(in[:1+r.IntN(len(in))])
		for len(piece) > 0 && !b.done() {
			c, n, err := b.next(piece)
			if err != nil {
				return content, in, err
			}
			content += string(c)
			piece, in = piece[n:], in[n:]
		}
	}
	return content, in, nil
}

func TestHowAnAnswersBodyEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		h      head
		toHEAD bool
		want   framing
	}{
		{head{status: 200, length: 5}, false, byLength},
		{head{status: 200, length: 0}, false, noBody},
		{head{status: 200, length: -1}, false, byClose},
		{head{status: 200, length: -1, chunked: true}, false, byChunks},
		{head{status: 200, length: 5}, true, noBody},
		{head{status: 204, length: -1}, false, noBody},
		{head{status: 304, length: 5}, false, noBody},
		{head{status: 100, length: -1}, false, noBody},
	}
	for _, tt := range tests {
		if got := answerFraming(&tt.h, tt.toHEAD); got != tt.want {
			t.Errorf("%+v, HEAD %t: %d, want %d", tt.h, tt.toHEAD, got, tt.want)
		}
	}
}

func TestRequestHeads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		plan Plan
		want string
	}{
		"get": {Plan{}, "GET / HTTP/1.1\r\nHost: h:1\r\n\r\n"},
		"all": {
			Plan{Method: "PUT", Path: "/a?b=c", Host: "x", Headers: []Header{{"A", "b"}}, BodyBytes: 7, UniqueIDs: true, Close: true},
			"PUT /a?b=c&id=0000000000000000 HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
		},
		"chunked":      {Plan{BodyBytes: 7, Chunked: true}, "POST / HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"post nothing": {Plan{Method: "POST", UniqueIDs: true}, "POST /?id=0000000000000000 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.plan.Target, tt.plan.Requests = "h:1", 1
			p, err := tt.plan.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := p.requestHead(); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlansWithoutSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Plan{
		"no target":     {Requests: 1},
		"no end":        {Target: "h:1"},
		"negative rate": {Target: "h:1", Requests: 1, Rate: -1},
		"negative body": {Target: "h:1", Requests: 1, BodyBytes: -1},
	} {
		if _, err := p.withDefaults(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestBodyPatternHasNoShortPeriod(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 4096, 16 << 10, 64 << 10, 1 << 20} {
		if string(patternAt(0, 64)) == string(patternAt(n, 64)) {
			t.Errorf("the pattern repeats after %d bytes", n)
		}
	}
	if string(patternAt(3, 100)) != string(patternAt(3+patternLen, 100)) {
		t.Error("the pattern does not repeat after its period")
	}
}
