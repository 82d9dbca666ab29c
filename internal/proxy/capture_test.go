package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// keptBody is the capture.body of these tests.
const keptBody = 8 << 10

// captured is a configuration with a mirror that compares.
func captured(primary, shadow, mirrorLines string) string {
	return "capture: {body: 8KiB, memory: 16MiB}\n" + mirrored(primary, shadow, "            writes: copy\n"+mirrorLines)
}

// heard is what became of a captured exchange, apart from times and places.
type heard struct {
	Request, Primary, Shadow *traffic.Message
}

// hear takes the next exchange from the sink and checks what holds for all.
func hear(t *testing.T, sink *accessLog) (*traffic.Exchange, heard) {
	t.Helper()
	x := sink.next(t)
	sound(t, x)
	t.Cleanup(x.Release)
	if len(x.Copies) == 0 {
		return x, heard{x.Request, x.Primary.Answer, nil}
	}
	return x, heard{x.Request, x.Primary.Answer, x.Copies[0].Answer}
}

// sound checks what holds for every captured exchange.
func sound(t *testing.T, x *traffic.Exchange) {
	t.Helper()
	if x.Request == nil || x.Memory == nil {
		t.Errorf("%s %s: no request was captured", x.Method, x.Path)
		return
	}
	check := func(what string, m *traffic.Message, bytes int64) {
		switch {
		case m == nil:
		case m.Length != bytes:
			t.Errorf("%s %s: the body of %s has %d bytes, and %d were counted", x.Method, x.Path, what, m.Length, bytes)
		case int64(len(m.Body)) != min(m.Length, keptBody) || (m.Hash != 0) != m.Cut():
			t.Errorf("%s %s: of the body of %s %d of %d bytes are kept, its hash is %x", x.Method, x.Path, what, len(m.Body), m.Length, m.Hash)
		case len(m.Head) == 0 || !strings.HasSuffix(string(m.Head), "\r\n") || strings.HasSuffix(string(m.Head), "\r\n\r\n"):
			t.Errorf("%s %s: the head of %s is %q", x.Method, x.Path, what, m.Head)
		case !m.Whole && m.Trailer != nil:
			t.Errorf("%s %s: %s was cut off and has the trailers %q", x.Method, x.Path, what, m.Trailer)
		}
	}
	check("the request", x.Request, x.BytesIn)
	check("the primary's answer", x.Primary.Answer, x.Primary.Bytes)
	for i := range x.Copies {
		o := &x.Copies[i]
		check("the answer of "+o.Mirror, o.Answer, o.Bytes)
		if o.Fate == traffic.Completed && o.Compare && (o.Answer == nil || !o.Answer.Whole) {
			t.Errorf("%s %s: %s was completed, and its answer is %+v", x.Method, x.Path, o.Mirror, o.Answer)
		}
		if o.Queued > o.Start && o.Start > 0 || o.Start > o.First && o.First > 0 || o.First > o.End {
			t.Errorf("%s %s: %s was ready at %s, started at %s, answered at %s, over at %s", x.Method, x.Path, o.Mirror, o.Queued, o.Start, o.First, o.End)
		}
	}
}

// captures waits until no exchange is being captured and returns the books.
func captures(t *testing.T, s *Server) telemetry.Capture {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if b := s.Snapshot().Capture; b.InFlight == 0 || time.Now().After(deadline) {
			return b
		}
	}
}

// replying is a backend that gives every request the same answer, and closes the
// connection if the answer says nowhere where it ends.
func replying(t *testing.T, raw string) string {
	return record(t, func(*message) (string, bool) {
		return raw, strings.Contains(raw, "Connection: close\r\n")
	}).address()
}

// whole is a message that came to its end and was kept whole.
func whole(head, body, trailer string) *traffic.Message {
	m := &traffic.Message{Head: []byte(head), Length: int64(len(body)), Whole: true}
	if body != "" {
		m.Body = []byte(body)
	}
	if trailer != "" {
		m.Trailer = []byte(trailer)
	}
	return m
}

