package judge

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
)

// simulate is how many runs each simulation has. A few show that nothing is badly
// wrong; `go test ./internal/judge -run Simulation -v -simulate 1000` gives the tables
// of docs/guides/verdicts.md. Every run has a seed of its own, so what a number of
// runs gives is always the same: a failure is a change of the code.
var simulate = flag.Int("simulate", 12, "runs of each simulation")

// bound is the share that so many runs stay below, except with a probability of
// 1e-4, if the true one is alpha (Chernoff).
func bound(alpha float64) float64 {
	n := float64(*simulate)
	for q := alpha; q < 1; q += 0.001 {
		if n*(q*math.Log(q/alpha)+(1-q)*math.Log((1-q)/(1-alpha))) > math.Log(1e4) {
			return q
		}
	}
	return 1
}

// found says after how many pairs runs ended, and how many did.
type found struct {
	runs  int
	after []int
}

func (f found) share() float64 { return float64(len(f.after)) / float64(f.runs) }

func (f found) String() string {
	if len(f.after) == 0 {
		return fmt.Sprintf("%5.1f %%     -      -", 0.0)
	}
	slices.Sort(f.after)
	return fmt.Sprintf("%5.1f %% %5d %6d", 100*f.share(), f.after[len(f.after)/2], f.after[len(f.after)*9/10])
}

// run repeats one as often as is asked for. One returns after how many pairs it
// ended, 0 if it did not.
func run(one func(*rand.Rand) int) found {
	f := found{runs: *simulate}
	for i := range *simulate {
		if n := one(rand.New(rand.NewPCG(uint64(i), 7))); n > 0 {
			f.after = append(f.after, n)
		}
	}
	return f
}

// The signs of discordant pairs, looked at every five of up to 5,000, beside a
// z-test that is looked at every fifty.
func TestSimulationOfSigns(t *testing.T) {
	signs := func(share float64, every int, reject func(worse, better int64) bool) found {
		return run(func(random *rand.Rand) int {
			var worse, better int64
			for n := 1; n <= 5000; n++ {
				if random.Float64() < share {
					worse++
				} else {
					better++
				}
				if n%every == 0 && reject(worse, better) {
					return n
				}
			}
			return 0
		})
	}
	anytime := func(worse, better int64) bool { return evidence(worse, better, 0.5, flat) >= logInverse(0.05) }
	peeking := func(worse, better int64) bool {
		return float64(worse-better)/math.Sqrt(float64(worse+better)) > 1.645
	}
	t.Logf("P(shadow worse)   found  median   90 %%   z-test")
	for _, test := range []struct {
		share float64
		most  int // pairs that half of the runs may take, twice what a thousand runs showed
	}{{0.5, 0}, {0.55, 1800}, {0.6, 400}, {0.7, 80}, {0.9, 30}, {1, 10}} {
		f, z := signs(test.share, 5, anytime), signs(test.share, 50, peeking)
		t.Logf("%15.2f  %v  %v", test.share, f, z)
		switch {
		case test.share == 0.5:
			if f.share() > bound(0.05) {
				t.Errorf("%.3f of runs without a cause", f.share())
			}
			if z.share() < 0.1 { // the seeds are fixed
				t.Errorf("the z-test is wrong in %.3f of runs only: this simulation shows nothing", z.share())
			}
		case f.share() < 1 || f.after[len(f.after)/2] > test.most:
			t.Errorf("share %v: %v, at most %d wanted", test.share, f, test.most)
		}
	}
}

// latencies of one request: the requests differ by σ = 1, each run of one by 0.25.
func latencies(random *rand.Rand, slower float64) (primary, shadow float64) {
	request := 0.05 * math.Exp(random.NormFloat64())
	return request * math.Exp(0.25*random.NormFloat64()), request * (1 + slower) * math.Exp(0.25*random.NormFloat64())
}

