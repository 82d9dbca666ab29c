package mirror

import (
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

const (
	get     = "GET / HTTP/1.1\nHost: a"
	chunked = "POST /up HTTP/1.1\nHost: a\nTransfer-Encoding: chunked"
)

// silent is a shadow that takes requests and never answers, until the test says
// that it may.
func (s *stage) silent() (address string, got <-chan string, answer chan struct{}) {
	s.Helper()
	requests := make(chan string, 10000)
	answer = make(chan struct{})
	return s.shadow(func(_ int, v *visit) {
		for {
			text := v.request()
			if text == "" {
				return
			}
			requests <- text
			<-answer
			v.answer("at last")
		}
	}), requests, answer
}

func TestCopiesOverTheBoundOnThoseInFlightWait(t *testing.T) {
	drivers(t, func(s *stage) {
		address, got, answer := s.silent()
		p := s.mirror("v2", "writes: copy, limits: {inFlight: 2, queue: 3}", address)
		for range 7 {
			s.offer(p, get)
		}
		s.offer(p, chunked) // what still arrives cannot wait
		await(s.T, got, "a copy")
		await(s.T, got, "a copy")
		b := s.books(p)
		if b.Selected != 8 || b.InFlight != 5 || b.Queued != 3 {
			s.Errorf("%d selected, %d in flight, %d queued; want 8, 5, 3", b.Selected, b.InFlight, b.Queued)
		}
		s.counts(p, map[string]uint64{"queue_full": 2, "in_flight": 1})
		if len(got) != 0 {
			s.Errorf("%d copies more than allowed were sent", len(got))
		}
		close(answer)
		s.settle()
		s.counts(p, map[string]uint64{"completed": 5, "queue_full": 2, "in_flight": 1})
	})
}

// Fewer connections than copies in flight mean fewer copies in flight, unless
// they share connections.
func TestConnectionsBoundCopiesInFlight(t *testing.T) {
	drivers(t, func(s *stage) {
		for _, c := range []struct {
			lines    string
			inFlight int64
		}{
			{"limits: {inFlight: 10, connections: 2}", 2},
			{"pipeline: 3, limits: {inFlight: 10, connections: 2}", 6},
			{"pipeline: 30, limits: {inFlight: 10, connections: 2}", 10},
			{"limits: {inFlight: 10, connections: 20}", 10},
		} {
			p := s.mirror("v2", c.lines, "127.0.0.1:1")
			if got := int64(p.State.limits.Load().InFlight); got != c.inFlight {
				s.Errorf("%s: %d copies may be in flight, want %d", c.lines, got, c.inFlight)
			}
		}
	})
}

// The places of one mirror may be taken by another, and are had again although
// nobody tells.
func TestCopiesWaitForPlacesOfOtherMirrors(t *testing.T) {
	drivers(t, func(s *stage) {
		s.mirrors.SetLimits(config.Copies{InFlight: 1, Memory: 1 << 30})
		address, got, answer := s.silent()
		other, arrived := s.polite()
		p, q := s.mirror("v2", "", address), s.mirror("v3", "", other)
		s.offer(p, get)
		await(s.T, got, "the first copy")
		s.offer(q, get)
		s.counts(q, map[string]uint64{})
		if b := s.books(q); b.Queued != 1 {
			s.Errorf("%d copies wait, want 1", b.Queued)
		}
		close(answer)
		await(s.T, arrived, "the second copy")
		s.one(p, "completed")
		s.one(q, "completed")
	})
}

func TestCopiesOverTheMemoryBoundAreDropped(t *testing.T) {
	part := strings.Repeat("x", 12<<10)
	for _, c := range []struct {
		name, lines, head string
		memory            config.Size // of all mirrors
		parts             int         // that fit
	}{
		{"of one mirror", "limits: {memory: 128KiB}", chunked, 1 << 30, 5},
		{"of all mirrors", "", chunked, 128 << 10, 5},
		{"by its head", "", "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\nHost: a", 10 << 10, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				s.mirrors.SetLimits(config.Copies{InFlight: 100, Memory: c.memory})
				lines := "writes: copy, body: {overLimit: headers}" // held until it is whole
				if c.lines != "" {
					lines += ", " + c.lines
				}
				p := s.mirror("v2", lines, "127.0.0.1:1")
				copied := s.offer(p, c.head)
				for i := range c.parts {
					s.body(copied, part)
					if used := p.State.memory.Used(); s.books(p).InFlight != 1 || used < int64((i+1)*len(part)) {
						s.Fatalf("after %d parts of 12 KiB %d bytes are charged, and the books say %+v", i+1, used, s.books(p))
					}
				}
				for range 2 * c.parts {
					s.body(copied, part)
				}
				s.finish(copied, "")
				s.one(p, "memory")
			})
		})
	}
}

