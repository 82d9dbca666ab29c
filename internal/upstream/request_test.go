package upstream

import (
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// add appends to the request of x, on the loop.
func (x *exchange) add(text string, whole bool) {
	x.Out.Copy([]byte(text))
	x.Whole = whole
	x.Flush()
}

// addLater is a client that always has more: a part of the body in a later pass.
func (x *exchange) addLater(text string) {
	x.rig.loop.Post(func() {
		if x.ends == 0 && x.Out.Len() < 1<<18 {
			x.add(text, false)
		}
	})
}

const upload = "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestBodyIsSentAsItComes(t *testing.T) {
	drivers(t, func(r *rig) {
		part := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/first ")
			p.answer("first")
			for range len(upload) + len("3\r\nabc\r\n") {
				p.r.ReadByte()
			}
			close(part)
			if got := p.body(0, true); got != "def" {
				r.Errorf("the rest of the body is %q, want def", got)
			}
			p.answer("uploaded")
			p.expect("/next ")
			p.answer("next")
			p.end()
		}))
		first := r.get("first")
		r.send(e, first)
		first.succeeds(200, "first")

		x := r.exchange("upload", upload)
		x.Whole = false
		r.send(e, x)
		r.on(func() { x.add("3\r\nabc\r\n", false) })
		await(t, part, "a part of the body")
		r.on(func() { x.add("3\r\ndef\r\n0\r\n\r\n", true) })
		x.succeeds(200, "uploaded")
		if want := len(upload) + 21; x.sent != want {
			r.Errorf("%d bytes were told as sent, want %d", x.sent, want)
		}
		next := r.get("next")
		r.send(e, next)
		next.succeeds(200, "next")
	})
}

// The end of a request may be known only after its last byte was sent.
func TestRequestMayBecomeWholeWithoutAnotherByte(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 4
		got := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a abc")
			close(got)
			p.expect("/b ")
			p.answer("a")
			p.answer("b")
			p.end()
		}))
		a, b := r.exchange("a", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), r.get("b")
		a.Whole = false
		r.send(e, a)
		await(t, got, "the request")
		r.on(func() {
			a.add("", true)
			r.client.Send(&b.Call, e)
		})
		a.succeeds(200, "a")
		b.succeeds(200, "b")
	})
}

// A server that refuses a long body answers before it has come. The answer
// counts, and the rest of the body is nobody's.
func TestEarlyAnswerEndsTheUpload(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			for range len(upload) {
				p.r.ReadByte()
			}
			p.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo long")
			p.gone()
		}))
		x := r.exchange("upload", upload)
		x.Whole = false
		r.send(e, x)
		x.succeeds(413, "too long")
		if load := r.load(e); load.Idle != 0 {
			r.Error("a connection with half a request on it was pooled")
		}
		r.on(func() { x.add("5\r\nhello\r\n", false) }) // goes nowhere
	})
}

// The same when the server does not even read: the upload then breaks while the
// answer is on its way, again and again.
func TestEarlyAnswerIsReadAfterTheServerStoppedReading(t *testing.T) {
	drivers(t, func(r *rig) {
		answer := strings.Repeat("too long ", 3000)
		e := r.endpoint(r.serve(func(p *peer) {
			for range len(upload) {
				p.r.ReadByte()
			}
			p.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 27000\r\n\r\n" + answer)
			p.Close() // with bytes unread, so that the client is reset
		}))
		x := r.exchange("upload", upload)
		x.Whole = false
		chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
		x.onSent = func() { x.addLater(chunk) }
		x.onData = x.onSent
		r.send(e, x)
		x.succeeds(413, answer)
	})
}

func TestAnUploadThatIsNotTakenFails(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			for range len(upload) {
				p.r.ReadByte()
			}
			p.reset()
		}))
		x := r.exchange("upload", upload)
		x.Whole = false
		chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
		x.onSent = func() { x.addLater(chunk) }
		r.send(e, x)
		x.fails(Failure{Reason: traffic.FailReset})
	})
}