func TestMessagesAreCapturedAsTheyCame(t *testing.T) {
	const get = "GET /a?b=c HTTP/1.1\r\nHost: shop\r\nx-odd:  spaces \r\nCookie: a=b\r\n"
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	zipped := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00"
	for _, test := range []struct {
		name            string
		request, answer string // with their bodies; the shadow's answer has another reason phrase
		asked, told     *traffic.Message
	}{
		{"GET", get + "\r\n", ok + "\r\nok", whole(get, "", ""), whole(ok, "ok", "")},
		{"behind an empty line", "\r\n" + get + "\r\n", ok + "\r\nok", whole(get, "", ""), whole(ok, "ok", "")},
		{"whole target", "GET http://shop/a HTTP/1.1\r\nHost: shop\r\n\r\n", ok + "\r\nok", whole("GET http://shop/a HTTP/1.1\r\nHost: shop\r\n", "", ""), whole(ok, "ok", "")},
		{"HTTP/1.0", "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ok + "\r\nok", whole("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n", "", ""), whole(ok, "ok", "")},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", ok + "\r\n", whole("HEAD / HTTP/1.1\r\nHost: h\r\n", "", ""), whole(ok, "", "")},
		{"no content", get + "\r\n", "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n", whole(get, "", ""), whole("HTTP/1.1 204 No Content\r\nx-a: b\r\n", "", "")},
		{"not modified", get + "\r\n", "HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\nContent-Length: 7\r\n\r\n", whole(get, "", ""), whole("HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\nContent-Length: 7\r\n", "", "")},
		{"empty", get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole(get, "", ""), whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "", "")},
		{"chunks both ways", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n2\r\nwx\r\n0\r\n\r\n",
			whole("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", "abcde", ""), whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "vwx", "")},
		{"trailers both ways", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum:1\r\nX-More: 2\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\nserver-timing:  db \r\nContent-Length: 3\r\n\r\n",
			whole("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", "a", "x-sum: 1\r\nX-More: 2\r\n"),
			whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "v", "server-timing: db\r\n")}, // a length cannot be a trailer
		{"until the end of the connection", get + "\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", whole(get, "", ""), whole("HTTP/1.1 200 OK\r\nConnection: close\r\n", "all of it", "")},
		{"zipped", get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + zipped,
			whole(get, "", ""), whole("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n", zipped, "")},
		{"behind a hint", get + "\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "\r\nok", whole(get, "", ""), whole(ok, "ok", "")},
		{"a call", rpcHead("/shop.Cart/Get", "") + chunk(rpcMessage("hello")) + "0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(rpcMessage("hi")) + "0\r\ngrpc-status: 5\r\ngrpc-message: no\r\n\r\n",
			whole(strings.TrimSuffix(rpcHead("/shop.Cart/Get", ""), "\r\n"), rpcMessage("hello"), ""),
			whole("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n", rpcMessage("hi"), "grpc-status: 5\r\ngrpc-message: no\r\n")},
	} {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				sink := newLog()
				ofShadow := strings.NewReplacer(" OK\r\n", " Shadow\r\n", " No Content\r\n", " Shadow\r\n", " Not Modified\r\n", " Shadow\r\n")
				s, addr := serveWith(t, Options{Driver: d, Capture: sink}, captured(replying(t, test.answer), replying(t, ofShadow.Replace(test.answer)), ""))
				c := dial(t, addr)
				send(t, c, test.request)
				if _, err := readAnswer(bufio.NewReader(c), test.request[:strings.IndexByte(test.request, ' ')]); err != nil {
					t.Fatal(err)
				}
				c.Close()
				x, got := hear(t, sink)
				told := *test.told
				told.Head = []byte(ofShadow.Replace(string(told.Head)))
				if diff := cmp.Diff(heard{test.asked, test.told, &told}, got); diff != "" {
					t.Errorf("(- want, + got)\n%s", diff)
				}
				if x.Record || !x.Copies[0].Compare {
					t.Errorf("recorded %v, compared %v, want a comparison alone", x.Record, x.Copies[0].Compare)
				}
				if b := captures(t, s); b.Drawn != 1 || b.Taken != 1 {
					t.Errorf("counted %+v, want one drawn and taken", b)
				}
			})
		})
	}
}