// A shadow that takes no more bytes loses its copy, and the copy its memory.
func TestShadowThatDoesNotReadLosesTheCopy(t *testing.T) {
	drivers(t, func(s *stage) {
		dropped := make(chan struct{})
		p := s.mirror("v2", "writes: copy, body: {limit: none}, limits: {memory: 256KiB}", s.shadow(func(_ int, v *visit) {
			<-dropped
		}))
		c := s.offer(p, chunked)
		part := strings.Repeat("x", 60<<10)
		for s.books(p).InFlight > 0 {
			s.body(c, part)
			if used := p.State.memory.Used(); used > 256<<10 {
				s.Fatalf("%d bytes are charged, more than the bound", used)
			}
		}
		s.one(p, "memory")
		close(dropped)
	})
}

func TestCopiesOverTheRateAreDropped(t *testing.T) {
	drivers(t, func(s *stage) {
		address, _ := s.polite()
		p := s.mirror("v2", "limits: {rate: 50}", address)
		subject, out := subject(s, get)
		s.on(func() { // at one moment
			for range 20 {
				s.give(p, subject, out)
			}
		})
		s.settle()
		s.counts(p, map[string]uint64{"completed": 5, "rate": 15}) // the burst is a tenth of a second
	})
}

func TestCopyIsCutWithItsClient(t *testing.T) {
	for _, c := range []struct {
		name, lines, head string
		parts             []string
		finish            bool
		fate              string
	}{
		{"before its body", "", chunked, nil, false, "client_gone"},
		{"in its body", "", chunked, []string{"hello"}, false, "client_gone"},
		{"in a known length", "", "POST / HTTP/1.1\nHost: a\nContent-Length: 10", []string{"hello"}, false, "client_gone"},
		{"held", ", body: {overLimit: headers}", chunked, []string{"hello"}, false, "client_gone"},
		{"whole", "", chunked, []string{"hello"}, true, "completed"},
		{"without a body", "", get, nil, false, "completed"},
		{"cut off before", ", body: {limit: 3, overLimit: truncate}", chunked, []string{"hello"}, false, "completed"},
		{"cut off there", ", body: {limit: 5, overLimit: truncate}", "POST / HTTP/1.1\nHost: a\nContent-Length: 10", []string{"hello"}, false, "completed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				address, got := s.polite()
				p := s.mirror("v2", "writes: copy"+c.lines, address)
				copied := s.offer(p, c.head)
				s.body(copied, c.parts...)
				if c.finish {
					s.finish(copied, "")
				}
				for range 2 {
					s.on(func() {
						if c := copied.Copy(); c != nil {
							c.Cut()
						}
					})
				}
				s.one(p, c.fate)
				if c.fate == "client_gone" && len(got) > 0 {
					t.Errorf("the shadow got %q as if it were whole", <-got)
				}
			})
		})
	}
}

func TestGovernorWithholdsCopies(t *testing.T) {
	drivers(t, func(s *stage) {
		address, _ := s.polite()
		p, q := s.mirror("v2", "", address), s.mirror("v3", "backoff: {adaptive: false}", address)
		s.on(func() { s.copies.Governor.withheld = 0.5 })
		s.random = 1<<63 + 1<<60
		s.offer(p, get)
		s.offer(q, get)
		s.random = 1 << 60
		s.offer(p, get)
		s.settle()
		s.counts(p, map[string]uint64{"completed": 1, "paused": 1})
		s.counts(q, map[string]uint64{"completed": 1})
		s.on(func() {
			if n := s.copies.Governor.copies; n != 1 {
				s.Errorf("the governor has heard of %d copies, want the one it could have withheld", n)
			}
		})
	})
}

