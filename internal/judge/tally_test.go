package judge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/understudy-proxy/understudy/internal/config"
)

var began = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestParamsOf(t *testing.T) {
	got := ParamsOf(config.Judge{})
	want := Params{Alpha: 0.05, Excess: 0.001, Errors: 0.001, Latency: 0.05, Tail: 0.005, Pairs: 300, Noise: 0.002, Slack: 200 * time.Microsecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	half, none := 0.5, 0.0
	got = ParamsOf(config.Judge{Alpha: 0.01, Excess: &half, Errors: &none, Latency: &half, Pairs: 7})
	want = Params{Alpha: 0.01, Excess: 0.005, Errors: 0, Latency: 0.005, Tail: 0.005, Pairs: 7, Noise: 0.002, Slack: 200 * time.Microsecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTallyCounts(t *testing.T) {
	p := ParamsOf(config.Judge{})
	tally := NewTally("GET /", p)
	for _, pair := range []Pair{
		{ShadowFailed: true, Mismatch: true, Primary: time.Second, Shadow: time.Hour}, // an error and nothing else
		{PrimaryFailed: true, Mismatch: true},
		{PrimaryFailed: true, ShadowFailed: true},
		{Mismatch: true},
		{Mismatch: true, Controlled: true},
		{Mismatch: true, Controlled: true, ControlMismatch: true},
		{Controlled: true, ControlMismatch: true},
		{Primary: time.Second, Shadow: 1050*time.Millisecond + 200*time.Microsecond}, // on the limit, neither
		{Primary: time.Second, Shadow: 1051 * time.Millisecond},
		{Primary: time.Second, Shadow: 900 * time.Millisecond},
	} {
		tally.Observe(pair)
	}
	tally.Repeat(false)
	for name, test := range map[string]struct{ got, want count }{
		"errors":   {tally.Errors.Total, count{10, 1, 1}},
		"mismatch": {tally.Mismatch.Total, count{7, 3, 0}},
		"control":  {tally.Control.Total, count{3, 1, 1}},
		"latency":  {tally.Latency.Total, count{3, 1, 1}},
		"tail":     {tally.Tail.Total, count{0, 0, 0}},
		"repeats":  {count{Pairs: tally.Repeats, Worse: tally.RepeatMismatches}, count{4, 2, 0}},
	} {
		if test.got != test.want {
			t.Errorf("%s: %+v, want %+v", name, test.got, test.want)
		}
	}
}

// The tail begins a quarter above where the primary's slowest twentieth began.
func TestTail(t *testing.T) {
	tally := NewTally("GET /", Params{})
	for i := range 2 * tailEvery {
		primary := time.Duration(1+i%100) * time.Millisecond
		shadow := primary
		if i%100 == 50 {
			shadow = time.Second
		}
		tally.Observe(Pair{Primary: primary, Shadow: shadow})
	}
	if math.Abs(tally.TailAt-0.11875) > 0.002 {
		t.Errorf("the tail begins at %v s", tally.TailAt)
	}
	if want := (count{Pairs: tailEvery, Worse: 2}); tally.Tail.Total != want {
		t.Errorf("%+v, want %+v", tally.Tail.Total, want)
	}
}

func TestOffsetsAreTakenOff(t *testing.T) {
	p := ParamsOf(config.Judge{})
	p.Offsets = Offsets{Latency: 3 * time.Millisecond, Scale: 1.1, Pairs: 1000}
	tally := NewTally("GET /", p)
	tally.Observe(Pair{Primary: 100 * time.Millisecond, Shadow: 118800 * time.Microsecond}) // 113 ms, 5 % of that and the slack are 118.85
	tally.Observe(Pair{Primary: 100 * time.Millisecond, Shadow: 118900 * time.Microsecond})
	if want := (count{Pairs: 2, Worse: 1, Better: 1}); tally.Latency.Total != want {
		t.Errorf("%+v, want %+v", tally.Latency.Total, want)
	}
	if ratio := tally.Ratio.Quantile(0.5); math.Abs(ratio-1.0527) > 0.011 {
		t.Errorf("the ratio is %v", ratio)
	}
}

// A calibration of 20,000 pairs finds the line between both sides; with seed 1,
// nothing here is left to chance.
func TestCalibrate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	p := ParamsOf(config.Judge{})
	tally := NewTally(Everywhere, p)
	for i := range 20_000 {
		primary := 0.02 * math.Exp(random.NormFloat64())
		shadow := 0.004 + 1.08*primary*math.Exp(0.05*random.NormFloat64())
		tally.Observe(Pair{Mismatch: i%100 == 0, Primary: seconds(primary), Shadow: seconds(shadow)})
	}
	o := Calibrate(tally, p)
	if math.Abs(o.Scale-1.08) > 0.03 || (o.Latency-4*time.Millisecond).Abs() > 500*time.Microsecond {
		t.Errorf("%v and %v, want 1.08 and 4ms", o.Scale, o.Latency)
	}
	if o.MismatchLow > 0.01 || o.MismatchLow < 0.007 || o.Mismatch < 0.01 || o.Mismatch > 0.013 || o.Pairs != 20_000 {
		t.Errorf("%+v", o)
	}
}

func TestCalibrateWithoutALine(t *testing.T) {
	tally := NewTally(Everywhere, Params{Alpha: 0.05})
	for range 500 {
		tally.Observe(Pair{Primary: 10 * time.Millisecond, Shadow: 11 * time.Millisecond})
	}
	o := Calibrate(tally, Params{Alpha: 0.05})
	if o.Scale != 1 || (o.Latency-time.Millisecond).Abs() > 250*time.Microsecond {
		t.Errorf("%+v", o)
	}
	if o := Calibrate(NewTally(Everywhere, Params{Alpha: 0.05}), Params{Alpha: 0.05}); o.Measured() || o.Mismatch != 1 {
		t.Errorf("of nothing: %+v", o)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// filled returns a tally of n pairs that one seed made.
func filled(seed uint64, n int) *Tally {
	random := rand.New(rand.NewPCG(seed, 1))
	tally := NewTally("GET /", ParamsOf(config.Judge{}))
	for i := range n {
		primary := 0.01 * math.Exp(random.NormFloat64())
		tally.Observe(Pair{
			Mismatch:     random.Float64() < 0.05,
			ShadowFailed: random.Float64() < 0.02, PrimaryFailed: random.Float64() < 0.01,
			Controlled: i%3 == 0, ControlMismatch: i%3 == 0 && random.Float64() < 0.04,
			Primary: seconds(primary), Shadow: seconds(primary * math.Exp(0.2*random.NormFloat64())),
			Time: began.Add(time.Duration(i) * 100 * time.Millisecond),
		})
	}
	return tally
}

func TestTallySurvivesJSON(t *testing.T) {
	p := ParamsOf(config.Judge{})
	tally := filled(1, 3000)
	text, err := json.Marshal(tally)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 8<<10 {
		t.Errorf("%d bytes of JSON", len(text))
	}
	again := &Tally{}
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatal(err)
	}
	more := Pair{Mismatch: true, Primary: time.Second, Shadow: time.Second, Time: began.Add(time.Hour)}
	for range 20 {
		tally.Observe(more)
		again.Observe(more)
	}
	if diff := cmp.Diff(tally.Checks(p), again.Checks(p)); diff != "" {
		t.Error(diff)
	}
	if !again.Fits(p) {
		t.Error("it fits no more")
	}
}

func TestTalliesMerge(t *testing.T) {
	one, two := filled(1, 2000), filled(2, 1000)
	if err := one.Merge(two); err != nil {
		t.Fatal(err)
	}
	sum := filled(1, 2000)
	for _, add := range []struct{ into, from *strand }{
		{&sum.Errors, &two.Errors}, {&sum.Mismatch, &two.Mismatch}, {&sum.Control, &two.Control}, {&sum.Latency, &two.Latency}, {&sum.Tail, &two.Tail},
	} {
		add.into.Total.Pairs += add.from.Total.Pairs
		add.into.Total.Worse += add.from.Total.Worse
		add.into.Total.Better += add.from.Total.Better
		if add.into.Total.Pairs == 0 {
			t.Error("nothing was counted")
		}
	}
	for i, s := range one.strands() {
		if s.Total != sum.strands()[i].Total {
			t.Errorf("strand %d: %+v, want %+v", i, s.Total, sum.strands()[i].Total)
		}
	}
	if one.Ratio.Count() != sum.Ratio.Count()+two.Ratio.Count() || one.Repeats != sum.Repeats+two.Repeats {
		t.Errorf("%d ratios, %d repeats", one.Ratio.Count(), one.Repeats)
	}
	if err := one.Merge(NewTally("GET /", Params{})); err == nil || !strings.Contains(err.Error(), "do not add up") {
		t.Errorf("other params: %v", err)
	}
}

func TestBlocksOfTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		every time.Duration
		pairs int
		ends  int
	}{
		{"all at once", 0, 100, 10},
		{"one a minute", time.Minute, 100, 10}, // ten pairs are ten minutes, which is the limit
		{"a thousand a second for ten minutes", time.Millisecond, 600_000, 74},
	} {
		var b blocks
		ends := 0
		for i := range test.pairs {
			if b.over(began.Add(time.Duration(i) * test.every)) {
				ends++
			}
		}
		if ends != test.ends {
			t.Errorf("%s: %d blocks, want %d", test.name, ends, test.ends)
		}
	}
}

// What two blocks carry alone does not last.
func TestLasting(t *testing.T) {
	var s strand
	for _, block := range []count{{10, 5, 0}, {10, 1, 0}, {10, 0, 2}, {10, 9, 1}, {10, 2, 0}} {
		s.Total.plus(block)
		s.Block = block
		s.end()
	}
	s.Total.plus(count{10, 3, 0})
	s.Block = count{10, 3, 0} // goes on
	if got, want := s.lasting(), (count{40, 6, 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.Block.Worse, s.Total.Worse = 9, s.Total.Worse+6
	if got, want := s.lasting(), (count{40, 8, 2}); got != want {
		t.Errorf("with a bad block that goes on: %+v, want %+v", got, want)
	}
}

// Blocks of ten signs, of which half are all worse and half all better, vary ten
// times as much as signs that have nothing to do with each other.
func TestSpread(t *testing.T) {
	for _, test := range []struct {
		name   string
		blocks []count
		want   float64
	}{
		{"too few", []count{{10, 5, 5}, {10, 5, 5}, {10, 5, 5}, {10, 5, 5}}, math.Inf(1)},
		{"alike", []count{{10, 5, 5}, {10, 5, 5}, {10, 5, 5}, {10, 5, 5}, {10, 5, 5}}, 1},
		{"runs", []count{{10, 10, 0}, {10, 0, 10}, {10, 10, 0}, {10, 0, 10}, {10, 10, 0}, {10, 0, 10}}, 10},
		{"all worse", []count{{10, 10, 0}, {10, 10, 0}, {10, 10, 0}, {10, 10, 0}, {10, 10, 0}}, 1},
		{"worse, always as much", []count{{10, 7, 3}, {20, 14, 6}, {10, 7, 3}, {20, 14, 6}, {10, 7, 3}}, 1},
		{"no pairs", []count{{}, {}, {}, {}, {}}, math.Inf(1)},
	} {
		var s strand
		for _, block := range test.blocks {
			s.Total.plus(block)
			s.Block = block
			s.end()
		}
		if got := s.spread(); math.Abs(got-test.want) > 1e-9 || math.IsInf(got, 1) != math.IsInf(test.want, 1) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	tally := filled(1, 5000)
	pair := Pair{Mismatch: true, Primary: 10 * time.Millisecond, Shadow: 11 * time.Millisecond, Time: began.Add(time.Hour)}
	if n := testing.AllocsPerRun(1000, func() { tally.Observe(pair) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	made := templates(t)
	visit(made, 1, "/users/1/orders")
	if n := testing.AllocsPerRun(1000, func() { made.Endpoint("GET", "/users/7/orders", 200) }); n > 0 {
		t.Errorf("%v allocations of a known endpoint", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	tally := filled(1, 5000)
	pairs := make([]Pair, 1024)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range pairs {
		primary := 0.01 * math.Exp(random.NormFloat64())
		pairs[i] = Pair{Primary: seconds(primary), Shadow: seconds(primary * math.Exp(0.2*random.NormFloat64())), Time: began.Add(time.Duration(i) * time.Second)}
	}
	b.ReportAllocs()
	for i := range b.N {
		tally.Observe(pairs[i%len(pairs)])
	}
}

func BenchmarkEndpoint(b *testing.B) {
	made, err := NewTemplates([]string{"/given/{id}/x", "/files/{path...}"})
	if err != nil {
		b.Fatal(err)
	}
	visit(made, 3, "/api/users/1/orders", "/api/products", "/api/things/6f1e8a52-0f3b-4c1d-9f51-7f0f3f0f8e11")
	b.ReportAllocs()
	for b.Loop() {
		made.Endpoint("GET", "/api/things/6f1e8a52-0f3b-4c1d-9f51-7f0f3f0f8e12", 200)
	}
}

func BenchmarkChecks(b *testing.B) {
	tally, p := filled(1, 20_000), ParamsOf(config.Judge{})
	b.ReportAllocs()
	for b.Loop() {
		tally.Checks(p)
	}
}

// Whatever a file holds, a report can be written.
func FuzzTally(f *testing.F) {
	text, err := json.Marshal(filled(1, 300))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"errors":{"total":{"pairs":-3,"worse":5,"better":-1}},"latency":{"moved":{"blocks":9,"n":1e308}},"tailAt":-1}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var tally Tally
		if json.Unmarshal(text, &tally) != nil {
			return
		}
		p := ParamsOf(config.Judge{})
		tally.Observe(Pair{Mismatch: true, Primary: time.Second, Shadow: time.Minute, Time: began})
		if _, err := json.Marshal(Decide(tally.Checks(p), p)); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(Calibrate(&tally, p)); err != nil {
			t.Error(err)
		}
	})
}
