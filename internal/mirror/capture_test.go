package mirror

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// choosy is a sink that takes what it is told to, and gives it back at once.
type choosy struct{ takes bool }

// Offer implements traffic.Sink.
func (c *choosy) Offer(x *traffic.Exchange) bool {
	if c.takes {
		x.Release()
	}
	return c.takes
}

// tapFor returns a tap of a loop that does nothing else, and what ends a pass.
func tapFor(t *testing.T, sink traffic.Sink, memory int64) (tap *Tap, endPass func()) {
	t.Helper()
	l, err := loop.New(loop.DefaultDriver())
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	t.Cleanup(l.Run)
	budget := &spool.Budget{}
	budget.SetLimit(memory)
	tap = &Tap{Loop: l, Sink: sink, Memory: budget, Body: 100}
	return tap, func() {
		tap.last = true
		tap.Run()
	}
}

// What a sink would refuse is not captured: the longer it refuses, the fewer are
// tried, and when it takes again, so do they grow.
func TestCapturesAreGivenUpEarlyWhileTheSinkIsBehind(t *testing.T) {
	t.Parallel()
	sink := &choosy{}
	tap, endPass := tapFor(t, sink, 1<<20)
	tried := func(n int) (list []int) {
		for i := range n {
			if j := tap.Join(0, Want{}, 1); j != nil {
				list = append(list, i)
				j.Release()
				endPass()
			}
		}
		return list
	}
	// Behind a refusal 1, 3, 7, 15, 31 and then 63 are lost.
	if diff := cmp.Diff([]int{0, 2, 6, 14, 30, 62, 126, 190}, tried(200)); diff != "" {
		t.Errorf("refused: (- want, + got)\n%s", diff)
	}
	sink.takes = true
	tried(63 - (199 - 190))
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, tried(5)); diff != "" {
		t.Errorf("taken: (- want, + got)\n%s", diff)
	}
	want := telemetry.Capture{Drawn: 259, Taken: 5, Lost: map[traffic.Reason]uint64{traffic.LostQueue: 254}}
	if diff := cmp.Diff(want, tap.Books); diff != "" {
		t.Errorf("(- want, + counted)\n%s", diff)
	}
	if n := tap.Memory.Used(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

// Of several mirrors of a rule some compare, and there may be more of them than an
// exchange has room for.
func TestAnExchangeHasRoomForManyCopies(t *testing.T) {
	t.Parallel()
	var kept *traffic.Exchange
	tap, endPass := tapFor(t, keeper{&kept}, 1<<20)
	j := tap.Join(0, Want{Draw: 1 << 62}, 7)
	asked := j.Capture()
	asked.Head([]byte("request\r\n"), -1)
	half := 50.0
	var replies []*Capture
	for i := range 7 {
		p := &Policy{Def: &config.Mirror{}, compared: PartOf64([]*float64{nil, &half, new(float64)}[i%3])}
		c, compare := j.captureOf(p)
		if wanted := i%3 < 2; compare != wanted || (c != nil) != wanted {
			t.Errorf("copy %d: compared %v, want %v", i, compare, wanted)
		}
		c.Head([]byte("answer\r\n"), -1)
		c.Body([]byte{byte('a' + i)})
		replies = append(replies, c)
		j.X.Copies = append(j.X.Copies, traffic.Outcome{})
	}
	for i, c := range replies {
		c.End([]byte("trailer\r\n"))
		j.X.Copies[i].Answer = c.Message()
	}
	j.X.Request = asked.Message()
	j.Release()
	endPass()
	for i := range kept.Copies {
		if i%3 == 2 {
			if kept.Copies[i].Answer != nil {
				t.Errorf("copy %d: nobody compares it, and it has an answer", i)
			}
			continue
		}
		want := &traffic.Message{Head: []byte("answer\r\n"), Body: []byte{byte('a' + i)}, Trailer: []byte("trailer\r\n"), Length: 1, Whole: true}
		if diff := cmp.Diff(want, kept.Copies[i].Answer); diff != "" {
			t.Errorf("copy %d: (- want, + got)\n%s", i, diff)
		}
	}
	kept.Release()
	if n := tap.Memory.Used(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

// keeper is a sink that keeps what it gets last.
type keeper struct{ x **traffic.Exchange }

// Offer implements traffic.Sink.
func (k keeper) Offer(x *traffic.Exchange) bool {
	*k.x = x
	return true
}

// A capture that is lost in the middle leaves the exchange to whoever else wants it.
func TestALostCaptureLeavesTheExchange(t *testing.T) {
	t.Parallel()
	tap, endPass := tapFor(t, &choosy{takes: true}, 4<<10)
	var logged *traffic.Exchange
	j := tap.Join(0, Want{Record: true}, 1)
	j.Sinks = []traffic.Sink{keeper{&logged}}
	j.X.Path = "/a"
	c := j.Capture()
	tap.Body = 1 << 20
	long := j.Capture()
	c.Head([]byte("request\r\n"), 5000)
	long.Head([]byte("answer\r\n"), 5000)
	long.Body(make([]byte, 5000))
	if j.Captured() || c.Message() != nil || long.Message() != nil || tap.Memory.Used() != 0 {
		t.Errorf("captured %v, messages %v and %v, %d bytes held", j.Captured(), c.Message(), long.Message(), tap.Memory.Used())
	}
	long.End(nil)
	j.Release()
	endPass()
	if logged.Path != "/a" || logged.Record || logged.Memory != nil {
		t.Errorf("the log got %+v", logged)
	}
	want := telemetry.Capture{Drawn: 1, Lost: map[traffic.Reason]uint64{traffic.LostMemory: 1}}
	if diff := cmp.Diff(want, tap.Books); diff != "" {
		t.Errorf("(- want, + counted)\n%s", diff)
	}
}

func TestSharesAsPartsOf64Bits(t *testing.T) {
	t.Parallel()
	for percent, want := range map[float64]uint64{0: 0, 25: 1 << 62, 50: 1 << 63, 100: 1<<64 - 1, 200: 1<<64 - 1} {
		if got := PartOf64(&percent); got != want {
			t.Errorf("%g %%: got %d, want %d", percent, got, want)
		}
	}
	if got := PartOf64(nil); got != 1<<64-1 {
		t.Errorf("unset: got %d, want all", got)
	}
}

// lazy is a sink that says why it refuses.
type lazy struct{ choosy }

// Wanted implements traffic.Chooser.
func (l *lazy) Wanted() float64 { return 1 }

// Refuses implements traffic.Chooser.
func (l *lazy) Refuses() traffic.Reason { return traffic.LostCPU }

// Why a sink refuses is the reason also of captures that are given up for it.
func TestCapturesAreLostForTheReasonOfTheSink(t *testing.T) {
	t.Parallel()
	tap, endPass := tapFor(t, &lazy{}, 1<<20)
	for range 3 {
		if j := tap.Join(0, Want{}, 1); j != nil {
			j.Release()
			endPass()
		}
	}
	want := telemetry.Capture{Drawn: 3, Lost: map[traffic.Reason]uint64{traffic.LostCPU: 3}}
	if diff := cmp.Diff(want, tap.Books); diff != "" {
		t.Errorf("(- want, + counted)\n%s", diff)
	}
}
