package analyze

import (
	"math"
	"testing"
	"time"
)

// moment is what happens from one look to the next: pairs that the worker has looked
// at, and of 1,000 that two processors could do, what they did not.
type moment struct {
	pairs     int
	idle      int64
	throttled int64
	behind    bool
}

// strained is what is wanted after each moment.
func strained(s *strain, moments ...moment) (wanted []float64) {
	now, u := s.since, s.usage
	if now.IsZero() {
		now, u = time.Unix(1_000_000, 0), usage{processors: 2, total: 5000, idle: 100}
		s.look(now, u, false)
	}
	for _, m := range moments {
		now = now.Add(strainEvery)
		u.total, u.idle, u.throttled = u.total+1000, u.idle+m.idle, u.throttled+m.throttled
		s.pairs = m.pairs
		s.look(now, u, m.behind)
		wanted = append(wanted, s.wanted())
	}
	return wanted
}

func times(n int, m moment) []moment {
	all := make([]moment, n)
	for i := range all {
		all[i] = m
	}
	return all
}

func TestComparingGivesWayToOthers(t *testing.T) {
	t.Parallel()
	calm := moment{pairs: 1000, idle: 400}
	crowd := moment{pairs: 1000, idle: 30} // 5,000 pairs a second are more than the least
	tests := map[string]struct {
		moments []moment
		want    float64 // in the end
	}{
		"nothing to do":                      {times(50, moment{idle: 1000}), 1},
		"half of a processor to spare":       {times(50, moment{pairs: 1000, idle: 250}), 1},
		"less":                               {times(5, moment{pairs: 1000, idle: 249}), 0.5},
		"crowded for a moment":               {times(4, crowd), 1},
		"longer":                             {times(5, crowd), 0.5},
		"and longer":                         {times(6, crowd), 0.25},
		"crowds with a break":                {append(append(times(4, crowd), calm), times(4, crowd)...), 1},
		"a quota that is used up":            {times(5, moment{pairs: 1000, idle: 400, throttled: 1}), 0.5},
		"behind, with processors to spare":   {times(5, moment{pairs: 1000, idle: 400, behind: true}), 0.5},
		"few are always looked at":           {times(50, moment{pairs: 100, idle: 30}), 1},
		"no requests, and a crowd":           {times(50, moment{idle: 30}), 1},
		"a worker that starves has seen few": {append(times(11, crowd), moment{idle: 0}), 1.0/128 + strainRise},
		"fewer requests, and a crowd":        {append(times(20, crowd), times(40, moment{pairs: 10, idle: 30})...), 1},
		"it rises by steps":                  {append(times(6, crowd), times(8, calm)...), 0.5},
		"up to all":                          {append(times(6, crowd), times(40, calm)...), 1},
		"it falls at once when it has":       {append(append(times(6, crowd), times(8, calm)...), crowd), 0.25},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strained(&strain{}, tt.moments...)
			if last := got[len(got)-1]; math.Abs(last-tt.want) > 1e-9 {
				t.Errorf("wanted %v, want %v: %v", last, tt.want, got)
			}
		})
	}
}

// However long others need the processors, 500 pairs a second are looked at.
func TestAFloorOfPairsIsLookedAt(t *testing.T) {
	t.Parallel()
	const drawn = 8000 // from one look to the next, 40,000 a second
	s := &strain{}
	for range 200 {
		strained(s, moment{pairs: int(drawn * s.wanted())})
	}
	if got, want := s.wanted(), 100.0/drawn; math.Abs(got-want) > 0.001 {
		t.Errorf("wanted %v, want %v", got, want)
	}
}

// Of many processors a tenth is to be idle, and what is not known is no reason to
// give way.
func TestShortOfProcessors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after usage
		want          bool
	}{
		"unknown":                    {usage{}, usage{}, false},
		"one, half idle":             {usage{1, 100, 50, 0}, usage{1, 300, 150, 0}, false},
		"one, less":                  {usage{1, 100, 50, 0}, usage{1, 300, 149, 0}, true},
		"four, an eighth idle":       {usage{4, 0, 0, 0}, usage{4, 800, 100, 0}, false},
		"four, less":                 {usage{4, 0, 0, 0}, usage{4, 800, 99, 0}, true},
		"sixty-four, a tenth idle":   {usage{64, 0, 0, 0}, usage{64, 1000, 100, 0}, false},
		"sixty-four, less":           {usage{64, 0, 0, 0}, usage{64, 1000, 99, 0}, true},
		"a quota, and nothing known": {usage{0, 0, 0, 3}, usage{0, 0, 0, 4}, true},
	}
	for name, tt := range tests {
		if got := tt.after.short(tt.before); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