// xxh64 is XXH64 with seed 0 over p, as its specification has it, of another hand
// than the one that the proxy uses.
func xxh64(p []byte) uint64 {
	const p1, p2, p3, p4, p5 = 11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261
	rotate := func(v uint64, n int) uint64 { return v<<n | v>>(64-n) }
	round := func(acc, v uint64) uint64 { return rotate(acc+v*p2, 31) * p1 }
	length, one := uint64(len(p)), uint64(p1)
	h := uint64(p5)
	if len(p) >= 32 {
		acc := [4]uint64{one + p2, p2, 0, -one}
		for ; len(p) >= 32; p = p[32:] {
			for i := range acc {
				acc[i] = round(acc[i], binary.LittleEndian.Uint64(p[8*i:]))
			}
		}
		h = rotate(acc[0], 1) + rotate(acc[1], 7) + rotate(acc[2], 12) + rotate(acc[3], 18)
		for _, a := range acc {
			h = (h^round(0, a))*p1 + p4
		}
	}
	h += length
	for ; len(p) >= 8; p = p[8:] {
		h = rotate(h^round(0, binary.LittleEndian.Uint64(p)), 27)*p1 + p4
	}
	if len(p) >= 4 {
		h = rotate(h^uint64(binary.LittleEndian.Uint32(p))*p1, 23)*p2 + p3
		p = p[4:]
	}
	for _, c := range p {
		h = rotate(h^uint64(c)*p5, 11) * p1
	}
	h ^= h >> 33
	h *= p2
	h ^= h >> 29
	h *= p3
	return h ^ h>>32
}

// These are the test vectors that come with xxHash.
func TestTheOtherXXH64(t *testing.T) {
	for text, want := range map[string]uint64{"": 0xef46db3751d8e999, "a": 0xd24ec4f1a98c6e5b, "abc": 0x44bc2cf5ad770999, "Nobody inspects the spammish repetition": 0xfbcea83c8a378bf1} {
		if got := xxh64([]byte(text)); got != want {
			t.Errorf("%q: got %x, want %x", text, got, want)
		}
	}
}

// patterned is a body of n bytes in which no two parts are alike.
func patterned(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d;", i)
	}
	return b.String()[:n]
}

// inFrames is a body behind its framing line.
func inFrames(chunked bool, body string) string {
	if !chunked {
		return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	var b strings.Builder
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for n := 1; len(body) > 0; n = n*3 + 1 {
		n = min(n, len(body))
		b.WriteString(chunk(body[:n]))
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func TestLongBodiesAreCutAndHashed(t *testing.T) {
	for _, size := range []int{1, keptBody - 1, keptBody, keptBody + 1, 100_000, 1_000_000} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				drivers(t, func(t *testing.T, d loop.Driver) {
					asked, told, other := patterned(size), patterned(size + 7)[7:], patterned(size + 13)[13:]
					sink := newLog()
					_, addr := serveWith(t, Options{Driver: d, Capture: sink}, captured(
						replying(t, "HTTP/1.1 200 OK\r\n"+inFrames(chunked, told)), replying(t, "HTTP/1.1 200 OK\r\n"+inFrames(chunked, other)), "            limits: {memory: 64MiB}"))
					c := dial(t, addr)
					send(t, c, "POST / HTTP/1.1\r\nHost: h\r\n"+inFrames(chunked, asked))
					if m, err := readAnswer(bufio.NewReader(c), "POST"); err != nil || m.body != told {
						t.Fatalf("got %d bytes, %v", len(m.body), err)
					}
					_, got := hear(t, sink)
					for what, pair := range map[string]struct {
						m    *traffic.Message
						body string
					}{"request": {got.Request, asked}, "primary": {got.Primary, told}, "shadow": {got.Shadow, other}} {
						want := traffic.Message{Head: pair.m.Head, Body: []byte(pair.body[:min(size, keptBody)]), Length: int64(size), Whole: true}
						if size > keptBody {
							want.Hash = xxh64([]byte(pair.body))
						}
						if diff := cmp.Diff(want, *pair.m); diff != "" {
							t.Errorf("%s: (- want, + got)\n%.2000s", what, diff)
						}
					}
				})
			})
		}
	}
}