// Latencies against "no slower at all", beside the unpaired test that is used where
// pairs cannot be had, at sizes fixed beforehand.
func TestSimulationOfLatency(t *testing.T) {
	sizes := []int{200, 1000}
	if *simulate >= 200 {
		sizes = append(sizes, 5000, 20_000)
	}
	t.Logf("slower    found  median   90 %%   Mann-Whitney at %v", sizes)
	for _, test := range []struct {
		slower float64
		most   int
	}{{0, 0}, {0.03, 4000}, {0.05, 1500}, {0.1, 400}, {0.2, 100}} {
		f := run(func(random *rand.Rand) int {
			var c count
			for n := 1; n <= 10_000; n++ {
				primary, shadow := latencies(random, test.slower)
				c.add(shadow > primary, shadow < primary)
				if n%5 == 0 && evidence(c.Worse, c.Better, 0.5, flat) >= logInverse(0.05) {
					return n
				}
			}
			return 0
		})
		var unpaired strings.Builder
		for _, n := range sizes {
			fmt.Fprintf(&unpaired, " %.2f", run(func(random *rand.Rand) int { return mannWhitney(random, n, test.slower) }).share())
		}
		t.Logf("%4.0f %%  %v   %s", 100*test.slower, f, &unpaired)
		switch {
		case test.slower == 0:
			if f.share() > bound(0.05) {
				t.Errorf("%.3f of runs without a cause", f.share())
			}
		case f.share() < 1 || f.after[len(f.after)/2] > test.most:
			t.Errorf("%v slower: %v, at most %d wanted", test.slower, f, test.most)
		}
	}
}

// mannWhitney returns n if the one-sided test at 5 % finds the shadow slower.
func mannWhitney(random *rand.Rand, n int, slower float64) int {
	type value struct {
		seconds float64
		shadow  bool
	}
	values := make([]value, 0, 2*n)
	for range n {
		primary, shadow := latencies(random, slower)
		values = append(values, value{primary, false}, value{shadow, true})
	}
	slices.SortFunc(values, func(a, b value) int { return cmp.Compare(a.seconds, b.seconds) })
	var ranks float64
	for i, v := range values {
		if v.shadow {
			ranks += float64(i + 1)
		}
	}
	size := float64(n)
	u := ranks - size*(size+1)/2
	if (u-size*size/2)/math.Sqrt(size*size*(2*size+1)/12) > 1.645 {
		return n
	}
	return 0
}

// world makes the pairs of a mirror of a few endpoints.
type world struct {
	pairs int                                           // at most
	pair  func(i, endpoint int, random *rand.Rand) Pair // its time is set by the caller
}

const worldEndpoints = 3

// watch looks at a mirror every so many pairs, and returns when it first has a verdict, 0 if never.
func (w world) watch(random *rand.Rand, p Params, every int, stop func(Decision) bool) int {
	everywhere := NewTally(Everywhere, p)
	var tallies [worldEndpoints]*Tally
	for i := range tallies {
		tallies[i] = NewTally(fmt.Sprintf("GET /%d", i), p)
	}
	for i := range w.pairs {
		endpoint := random.IntN(worldEndpoints)
		pair := w.pair(i, endpoint, random)
		pair.Time = began.Add(time.Duration(i) * 20 * time.Millisecond)
		everywhere.Observe(pair)
		tallies[endpoint].Observe(pair)
		if (i+1)%every == 0 {
			checks := everywhere.Checks(p)
			for _, tally := range tallies {
				checks = append(checks, tally.Checks(p)...)
			}
			if stop(Decide(checks, p)) {
				return i + 1
			}
		}
	}
	return 0
}

func failed(d Decision) bool { return d.Verdict == Fail }
func passed(d Decision) bool { return d.Verdict == Pass }

// healthy is a pair of a shadow that is no worse: errors of one percent on either
// side, three answers in a thousand that differ by themselves, which are twice what
// is assumed where nothing is measured and no more than the limit allows on top, and
// latencies that are slower by exactly what is allowed.
func healthy(_, _ int, random *rand.Rand) Pair {
	primary, shadow := latencies(random, 0.05)
	return Pair{
		PrimaryFailed: random.Float64() < 0.01, ShadowFailed: random.Float64() < 0.01,
		Mismatch: random.Float64() < 0.003,
		Primary:  seconds(primary), Shadow: seconds(shadow),
	}
}

func simulated() Params {
	p := ParamsOf(config.Judge{})
	p.Slack = 0
	return p
}

// length of the runs of whole verdicts, so that the few of every day take no time.
func length() int {
	if *simulate >= 200 {
		return 20_000
	}
	return 2000
}

