package mirror

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// layer4 is a mirror of a route without messages, as a file would have it.
func layer4(t testing.TB, protocol, lines string) *config.Mirror {
	t.Helper()
	if lines != "" {
		lines = ", " + lines
	}
	cfg, err := config.Parse("test.yaml", []byte(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: `+protocol+`}]
routes: [{name: shop, listeners: [web], rules: [{backends: [{name: v1}], mirrors: [{backend: v2`+lines+`}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:1"]}, {name: v2, endpoints: ["127.0.0.1:2"]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return &cfg.Routes[0].Rules[0].Mirrors[0]
}

// streamMirror puts a mirror of connections in force.
func (s *stage) streamMirror(name, lines, address string) *Policy {
	s.Helper()
	s.mirror(name, "", address) // for its backend
	def := layer4(s, "TCP", lines)
	def.Name, def.Backend = name, name
	return s.compile(def, nil)
}

// connection is a client without messages.
func connection() *Subject {
	return &Subject{
		Match: &route.Request{Path: []byte("/"), Source: netip.MustParseAddr("192.0.2.7")},
		From:  netip.MustParseAddrPort("192.0.2.7:1000"), To: netip.MustParseAddrPort("192.0.2.1:443"),
	}
}

// stream offers a connection.
func (s *stage) stream(p *Policy) (t Ticket) {
	s.Helper()
	s.on(func() { t = s.copies.OfferStream(p, connection(), nil).Ticket() })
	return t
}

func TestAStreamIsCompletedAfterBothEnds(t *testing.T) {
	drivers(t, func(s *stage) {
		got := make(chan string, 1)
		p := s.streamMirror("v2", "", s.shadow(func(_ int, v *visit) {
			v.write("welcome")
			in, _ := io.ReadAll(v.r)
			got <- string(in)
			v.write("bye")
		}))
		c := s.stream(p)
		s.body(c, "one, ", "two, ", strings.Repeat("x", 100000))
		s.finish(c, "")
		if in := await(s, got, "the stream"); in != "one, two, "+strings.Repeat("x", 100000) {
			s.Errorf("the shadow got %d bytes, beginning with %.20q", len(in), in)
		}
		s.one(p, "completed")
	})
}

func TestHowStreamsEndOtherwise(t *testing.T) {
	drivers(t, func(s *stage) {
		reads := func(_ int, v *visit) { v.gone() }
		tests := []struct {
			want, lines string
			shadow      func(i int, v *visit)
			then        func(c Ticket)
		}{
			{"client_gone", "", reads, func(c Ticket) { s.on(func() { c.Copy().Cut() }) }},
			{"timeout", "timeout: 20ms", func(_ int, v *visit) { v.gone(); v.gone(); <-s.Context().Done() }, func(c Ticket) { s.finish(c, "") }},
			{"timeout", "timeout: 20ms, limits: {memory: 1GiB}", func(int, *visit) { <-s.Context().Done() }, func(c Ticket) { s.body(c, strings.Repeat("x", 32<<20)) }},
			{"memory", "limits: {memory: 1MiB}", func(int, *visit) { <-s.Context().Done() }, func(c Ticket) { s.body(c, strings.Repeat("x", 16<<20)) }},
			{"reset", "", func(_ int, v *visit) { io.CopyN(io.Discard, v.r, 5); v.reset() }, func(Ticket) {}},
		}
		for i, test := range tests {
			p := s.streamMirror(string(rune('a'+i)), test.lines, s.shadow(test.shadow))
			c := s.stream(p)
			s.body(c, "hello")
			s.until("it was sent", func() bool { return c.Copy() == nil || c.Copy().call.Out.Len() == 0 && c.Copy().call.Started() })
			alive := false
			s.on(func() { alive = c.Copy() != nil })
			if alive {
				test.then(c)
			}
			s.until("the copy has ended", func() bool { return c.Copy() == nil })
			s.counts(p, map[string]uint64{test.want: 1})
		}
	})
}

// A connection lasts as long as the client's, however long it is silent: only a
// shadow that is due has a timeout. The clock is another stream, whose shadow is due.
func TestASilentStreamIsNotATimeout(t *testing.T) {
	drivers(t, func(s *stage) {
		// Half a second, because it also has to be enough for a shadow on a busy machine.
		p := s.streamMirror("silent", "timeout: 500ms", s.shadow(func(_ int, v *visit) { v.gone() }))
		silent := s.stream(p)
		s.body(silent, "hello")
		due := s.streamMirror("due", "timeout: 600ms", s.shadow(func(int, *visit) { <-s.Context().Done() }))
		c := s.stream(due)
		s.finish(c, "")
		s.until("the time is over", func() bool { return c.Copy() == nil })
		s.body(silent, " again")
		s.finish(silent, "")
		s.until("the copy has ended", func() bool { return silent.Copy() == nil })
		s.counts(p, map[string]uint64{"completed": 1})
	})
}

func TestStreamsAreBounded(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.streamMirror("v2", "limits: {inFlight: 1}", s.shadow(func(_ int, v *visit) { v.gone() }))
		first := s.stream(p)
		s.stream(p)
		s.on(func() {
			s.copies.OfferStream(p, connection(), nil)
		})
		s.finish(first, "")
		s.settle()
		s.counts(p, map[string]uint64{"completed": 1, "in_flight": 2})
	})
}

func TestAProbeOfStreamsIsAnsweredLongBeforeItsEnd(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.streamMirror("v2", "backoff: {failures: 1, base: 1ms, max: 1ms}", s.shadow(func(i int, v *visit) {
			if i == 0 {
				io.CopyN(io.Discard, v.r, 1)
				v.reset()
				return
			}
			v.write("welcome")
			v.gone()
		}))
		s.body(s.stream(p), "x")
		s.until("the breaker is open", func() bool { state, _ := p.State.Breaker.State(); return state == Open })
		var probe Ticket
		s.until("the breaker lets a probe through", func() bool {
			probe = s.copies.OfferStream(p, connection(), nil).Ticket()
			return probe.Copy() != nil
		})
		s.until("the breaker is closed", func() bool { state, _ := p.State.Breaker.State(); return state == Closed })
		s.finish(probe, "")
		s.settle()
	})
}

func TestAShadowIsToldOfTheClientFirst(t *testing.T) {
	drivers(t, func(s *stage) {
		got := make(chan string, 1)
		p := s.streamMirror("v2", "", s.shadow(func(_ int, v *visit) {
			in, _ := io.ReadAll(v.r)
			got <- string(in)
		}))
		s.all[0].ProxyProtocol = "v1"
		s.backends.Update(s.all)
		c := s.stream(p)
		s.body(c, "hello")
		s.finish(c, "")
		if in := await(s, got, "the stream"); in != "PROXY TCP4 192.0.2.7 192.0.2.1 1000 443\r\nhello" {
			s.Errorf("the shadow got %q", in)
		}
		s.one(p, "completed")
	})
}

func TestDatagramsAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	s := newStage(t, "go")
	defer s.mirrors.Close()
	s.mirror("v2", "", "127.0.0.1:9")
	compile := func(lines string) *Policy {
		def := layer4(t, "UDP", lines)
		def.Name, def.Backend = "v2", "v2"
		return s.compile(def, nil)
	}
	p := compile("limits: {inFlight: 1, queue: 2, memory: 64KiB}")
	d := s.mirrors.datagramsOf(p.State)
	d.mu.Lock() // nothing is sent meanwhile
	f := &Flow{owner: d, policy: p}
	for range 3 {
		d.books.Selected++
		if _, reason := f.admit(10); reason != "" {
			f.lose(traffic.Dropped, reason)
			continue
		}
		d.books.InFlight++
		d.push(parcel{flow: f, bytes: bytes.Repeat([]byte("x"), 10)})
	}
	d.mu.Unlock()
	second := s.mirrors.Flow(p, connection())
	second.Copy([]byte("there is one too many"))
	d.mu.Lock()
	f.moved -= rest
	d.mu.Unlock()
	third := s.mirrors.Flow(p, connection())
	third.Copy([]byte("f has been silent for long enough to make room"))
	third.Close()
	third.Copy([]byte("too late"))
	second.Close()
	off := s.mirrors.Flow(compile("percent: 0"), connection())
	off.Copy([]byte("nobody wants this"))
	off.Close()
	f.Close()
	s.mirrors.Close()
	b := &d.books
	if b.InFlight != 0 || b.Selected != 6 || b.Selected != b.Completed+total(b.Dropped)+total(b.Failed) {
		t.Errorf("the books do not balance: %+v", b)
	}
	if b.Dropped[traffic.DropQueueFull] == 0 || b.Dropped[traffic.DropInFlight] != 1 || b.Dropped[traffic.DropShutdown] == 0 || b.Skipped[traffic.SkipOff] != 1 {
		t.Errorf("got %+v", b)
	}
	if o := second.Outcome(); o.Fate != traffic.Dropped || o.Reason != traffic.DropInFlight || o.Mirror != "v2" {
		t.Errorf("got %+v", o)
	}
	if o := off.Outcome(); o.Fate != traffic.Skipped || o.Reason != traffic.SkipOff {
		t.Errorf("got %+v", o)
	}
}