func TestEveryEndOfACapturedExchange(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	const post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	for _, test := range []struct {
		name, request, primary, shadow string // "-" hangs up without an answer
		mirror                         string
		source                         traffic.Source
		fate                           string
		asked, told, other             string // bodies with "…" if cut off, "none" for no message
	}{
		{"all is well", post + "body", ok + "okay", ok + "well", "", traffic.None, "completed", "body", "okay", "well"},
		{"the primary hangs up", get, "-", ok + "well", "", traffic.Primary, "completed", "", "none", "well"},
		{"the primary breaks off", get, ok + "ok", ok + "well", "", traffic.Primary, "completed", "", "ok…", "well"},
		{"the primary's answer is none", get, "hello there, proxy\r\n\r\n", ok + "well", "", traffic.Primary, "completed", "", "none", "well"},
		{"the shadow hangs up", get, ok + "okay", "-", "", traffic.None, "failed reset", "", "okay", "none"},
		{"the shadow breaks off", get, ok + "okay", ok + "we", "", traffic.None, "failed reset", "", "okay", "we…"},
		{"the shadow is late", get, ok + "okay", "", "timeout: 30ms", traffic.None, "failed timeout", "", "okay", "none"},
		{"the shadow's answer is late in part", get, ok + "okay", ok + "we", "timeout: 30ms", traffic.None, "failed timeout", "", "okay", "we…"},
		{"the body is too long for the copy", post + "body", ok + "okay", "", "body: {limit: 3}", traffic.None, "dropped body_limit", "body", "okay", "none"},
		{"the client leaves in its request", post + "bo", "", "", "", traffic.Client, "dropped client_gone", "bo…", "none", "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow, sink := scripted(t), scripted(t), newLog()
				mirror := ""
				if test.mirror != "" {
					mirror = "            " + test.mirror
				}
				s, addr := serveWith(t, Options{Driver: d, Capture: sink}, captured(primary.address(), shadow.address(), mirror))
				c := dial(t, addr)
				send(t, c, test.request)
				if test.source == traffic.Client {
					p := primary.next(t)
					head(t, bufio.NewReader(p))
					c.CloseWrite()
				} else {
					play(t, primary.next(t), test.primary, false)
				}
				if test.fate[:4] != "drop" {
					play(t, shadow.next(t), test.shadow, test.mirror != "")
				}
				x, got := hear(t, sink)
				o := &x.Copies[0]
				if x.Source != test.source || (x.Error != "") != (test.source != traffic.None) || strings.TrimSpace(string(o.Fate)+" "+string(o.Reason)) != test.fate {
					t.Errorf("got %v, %q, and a copy that was %s %s, want %v and %s", x.Source, x.Error, o.Fate, o.Reason, test.source, test.fate)
				}
				want := [3]string{test.asked, test.told, test.other}
				if bodies := [3]string{bodyOf(got.Request), bodyOf(got.Primary), bodyOf(got.Shadow)}; bodies != want {
					t.Errorf("captured %q, want %q", bodies, want)
				}
				if b := captures(t, s); b.Taken != 1 {
					t.Errorf("counted %+v, want one taken", b)
				}
			})
		})
	}
}

// play reads a head, answers, and closes the connection unless it is to be held.
func play(t *testing.T, c net.Conn, answer string, hold bool) {
	t.Helper()
	head(t, bufio.NewReader(c))
	if answer != "-" {
		io.WriteString(c, answer) // the proxy may have seen enough
	}
	if !hold {
		c.Close()
	}
}

// bodyOf is the body of a message, as the tables have it.
func bodyOf(m *traffic.Message) string {
	switch {
	case m == nil:
		return "none"
	case m.Whole:
		return string(m.Body)
	}
	return string(m.Body) + "…"
}

