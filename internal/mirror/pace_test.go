package mirror

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// stillPace is a pace whose loop does not run: time passes when the test says so.
func stillPace(t *testing.T) *pace {
	t.Helper()
	l, err := loop.New(loop.Go)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop()
		l.Run()
	})
	p := &pace{}
	p.init(l)
	p.fill()
	p.tokens = paceBurst
	return p
}

// pass lets time pass since the last fill.
func (p *pace) pass(d time.Duration) { p.filled -= d }

func TestPaceLetsABurstThroughAndThenTheRate(t *testing.T) {
	t.Parallel()
	p := stillPace(t)
	c := &Copy{}
	const block = 64 << 10
	n := 0
	for ; p.take(c, block); n++ { // 512 KiB at once
	}
	if n != 7 || len(p.waiting) != 1 || !p.timer.Armed() {
		t.Errorf("%d blocks at once and %d wait, want 7 and 1", n, len(p.waiting))
	}
	p.pass(10 * time.Millisecond) // 655 KiB, of which 512 KiB are kept at most
	p.Run()
	if len(p.waiting) != 0 {
		t.Error("a copy waits though there are bytes left")
	}
	n = 0
	for ; p.take(c, block); n++ {
	}
	if n != 7 {
		t.Errorf("%d blocks after a while, want 7", n)
	}
	p.pass(time.Hour)
	p.fill()
	if p.tokens != 512<<10 {
		t.Errorf("%d bytes may be read after a long time, want the burst of 524288", p.tokens)
	}
}

// Copies that wait take turns, and each may read a block before the next time.
func TestPacedCopiesTakeTurns(t *testing.T) {
	t.Parallel()
	p := stillPace(t)
	p.tokens = 0
	copies := make([]*Copy, 5)
	for i := range copies {
		copies[i] = &Copy{paced: true}
		p.take(copies[i], 1)
	}
	paced := func() (list []int) {
		for i, c := range copies {
			if c.paced {
				list = append(list, i)
			}
		}
		return list
	}
	p.Run()
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, paced()); diff != "" || !p.timer.Armed() {
		t.Errorf("without bytes: %s", diff)
	}
	p.pass(2 * time.Millisecond) // 134 KB: for three, the last of whom overdraws
	p.Run()
	if diff := cmp.Diff([]int{3, 4}, paced()); diff != "" {
		t.Errorf("after 2 ms: %s", diff)
	}
	p.forget(copies[3])
	p.pass(time.Millisecond)
	p.Run()
	if diff := cmp.Diff([]int{3}, paced()); diff != "" || len(p.waiting) != 0 {
		t.Errorf("a copy that ended was resumed, or another was not: %s", diff)
	}
}

// sunk collects exchanges.
type sunk struct {
	got     []*traffic.Exchange
	refuses bool
}

func (s *sunk) Offer(x *traffic.Exchange) bool {
	s.got = append(s.got, x)
	return !s.refuses
}

func TestExchangeIsOfferedOnceByTheLast(t *testing.T) {
	t.Parallel()
	a, b := &sunk{refuses: true}, &sunk{}
	x := &traffic.Exchange{ID: "1"}
	j := &Join{X: x, Begin: time.Second, Sinks: []traffic.Sink{a, b}}
	j.Hold()
	j.Hold()
	j.Hold()
	j.Release()
	j.Release()
	if len(a.got)+len(b.got) != 0 {
		t.Error("offered before the last had let go")
	}
	j.Release()
	if len(a.got) != 1 || len(b.got) != 1 || a.got[0] != x || b.got[0] != x {
		t.Errorf("%d and %d exchanges, want the one to each", len(a.got), len(b.got))
	}
	if j.X != nil {
		t.Error("an exchange that was handed over is still there")
	}
	if got := j.Since(3 * time.Second); got != 2*time.Second {
		t.Errorf("%s since the start, want 2s", got)
	}
}

// One exchange tells of every mirror of the rule, whatever became of the copy,
// and is handed over when the last of them has ended.
func TestExchangeTellsOfEveryMirror(t *testing.T) {
	drivers(t, func(s *stage) {
		sink := &sunk{}
		s.sinks = []traffic.Sink{sink}
		address, got, answer := s.silent()
		quick, _ := s.polite()
		skipped := s.mirror("skipped", "percent: 0", quick)
		dropped := s.mirror("dropped", "body: {limit: 1}, writes: copy", quick)
		completed := s.mirror("completed", "writes: copy", quick)
		failed := s.mirror("failed", "writes: copy", refused(s))
		late := s.mirror("late", "writes: copy", address)

		subject, out := subject(s, "POST / HTTP/1.1\nHost: a\nContent-Length: 5")
		var join *Join
		var tickets []Ticket
		s.on(func() {
			join = NewJoin(s.loop.Now(), s.sinks) // held as by the live request
			for _, p := range []*Policy{skipped, dropped, completed, failed, late} {
				subject.Decision = p.Decide(subject)
				tickets = append(tickets, s.copies.Offer(p, subject, out, join).Ticket())
			}
		})
		for _, copied := range tickets {
			s.body(copied, "hello")
			s.finish(copied, "")
		}
		await(s.T, got, "the last copy")
		s.until("the others have ended", func() bool { return s.copies.InFlight() == 1 })
		s.on(func() {
			if join.Release(); len(sink.got) != 0 {
				s.Error("handed over before the last copy had ended")
			}
		})
		close(answer)
		s.settle()
		if len(sink.got) != 1 {
			s.Fatalf("%d exchanges, want 1", len(sink.got))
		}
		x := sink.got[0]
		for i := range x.Copies {
			o := &x.Copies[i]
			if o.Fate == traffic.Completed && (o.First <= o.Start || o.End < o.First) {
				s.Errorf("%s: started %s, first byte %s, end %s", o.Mirror, o.Start, o.First, o.End)
			}
			if (o.Error != "") != (o.Fate == traffic.Failed) {
				s.Errorf("%s is %s and people are told %q", o.Mirror, o.Fate, o.Error)
			}
			if o.Endpoint != "" && (o.Connect <= 0 || o.Start > 0 && o.Start < o.Queued+o.Connect || o.Start == 0 && o.Fate == traffic.Completed) {
				s.Errorf("%s: ready at %s, connected in %s, started %s", o.Mirror, o.Queued, o.Connect, o.Start)
			}
			o.Queued, o.Connect, o.Start, o.First, o.End, o.Error = 0, 0, 0, 0, 0, ""
			if o.Endpoint != "" {
				o.Endpoint = "somewhere"
			}
		}
		want := []traffic.Outcome{
			{Mirror: "skipped", Backend: "skipped", Fate: traffic.Skipped, Reason: traffic.SkipOff},
			{Mirror: "dropped", Backend: "dropped", Fate: traffic.Dropped, Reason: traffic.DropBodyLimit},
			{Mirror: "completed", Backend: "completed", Fate: traffic.Completed, Status: 200, Bytes: 2, Endpoint: "somewhere"},
			{Mirror: "failed", Backend: "failed", Fate: traffic.Failed, Reason: traffic.FailConnect, Source: traffic.Shadow, Endpoint: "somewhere"},
			{Mirror: "late", Backend: "late", Fate: traffic.Completed, Status: 200, Bytes: 7, Endpoint: "somewhere"},
		}
		if diff := cmp.Diff(want, x.Copies); diff != "" {
			s.Error(diff)
		}
	})
}