// Each metric by itself, with a shadow that is as bad as it may be, looked at every
// ten of 10,000 pairs, beside z-tests that are looked at every fifty.
func TestSimulationOfPeeking(t *testing.T) {
	p := simulated()
	metrics := []Metric{Errors, Mismatch, Latency, Tail}
	at := p.Noise + p.Excess
	var anytime, peeking [4]found
	for i := range metrics {
		anytime[i].runs, peeking[i].runs = *simulate, *simulate
	}
	run(func(random *rand.Rand) int {
		var alarm, peek [4]bool
		tally := NewTally(Everywhere, p)
		for n := 1; n <= 10_000; n++ {
			tally.Observe(healthy(n, 0, random))
			if n%10 > 0 {
				continue
			}
			mismatches := tally.Mismatch.Total
			for i, s := range []strand{tally.Errors, {}, tally.Latency, tally.Tail} {
				e, signs := evidence(s.Total.Worse, s.Total.Better, 0.5, flat), float64(s.Total.Worse+s.Total.Better)
				z := float64(s.Total.net()) / math.Sqrt(max(signs, 1))
				if metrics[i] == Mismatch {
					e = beyond(mismatches, at)
					z = (float64(mismatches.Worse) - float64(mismatches.Pairs)*at) / math.Sqrt(float64(mismatches.Pairs)*at*(1-at))
				}
				alarm[i] = alarm[i] || e >= logInverse(p.Alpha)
				peek[i] = peek[i] || n%50 == 0 && z > 1.645
			}
		}
		for i := range metrics {
			if alarm[i] {
				anytime[i].after = append(anytime[i].after, 1)
			}
			if peek[i] {
				peeking[i].after = append(peeking[i].after, 1)
			}
		}
		return 0
	})
	t.Log("false alarms   anytime   z-test")
	for i, metric := range metrics {
		t.Logf("%-12s   %5.1f %%   %5.1f %%", metric, 100*anytime[i].share(), 100*peeking[i].share())
		if anytime[i].share() > bound(0.05) {
			t.Errorf("%s: %.3f of runs without a cause", metric, anytime[i].share())
		}
	}
}

// A shadow that is as bad as it may be, in everything at once, FAILs seldom, though
// it is looked at every hundred pairs.
func TestSimulationOfFalseAlarms(t *testing.T) {
	w := world{length(), healthy}
	f := run(func(random *rand.Rand) int { return w.watch(random, simulated(), 200, failed) })
	t.Logf("FAIL without a cause: %v", f)
	if f.share() > bound(0.05) {
		t.Errorf("%.3f of runs", f.share())
	}
}

// A shadow whose excess is exactly the limit, in one thing, PASSes seldom.
func TestSimulationOfFalsePasses(t *testing.T) {
	p := simulated()
	p.Excess, p.Errors, p.Tail = 0.01, 0.01, 0.01 // so that a few thousand pairs could PASS
	passes := 0.99
	if *simulate < 200 {
		passes = 0.4 // in shorter runs, and fewer
	}
	fine := func(random *rand.Rand) Pair {
		primary, shadow := latencies(random, 0)
		return Pair{Primary: seconds(primary), Shadow: seconds(shadow)}
	}
	for name, spoil := range map[string]func(*Pair, *rand.Rand){
		"nothing":  func(*Pair, *rand.Rand) {},
		"errors":   func(pair *Pair, random *rand.Rand) { pair.ShadowFailed = random.Float64() < 0.01 },
		"mismatch": func(pair *Pair, random *rand.Rand) { pair.Mismatch = random.Float64() < 0.01 },
		"latency":  func(pair *Pair, _ *rand.Rand) { pair.Shadow = pair.Shadow * 105 / 100 },
	} {
		w := world{max(length(), 3000), func(_, _ int, random *rand.Rand) Pair {
			pair := fine(random)
			spoil(&pair, random)
			return pair
		}}
		f := run(func(random *rand.Rand) int { return w.watch(random, p, 250, passed) })
		t.Logf("PASS with %-8s at the limit: %v", name, f)
		switch {
		case name == "nothing" && f.share() < passes:
			t.Errorf("a good shadow passes in %.3f of runs only", f.share())
		case name != "nothing" && f.share() > bound(0.05):
			t.Errorf("%s: PASS in %.3f of runs", name, f.share())
		}
	}
}