func TestWhichExchangesAreCaptured(t *testing.T) {
	const post = "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
	const get = "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, test := range []struct {
		name, top, rule, request string
		min, max                 int // of 1000
		record                   bool
		compare                  string // of the copies, in order: whether they were drawn to be compared, "?" for either
	}{
		{"a mirror that compares", "", "mirrors: [{backend: v2}]", get, 1000, 1000, false, "1"},
		{"a mirror that does not", "", "mirrors: [{backend: v2, compare: {percent: 0}}]", get, 0, 0, false, ""},
		// 50 % of 1,000 are 500; 100 more or less are 6.3 standard deviations, which
		// happens by chance once in 3·10^9 times.
		{"a mirror that compares a half", "", "mirrors: [{backend: v2, compare: {percent: 50}}]", get, 400, 600, false, "1"},
		{"a mirror that copies a half", "", "mirrors: [{backend: v2, percent: 50}]", get, 400, 600, false, "1"},
		{"a mirror that is off", "", "mirrors: [{backend: v2, percent: 0}]", get, 0, 0, false, ""},
		{"a write that is not copied", "", "mirrors: [{backend: v2}]", post, 0, 0, false, ""},
		{"one of two mirrors compares", "", "mirrors: [{name: a, backend: v2, compare: {percent: 0}}, {name: b, backend: v2}]", get, 1000, 1000, false, "01"},
		{"two mirrors that compare", "", "mirrors: [{name: a, backend: v2}, {name: b, backend: v2}]", get, 1000, 1000, false, "11"},
		{"a smaller share lies inside a larger one", "", "mirrors: [{name: a, backend: v2, compare: {percent: 50}}, {name: b, backend: v2}]", get, 1000, 1000, false, "?1"},
		{"the one that compares does not copy", "", "mirrors: [{name: a, backend: v2, compare: {percent: 0}}, {name: b, backend: v2, percent: 0}]", get, 0, 0, false, ""},
		{"no mirror", "", "", get, 0, 0, false, ""},
		{"recorded without a mirror", "record: {directory: x, percent: 100}\n", "", post, 1000, 1000, true, ""},
		{"a half is recorded", "record: {directory: x, percent: 50}\n", "", get, 400, 600, true, ""},
		{"nothing is recorded", "record: {directory: x, percent: 0}\n", "", get, 0, 0, false, ""},
		{"recorded with a mirror that does not compare", "record: {directory: x}\n", "mirrors: [{backend: v2, compare: {percent: 0}}]", get, 1000, 1000, true, "0"},
		{"recorded with a mirror that skips", "record: {directory: x}\n", "mirrors: [{backend: v2}]", post, 1000, 1000, true, "0"},
		{"recorded and compared", "record: {directory: x}\n", "mirrors: [{backend: v2}]", get, 1000, 1000, true, "1"},
		{"no route", "record: {directory: x}\n", "matches: [{path: {value: /none}}]", get, 0, 0, false, ""},
		{"a redirect", "record: {directory: x}\n", "redirect: {path: {replaceFullPath: /}}", get, 0, 0, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sink, primary, shadow := newLog(), record(t, fine), record(t, fine)
			yaml := strings.Replace(mirrored(primary.address(), shadow.address(), ""), "        mirrors:\n          - backend: v2\n", "        "+test.rule+"\n", 1)
			if strings.HasPrefix(test.rule, "redirect") {
				yaml = strings.Replace(yaml, "backends: [{name: v1}]\n        redirect", "redirect", 1)
			}
			s, addr := serveWith(t, Options{Capture: sink}, "capture: {body: 8KiB, memory: 16MiB}\n"+test.top+yaml)
			ask(t, addr, numbered(1000, test.request)...)
			s.Drain(context.Background()) // the last one ends after its answer has arrived
			n := len(sink.got)
			if n < test.min || n > test.max {
				t.Fatalf("got %d of 1000, want %d to %d", n, test.min, test.max)
			}
			inside := 0
			for range n {
				x, _ := hear(t, sink)
				if x.Record != test.record || len(x.Copies) != len(test.compare) {
					t.Fatalf("recorded %v, %d copies, want %v and %q", x.Record, len(x.Copies), test.record, test.compare)
				}
				for i, o := range x.Copies {
					if want := test.compare[i]; want != '?' && o.Compare != (want == '1') {
						t.Fatalf("%s: compared %v, want %c", o.Mirror, o.Compare, want)
					}
					if o.Compare {
						inside++
					}
					if o.Fate == traffic.Completed && (o.Answer != nil) != (o.Compare || x.Record) {
						t.Fatalf("%s %s: the answer is %+v, compared %v, recorded %v", o.Mirror, o.Fate, o.Answer, o.Compare, x.Record)
					}
				}
			}
			if strings.Contains(test.compare, "?") && (inside < 1400 || inside > 1600) {
				t.Errorf("%d copies of two mirrors are compared, want about 1500", inside)
			}
		})
	}
}
