package upstream

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestConnectionIsUsedAgain(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			for _, target := range []string{"/a ", "/b ", "/c "} {
				p.expect(target)
				p.answer("answer to " + target)
			}
			p.end()
		}))
		for i, name := range []string{"a", "b", "c"} {
			x := r.get(name)
			r.send(e, x)
			x.succeeds(200, "answer to /"+name+" ")
			if x.Reused != (i > 0) {
				r.Errorf("%s: on a used connection %v, want %v", name, x.Reused, i > 0)
			}
			if diff := cmp.Diff(Load{Endpoint: e, Idle: 1, Requests: uint64(i + 1)}, r.load(e), cmp.Comparer(func(a, b *Endpoint) bool { return a == b })); diff != "" {
				r.Error(diff)
			}
		}
	})
}

// answers are what a server may send to a request, and what it means.
var answers = []struct {
	name, method, answer string
	statuses             []int
	body, trailer        string
	again                bool // the connection serves another call
}{
	{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", []int{200}, "hello", "", true},
	{"no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []int{200}, "", "", true},
	{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", []int{200}, "hello", "", true},
	{
		"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum:  7 \r\nContent-Length: 1\r\n\r\n",
		[]int{200}, "hello", "X-Sum: 7\r\n", true,
	},
	{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", []int{204}, "", "", true},
	{"304 that speaks of a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", []int{304}, "", "", true},
	{"the answer to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", []int{200}, "", "", true},
	{"1xx in front", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", []int{100, 103, 200}, "ok", "", true},
	{"an error is an answer", "GET", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick", []int{503}, "sick", "", true},
	{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", []int{200}, "hello", "", false},
	{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", []int{200}, "hello", "", false},
	{"HTTP/1.0 that stays", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", []int{200}, "hello", "", true},
}

func TestAnswersAreReadToTheirEnd(t *testing.T) {
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				scripts := []func(p *peer){
					func(p *peer) {
						p.expect("/first ")
						p.write(c.answer)
						if c.again {
							p.expect("/second ")
							p.answer("second")
						}
						p.end()
					},
					func(p *peer) {
						p.expect("/second ")
						p.answer("second")
					},
				}
				if c.again {
					scripts = scripts[:1]
				}
				e := r.endpoint(r.serve(scripts...))
				x := r.exchange("first", c.method+" /first HTTP/1.1\r\nHost: h\r\n\r\n")
				x.Head = c.method == "HEAD"
				r.send(e, x)
				x.succeeds(c.statuses[len(c.statuses)-1], c.body)
				if diff := cmp.Diff(c.statuses, x.statuses); diff != "" {
					t.Error(diff)
				}
				if x.trailer != c.trailer {
					t.Errorf("trailer %q, want %q", x.trailer, c.trailer)
				}
				second := r.get("second")
				r.send(e, second)
				second.succeeds(200, "second")
			})
		})
	}
}

// However an answer is cut into reads, it is the same answer. The second part is
// sent when the first has been read.
func TestAnswersAreReadInParts(t *testing.T) {
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				for cut := 1; cut < len(c.answer); cut += 1 + len(c.answer)/6 {
					rest := make(chan struct{})
					e := r.endpoint(r.serve(func(p *peer) {
						p.request()
						p.write(c.answer[:cut])
						<-rest
						p.write(c.answer[cut:])
						p.gone()
					}))
					x := r.exchange(c.name, c.method+" / HTTP/1.1\r\nHost: h\r\n\r\n")
					x.Head = c.method == "HEAD"
					r.send(e, x)
					r.until("a part of the answer was read", func() bool { return x.answered || x.ends > 0 })
					close(rest)
					x.succeeds(c.statuses[len(c.statuses)-1], c.body)
				}
			})
		})
	}
}

// A body without a length ends with the connection.
func TestAnswerUntilCloseEndsWithTheConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		body := strings.Repeat("until close ", 30000)
		e := r.endpoint(r.serve(func(p *peer) {
			p.request()
			p.write("HTTP/1.1 200 OK\r\n\r\n" + body)
		}))
		x := r.get("a")
		r.send(e, x)
		x.succeeds(200, body)
		if load := r.load(e); load.Idle != 0 {
			r.Errorf("%d pooled connections, want none", load.Idle)
		}
	})
}