// Whatever a copy is doing when the proxy shuts down, it is counted so.
func TestShutdownDropsEveryCopy(t *testing.T) {
	for _, pipeline := range []string{"1", "8"} {
		t.Run("pipeline "+pipeline, func(t *testing.T) {
			drivers(t, func(s *stage) {
				address, got, answer := s.silent()
				p := s.mirror("v2", "writes: copy, pipeline: "+pipeline+", limits: {inFlight: 5}", address)
				q := s.mirror("v3", "writes: copy, body: {overLimit: headers}", address)
				streaming := s.offer(p, chunked)
				held := s.offer(q, chunked)
				for range 10 { // four are sent, six wait
					s.offer(p, get)
				}
				s.body(streaming, "hello")
				s.body(held, "hello")
				await(s.T, got, "a copy")
				last := p.State.lastCopy.Load()
				s.on(s.copies.Shutdown)
				s.body(streaming, "hello")
				s.finish(streaming, "")
				s.finish(held, "")
				s.offer(p, get)
				s.settle()
				s.counts(p, map[string]uint64{"shutdown": 12})
				s.counts(q, map[string]uint64{"shutdown": 1})
				if p.State.lastCopy.Load() != last {
					t.Error("a copy was sent during the shutdown")
				}
				if state, _ := p.State.Breaker.State(); state != Closed {
					t.Errorf("the breaker is %s after a shutdown", state)
				}
				close(answer)
			})
		})
	}
}

// Off means off: what waits for a mirror that a reload takes away, or sets to
// zero, is not sent.
func TestMirrorThatIsTurnedOffSendsNothingMore(t *testing.T) {
	for _, c := range []struct {
		name string
		off  func(s *stage, p *Policy)
	}{
		{"taken away", func(s *stage, p *Policy) {
			delete(s.states, p.State)
			s.mirrors.Retire(s.states)
			s.states[p.State] = true
		}},
		{"set to zero", func(s *stage, p *Policy) {
			def := parsed(s, "percent: 0")
			def.Name, def.Backend = "v2", "v2"
			s.compile(def, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				address, got, answer := s.silent()
				p := s.mirror("v2", "writes: copy, body: {overLimit: headers}, limits: {inFlight: 1}", address)
				s.offer(p, get)
				held := s.offer(p, chunked)
				s.offer(p, get)
				s.offer(p, get)
				await(s.T, got, "the first copy")
				c.off(s, p)
				last := p.State.lastCopy.Load()
				s.finish(held, "")
				s.offer(p, get) // a loop that has not switched yet
				close(answer)
				s.settle()
				s.counts(p, map[string]uint64{"completed": 1, "shutdown": 4})
				if len(got) > 0 || p.State.lastCopy.Load() != last {
					t.Error("a copy was sent to a mirror that is off")
				}
			})
		})
	}
}

// Two rules may mirror under one name; the mirror is on if one of them is.
func TestMirrorOfTwoRulesIsOnIfOneOfThemIs(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	state := r.State("shop", "v2", "v2")
	share := func() (share float64) {
		r.Gauges(func(_, _, _ string, g Gauges) { share = g.Share })
		return share
	}
	for _, c := range []struct {
		lines []string
		share float64
		off   bool
	}{
		{[]string{"percent: 50", "percent: 0"}, 0.5, false},
		{[]string{"percent: 0", "percent: 0"}, 0, true},
		{[]string{"percent: 25", "percent: 12.5"}, 0.25, false},
		{[]string{"fraction: {numerator: 1, denominator: 1000000000}"}, 1e-9, false},
		{[]string{"fraction: {numerator: 1000000000000000000, denominator: 1000000000000000000}"}, 1, false},
	} {
		for _, lines := range c.lines {
			if _, err := Compile(parsed(t, lines), nil, nil, state); err != nil {
				t.Fatal(err)
			}
		}
		r.Retire(map[*State]bool{state: true})
		if got := share(); got != c.share || state.off() != c.off {
			t.Errorf("%q: share %v, off %v, want %v, %v", c.lines, got, state.off(), c.share, c.off)
		}
	}
	r.Retire(nil)
	if share() != 0 || !state.off() {
		t.Error("a mirror that is gone is on")
	}
}