// A large request is written as the server takes it, and told as it goes.
func TestLargeRequestIsWrittenWhole(t *testing.T) {
	drivers(t, func(r *rig) {
		body := strings.Repeat("0123456789abcdef", 1<<18)
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/up " + body)
			p.answer("thanks")
			p.end()
		}))
		text := "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n" + body
		x := r.exchange("upload", text)
		r.send(e, x)
		x.succeeds(200, "thanks")
		if x.sent != len(text) {
			r.Errorf("%d bytes were told as sent, want %d", x.sent, len(text))
		}
	})
}

// Copies go out at the end of a pass, after everything live.
func TestLateClientWritesAfterTheOthers(t *testing.T) {
	drivers(t, func(r *rig) {
		script := func(p *peer) {
			p.answer(p.request())
			p.answer(p.request())
			p.end()
		}
		e := r.endpoint(r.serve(script, script))
		late := &Client{Loop: r.loop, Pool: &r.pool, Intake: r.client.Intake, Late: true}
		r.Cleanup(func() { r.on(func() { late.CloseIdle(true) }) })
		var order []string
		for range 2 { // the first time only to connect
			order = nil
			a, b := r.get("live"), r.get("copy")
			a.onSent = func() { order = append(order, "live") }
			b.onSent = func() { order = append(order, "copy") }
			r.on(func() {
				late.Send(&b.Call, e)
				r.client.Send(&a.Call, e)
			})
			a.succeeds(200, "/live ")
			b.succeeds(200, "/copy ")
		}
		if len(order) != 2 || order[0] != "live" {
			r.Errorf("sent in the order %v, want live before copy", order)
		}
	})
}

func TestUpgradeBecomesATunnel(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/chat ")
			p.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nwelcome;")
			for _, want := range "hello" {
				if got, _ := p.r.ReadByte(); got != byte(want) {
					r.Errorf("the server got %q, want %q", got, want)
				}
			}
			p.write("HTTP/1.1 is not spoken here;")
			p.end() // the client is done, the server is not
			p.write("bye")
		}))
		x := r.exchange("chat", "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
		x.Upgrade = true
		r.send(e, x)
		r.until("the tunnel stands", func() bool { return x.body.String() == "welcome;" })
		r.on(func() {
			x.add("hello", true)
			x.CloseWrite() // once what waits is sent
		})
		x.succeeds(101, "welcome;HTTP/1.1 is not spoken here;bye")
		if load := r.load(e); load.Idle != 0 {
			r.Error("a tunnel was pooled")
		}
	})
}

func TestServerEndsATunnel(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *peer)
		want Failure
	}{
		{"with an end", func(p *peer) { p.CloseWrite(); p.gone() }, Failure{}},
		{"with a reset", func(p *peer) { p.reset() }, Failure{Reason: traffic.FailReset}},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				stands := make(chan struct{})
				e := r.endpoint(r.serve(func(p *peer) {
					p.expect("/chat ")
					p.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhello")
					<-stands
					c.end(p)
				}))
				x := r.get("chat")
				x.Upgrade = true
				r.send(e, x)
				r.until("the tunnel stands", func() bool { return x.body.String() == "hello" })
				close(stands)
				if c.want.Failed() {
					x.fails(c.want)
				} else {
					x.succeeds(101, "hello")
				}
				if got := e.Failures(); got != 0 {
					t.Errorf("%d failures of the endpoint, want none: tunnels often end so", got)
				}
			})
		})
	}
}

// A server may refuse to upgrade, and the connection then goes on as ever.
func TestUpgradeThatIsRefusedIsAnAnswer(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/chat ")
			p.answer("no")
			p.expect("/next ")
			p.answer("next")
			p.end()
		}))
		x, next := r.get("chat"), r.get("next")
		x.Upgrade = true
		r.send(e, x)
		x.succeeds(200, "no")
		r.send(e, next)
		next.succeeds(200, "next")
	})
}
