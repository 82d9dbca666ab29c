package analyze

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// limited is a service with a limit of requests: it refuses a share of them, whoever
// asks, and no two of its versions refuse the same.
type limited struct {
	mu      sync.Mutex // the asker asks from goroutines of its own
	random  *rand.Rand
	refused float64
	asked   []*Question
}

func newLimited(seed, side uint64, refused float64) *limited {
	return &limited{random: rand.New(rand.NewPCG(seed, side)), refused: refused}
}

func (l *limited) answer() answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random.Float64() < l.refused {
		return answer{status: 429, body: `{"retry":true}`}
	}
	return answer{body: `{"id":5,"name":"thing"}`}
}

// asker answers questions as the service does, and keeps them.
func (l *limited) asker() shadow {
	return func(q *Question) *traffic.Outcome {
		o := l.answer().outcome(0)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked = append(l.asked, q)
		return &o
	}
}

// controls are how many of the questions were drawn by chance.
func (l *limited) controls() int {
	n := 0
	for _, q := range l.asked {
		n += boolInt(q.control)
	}
	return n
}

// A shadow of the same version, of which one answer in a hundred differs by itself: as
// a status, which is never learned to be noise. It FAILs in at most 3 of these 12 runs.
// Of 60 such runs of 5,000 pairs 1 did. If it is one of twenty, more than 3 of 12 are a
// FAIL once in 400 times with other seeds; with these none is. If no more controls are
// drawn than are asked for, 33 of the 60 do, and 5 or 6 of these 12.
func TestWhatDiffersByItselfGetsMoreControls(t *testing.T) {
	t.Parallel()
	const runs, pairs, most = 12, 4000, 3
	failed := 0
	for seed := range uint64(runs) {
		synctest.Test(t, func(t *testing.T) {
			primary, next := newLimited(seed, 1, 0.005), newLimited(seed, 2, 0.005)
			s := open(t, "", Options{Asker: newLimited(seed, 3, 0.005).asker()})
			for i := range pairs {
				s.offer(fmt.Sprintf("GET /things/%d", i%50), primary.answer(), next.answer())
				<-time.After(10 * time.Millisecond)
				if i%100 != 99 {
					continue
				}
				synctest.Wait()
				if m := s.mirror(); m.Verdict == judge.Fail {
					t.Logf("seed %d: FAIL after %d pairs: %s", seed, i+1, strings.Join(m.Reasons, " "))
					failed++
					return
				}
			}
		})
	}
	if failed > most {
		t.Errorf("%d of %d runs are a FAIL, want at most %d", failed, runs, most)
	}
}

// How many of 3000 requests are sent once more by chance: one in a hundred, and one in
// ten of the first two hundred. Where more answers differ than is assumed it is one in
// four, but for those that change something, and but for who allows none. With 30 other
// seeds it was 481 to 560 of those that differ, and of the others the smallest limit is
// five deviations away: a limit is missed once in a million times.
func TestControlsAreDrawnWhereTheyAreWanted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mirror, method string
		refused              float64
		least, most          int
	}{
		{"nothing differs", "", "GET", 0, 20, 100},
		{"some do by themselves", "", "GET", 0.01, 200, 800},
		{"writes", "", "POST", 0.01, 0, 0},
		{"controls are forbidden", "compare: {repeat: 0}", "GET", 0.01, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			primary, next, again := newLimited(1, 1, c.refused), newLimited(1, 2, c.refused), newLimited(1, 3, c.refused)
			s := open(t, c.mirror, Options{Asker: again.asker()})
			for i := range 3000 {
				s.offer(fmt.Sprintf("%s /things/%d", c.method, i%50), primary.answer(), next.answer())
				<-time.After(10 * time.Millisecond)
			}
			s.wait()
			if got := again.controls(); got < c.least || got > c.most {
				t.Errorf("%s: %d controls, want %d to %d", c.name, got, c.least, c.most)
			}
			t.Logf("%s: %d controls", c.name, again.controls())
		})
	}
}

// An endpoint that wants more controls has them for itself: the share of all repeats
// that differ is that of all pairs, to which it is held, only if no endpoint has more of
// them than the others. With 30 other seeds there were 108 to 158 of the noisy endpoint,
// 126 to 136 of the other and 146 to 154 of all.
func TestMoreControlsOfOneEndpointAreNoneOfAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const noisy = 0.02
		primary, next, again := newLimited(1, 1, noisy), newLimited(1, 2, noisy), newLimited(1, 3, noisy)
		quiet := answer{body: `{}`}
		s := open(t, "", Options{Asker: shadow(func(q *Question) *traffic.Outcome {
			if strings.HasPrefix(string(q.Request.Head), "GET /things/") {
				return again.asker()(q)
			}
			o := quiet.outcome(0)
			return &o
		})})
		for i := range 12000 {
			if i%20 == 0 {
				s.offer(fmt.Sprintf("GET /things/%d", i%50), primary.answer(), next.answer())
			} else {
				s.offer(fmt.Sprintf("GET /parts/%d", i%50), quiet, quiet)
			}
			<-time.After(10 * time.Millisecond)
		}
		s.close()
		for _, m := range s.pipeline.mirrors {
			things, parts, all := m.endpoints["GET /things/{int}"].Tally, m.endpoints["GET /parts/{int}"].Tally, m.everywhere
			t.Logf("repeats: things %d of %d, parts %d of %d, all %d", things.Repeats, things.Errors.Total.Pairs, parts.Repeats, parts.Errors.Total.Pairs, all.Repeats)
			if things.Repeats < 60 || parts.Repeats > 200 || all.Repeats > 200 {
				t.Errorf("repeats: %d of the noisy endpoint, %d of the other, %d of all", things.Repeats, parts.Repeats, all.Repeats)
			}
		}
	})
}
