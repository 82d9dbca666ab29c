package analyze

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// laborious is a sink for which an exchange is that much work.
type laborious struct {
	work time.Duration
	seen []time.Time
}

// Offer implements traffic.Sink.
func (l *laborious) Offer(*traffic.Exchange) bool {
	l.seen = append(l.seen, time.Now())
	<-time.After(l.work)
	return true
}

// gaps are the times between the exchanges.
func (l *laborious) gaps() (all []time.Duration) {
	for i := 1; i < len(l.seen); i++ {
		all = append(all, l.seen[i].Sub(l.seen[i-1]))
	}
	return all
}

func TestTheWorkerPausesInProportionToItsWork(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		cpu  float64
		work time.Duration
		want []time.Duration // between one exchange and the next
	}{
		"a whole core":         {1, 10 * ms, []time.Duration{10 * ms, 10 * ms, 10 * ms, 10 * ms}},
		"more than there is":   {4, 10 * ms, []time.Duration{10 * ms, 10 * ms, 10 * ms, 10 * ms}},
		"half a core":          {0.5, 10 * ms, []time.Duration{20 * ms, 20 * ms, 20 * ms, 20 * ms}},
		"a quarter":            {0.25, 10 * ms, []time.Duration{40 * ms, 40 * ms, 40 * ms, 40 * ms}},
		"small pieces of work": {0.25, 2 * ms, []time.Duration{2 * ms, 2 * ms, 20 * ms, 2 * ms, 2 * ms, 20 * ms}}, // three of them are one to pause after
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := parse(t, "", "")
			cfg.Capture.CPU = c.cpu
			l := &laborious{work: c.work}
			p, err := New(cfg, Options{Takers: []traffic.Sink{l}, Offline: true})
			if err != nil {
				t.Fatal(err)
			}
			s := &stage{TB: t, pipeline: p}
			for range len(c.want) + 1 {
				s.offer("GET /a", answer{}, answer{})
			}
			s.wait()
			s.close()
			if diff := cmp.Diff(c.want, l.gaps()); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

// To save what was learned is no work, and to have done nothing for long is no reason
// to pause.
func TestTheWorkerIsThereAfterIdleTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := parse(t, "", "")
		cfg.Capture.CPU = 0.75
		l := &laborious{work: 6 * time.Millisecond}
		p, err := New(cfg, Options{Takers: []traffic.Sink{l}, Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{TB: t, pipeline: p}
		for range 3 {
			<-time.After(3 * saveEvery)
			offered := time.Now()
			s.offer("GET /a", answer{}, answer{})
			s.wait()
			// It looks up from a nap once more, at most.
			if late := l.seen[len(l.seen)-1].Sub(offered); late > napTime {
				t.Errorf("an exchange was looked at after %v", late)
			}
		}
		s.close()
	})
}

func TestWhatIsRefusedWhileTheWorkerPausesHasAReasonOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := parse(t, "", "")
		cfg.Capture.CPU, cfg.Capture.Queue = 0.1, 2
		l := &laborious{work: 10 * time.Millisecond}
		p, err := New(cfg, Options{Takers: []traffic.Sink{l}, Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{TB: t, pipeline: p}
		fill := func(more int) (refused int) {
			for range more {
				if !p.Offer(s.exchange("GET /a", answer{}, answer{})) {
					refused++
				}
			}
			return refused
		}
		s.offer("GET /a", answer{}, answer{})
		<-time.After(napTime + 2*time.Millisecond) // it is at work
		if refused := fill(5); refused != 3 || p.Refuses() != traffic.LostQueue {
			t.Errorf("at work: %d refused, by %s", refused, p.Refuses())
		}
		<-time.After(40 * time.Millisecond) // of the 90 that it pauses
		if refused := fill(4); refused != 4 || p.Refuses() != traffic.LostCPU {
			t.Errorf("pausing: %d refused, by %s", refused, p.Refuses())
		}
		s.wait()
		s.close()
		if diff := cmp.Diff(map[string]int64{"queue": 3, "cpu": 4}, p.Report().Lost); diff != "" {
			t.Error(diff)
		}
	})
}