// What is wrong is found, in all endpoints and in one of three.
func TestSimulationOfFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		most  int // pairs that half of the runs may take
		spoil func(*Pair, int, *rand.Rand)
	}{
		{"every answer fails", 300, func(pair *Pair, _ int, _ *rand.Rand) { pair.ShadowFailed = true }},
		{"5 % of answers fail", 600, func(pair *Pair, _ int, random *rand.Rand) { pair.ShadowFailed = random.Float64() < 0.05 }},
		{"3 % of one endpoint's fail", 2500, func(pair *Pair, e int, random *rand.Rand) { pair.ShadowFailed = e == 1 && random.Float64() < 0.03 }},
		{"all of one endpoint's differ", 300, func(pair *Pair, e int, _ *rand.Rand) { pair.Mismatch = e == 1 }},
		{"2 % differ", 1500, func(pair *Pair, _ int, random *rand.Rand) { pair.Mismatch = random.Float64() < 0.02 }},
		{"15 % slower", 1200, func(pair *Pair, _ int, _ *rand.Rand) { pair.Shadow = pair.Shadow * 115 / 100 }},
		{"4 % take a second more", 2500, func(pair *Pair, _ int, random *rand.Rand) {
			if random.Float64() < 0.04 {
				pair.Shadow += time.Second
			}
		}},
	} {
		w := world{length(), func(_, endpoint int, random *rand.Rand) Pair {
			primary, shadow := latencies(random, 0)
			pair := Pair{Primary: seconds(primary), Shadow: seconds(shadow)}
			test.spoil(&pair, endpoint, random)
			return pair
		}}
		f := run(func(random *rand.Rand) int { return w.watch(random, simulated(), 100, failed) })
		t.Logf("%-28s %v", test.name, f)
		if f.share() < 0.5 || f.after[len(f.after)/2] > test.most {
			t.Errorf("%s: %v, at most %d wanted", test.name, f, test.most)
		}
	}
}

// Incidents: for a part of the time, at any time after the first fifth, half of the
// answers fail. As long as they fall into two blocks of time the rule of blocks keeps
// them from being a FAIL; without it, all of them are.
func TestSimulationOfIncidents(t *testing.T) {
	p := simulated()
	n := length()
	for _, test := range []struct{ part, least, most float64 }{{0.02, 0, 0.05}, {0.05, 0, 0.2}, {0.25, 0.8, 1}} {
		without := found{runs: *simulate}
		f := run(func(random *rand.Rand) int {
			from := n/5 + int(random.Float64()*float64(n)*(0.79-test.part))
			end, alone := from+int(float64(n)*test.part), false
			w := world{n, func(i, _ int, random *rand.Rand) Pair {
				return Pair{ShadowFailed: i >= from && i < end && random.Float64() < 0.5}
			}}
			after := w.watch(random, p, 100, func(d Decision) bool {
				for _, c := range d.Checks {
					alone = alone || c.Endpoint == Everywhere && c.Metric == Errors && c.Evidence >= 2 && c.Effect >= c.Limit
				}
				return failed(d)
			})
			if alone {
				without.after = append(without.after, from)
			}
			return after
		})
		t.Logf("incidents of %2.0f %% of the time: FAIL in %.3f of runs, without the rule in %.3f", 100*test.part, f.share(), without.share())
		if f.share() < test.least || f.share() > test.most || without.share() < 0.9 {
			t.Errorf("FAIL in %.3f of runs, without the rule in %.3f", f.share(), without.share())
		}
	}
}

// Latencies that come in runs: which side is faster changes every so many pairs, on
// average, and neither is in the long run. Without looking at blocks, most would FAIL.
func TestSimulationOfRuns(t *testing.T) {
	const pairs, every = 10_000, 50
	for _, test := range []struct{ dwell, share, most, without float64 }{{10, 0.9, 0.2, 0.05}, {50, 0.65, 0.25, 0.1}, {50, 0.9, 0.35, 0.4}} {
		alone := found{runs: *simulate}
		f := run(func(random *rand.Rand) int {
			var s strand
			var b blocks
			share, first, last := test.share, 0, 0
			for n := 1; n <= pairs; n++ {
				if random.Float64() < 1/test.dwell {
					share = 1 - share
				}
				worse := random.Float64() < share
				over := b.over(began.Add(time.Duration(n) * 20 * time.Millisecond))
				s.add(worse, !worse)
				if over {
					s.end()
				}
				if n >= 300 && n%every == 0 && evidence(s.Total.Worse, s.Total.Better, 0.5, flat) >= logInverse(0.05) {
					first = n
					if last == 0 && s.steady() >= logInverse(0.05) {
						last = n
					}
				}
			}
			if first > 0 {
				alone.after = append(alone.after, first)
			}
			return last
		})
		t.Logf("runs of %3.0f, %2.0f to %2.0f: FAIL in %.3f of runs, without blocks in %.3f", test.dwell, 100*test.share, 100-100*test.share, f.share(), alone.share())
		if f.share() > test.most || alone.share() < test.without {
			t.Errorf("FAIL in %.3f of runs, without blocks in %.3f", f.share(), alone.share())
		}
	}
}