func TestBrokenAnswersFail(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		reset        bool // instead of closing
		reason       traffic.Reason
	}{
		{"no answer", "", false, traffic.FailReset},
		{"reset instead of an answer", "", true, traffic.FailReset},
		{"garbage", "\x16\x03\x01\x00\x05hello", false, traffic.FailProtocol},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", false, traffic.FailProtocol},
		{"a field that is none", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n", false, traffic.FailProtocol},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, traffic.FailProtocol},
		{"a head without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 20000), false, traffic.FailProtocol},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", false, traffic.FailReset},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", false, traffic.FailReset},
		{"half a body and a reset", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", true, traffic.FailReset},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhello", false, traffic.FailReset},
		{"a chunk that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", false, traffic.FailProtocol},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false, traffic.FailReset},
		{"only 100", "HTTP/1.1 100 Continue\r\n\r\n", false, traffic.FailReset},
		{"101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false, traffic.FailProtocol},
		{"until reset", "HTTP/1.1 200 OK\r\n\r\nhello", true, traffic.FailReset},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				read := make(chan struct{})
				e := r.endpoint(r.serve(func(p *peer) {
					p.expect("/a ")
					p.write(c.answer)
					if c.reset {
						<-read
						p.reset()
					}
				}))
				x := r.get("a")
				r.send(e, x)
				if c.reset {
					r.until("the answer was read", func() bool { return c.answer == "" || x.body.Len() > 0 })
					close(read)
				}
				x.fails(Failure{Reason: c.reason})
				if got := e.Failures(); got != 1 {
					t.Errorf("%d failures of the endpoint, want 1", got)
				}
				if load := r.load(e); load.Idle != 0 {
					t.Errorf("%d pooled connections, want none", load.Idle)
				}
			})
		})
	}
}

// The bytes behind an answer could be the answer to anything, and must not be
// taken for that to the next call, even if it is sent at once.
func TestAnswerBehindAnAnswerIsNotForTheNextCall(t *testing.T) {
	drivers(t, func(r *rig) {
		stolen := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			p.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown" + stolen)
			p.end()
		}))
		a, b := r.get("a"), r.get("b")
		a.onEnd = func() { r.client.Send(&b.Call, e) }
		r.send(e, a)
		a.succeeds(200, "own")
		b.fails(Failure{Reason: traffic.FailProtocol, Stale: true, Unsent: true})
		if got := b.Out.Len(); got == 0 {
			r.Error("nothing is left to be sent elsewhere")
		}
		if got := e.Failures(); got != 0 {
			r.Errorf("%d failures of the endpoint, want none", got)
		}
	})
}

func TestUnsolicitedBytesCloseAnIdleConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		idle := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			p.answer("a")
			<-idle
			p.answer("and another thing")
			p.end()
		}, func(p *peer) {
			p.expect("/b ")
			p.answer("b")
		}))
		a, b := r.get("a"), r.get("b")
		r.send(e, a)
		a.succeeds(200, "a")
		close(idle)
		r.until("the connection is closed", func() bool { return len(r.client.pool(e).idle) == 0 })
		r.send(e, b)
		b.succeeds(200, "b")
	})
}

// A server that speaks first did not see what it answers.
func TestAnswerBeforeTheRequestFails(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			p.answer("hello, who is there?")
			p.gone()
		}))
		x := r.exchange("x", "")
		x.Whole = false
		r.send(e, x)
		x.fails(Failure{Reason: traffic.FailProtocol, Unsent: true})
	})
}

func TestIdleConnectionsAreClosedByTheServerAndByTime(t *testing.T) {
	drivers(t, func(r *rig) {
		closed := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			p.answer("a")
			<-closed
		}))
		x := r.get("a")
		r.send(e, x)
		x.succeeds(200, "a")
		close(closed)
		r.until("the connection is gone", func() bool { return len(r.client.pool(e).idle) == 0 })
	})
}
