package replay

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

const ms = time.Millisecond

func TestEachPaceKeepsItsScheduleExactly(t *testing.T) {
	t.Parallel()
	recording := func() []*traffic.Exchange {
		return []*traffic.Exchange{ // in the order in which they ended: the first to begin is the last
			get("b", 40*ms, "10.0.0.2"), get("c", 100*ms, "10.0.0.3"), get("a", 0, "10.0.0.1"), get("d", 1000*ms, "10.0.0.4"),
		}
	}
	for _, test := range []struct {
		name string
		pace Pace
		want []arrivalAt
	}{
		{"original", Pace{}, []arrivalAt{{"/a", 0}, {"/b", 40 * ms}, {"/c", 100 * ms}, {"/d", 1000 * ms}}},
		{"twice as fast", Pace{Speed: 2}, []arrivalAt{{"/a", 0}, {"/b", 20 * ms}, {"/c", 50 * ms}, {"/d", 500 * ms}}},
		{"half as fast", Pace{Speed: 0.5}, []arrivalAt{{"/a", 0}, {"/b", 80 * ms}, {"/c", 200 * ms}, {"/d", 2000 * ms}}},
		{"fixed rate", Pace{Rate: 3}, []arrivalAt{{"/a", 0}, {"/b", 333333333}, {"/c", 666666667}, {"/d", time.Second}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHouse(t, nil)
				s := play(t.Context(), t, h, Options{Pace: test.pace}, recording()...)
				if diff := cmp.Diff(test.want, h.arrivals(), cmp.AllowUnexported(arrivalAt{})); diff != "" {
					t.Errorf("arrivals (-want +got):\n%s", diff)
				}
				if s.Lateness.Max != 0 || s.Schedule.Max != 0 || s.End != EndAll || s.Completed != 4 {
					t.Errorf("summary %+v", s)
				}
			})
		})
	}
}

func TestNothingAddsUpOverManyRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, nil)
		var exchanges []*traffic.Exchange
		for i := range 3001 {
			exchanges = append(exchanges, get(fmt.Sprint(i), time.Duration(i)*time.Hour, "10.0.0.1"))
		}
		play(t.Context(), t, h, Options{Pace: Pace{Rate: 700}, Session: SessionKey{kind: sessionNone}}, exchanges...)
		got := h.arrivals()
		if last := got[len(got)-1].at; len(got) != 3001 || last != 4285714286 { // 3000/700 s
			t.Errorf("%d arrived, the last after %d ns", len(got), last)
		}
	})
}

func TestASlowTargetDoesNotDelayTheSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) })
		var exchanges []*traffic.Exchange
		var want []arrivalAt
		for i := range 50 {
			exchanges = append(exchanges, get(fmt.Sprint(i), 0, fmt.Sprintf("10.0.0.%d", i)))
			want = append(want, arrivalAt{"/" + fmt.Sprint(i), time.Duration(i) * 10 * ms})
		}
		s := play(t.Context(), t, h, Options{Pace: Pace{Rate: 100}}, exchanges...)
		if diff := cmp.Diff(want, h.arrivals(), cmp.AllowUnexported(arrivalAt{})); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if s.Latency.P50 != 5000 || s.Lateness.Max != 0 || s.Held+s.Crowded != 0 {
			t.Errorf("summary %+v", s)
		}
	})
}

func TestLatencyIsCountedFromWhenARequestWasDueToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// One at a time, a second each, due every 100 ms: the tenth waits 8.1 s.
		h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		var exchanges []*traffic.Exchange
		for i := range 10 {
			exchanges = append(exchanges, get(fmt.Sprint(i), 0, fmt.Sprintf("10.0.0.%d", i)))
		}
		s := play(t.Context(), t, h, Options{Pace: Pace{Rate: 10}, Concurrency: 1}, exchanges...)
		if s.Latency.Max != 1000 || s.FromDue.Max != 9100 || s.Lateness.Max != 8100 || s.Schedule.Max != 0 {
			t.Errorf("latency %v, from due %v, lateness %v, schedule %v", s.Latency, s.FromDue, s.Lateness, s.Schedule)
		}
		if s.Crowded != 9 || s.Held != 0 {
			t.Errorf("%d crowded, %d held", s.Crowded, s.Held)
		}
	})
}

func TestASessionIsSentInOrderWhileOthersOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, func(_ http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/slow") {
				time.Sleep(100 * ms)
			}
		})
		s := play(t.Context(), t, h, Options{},
			get("slow-1", 0, "10.0.0.1"), get("slow-2", 10*ms, "10.0.0.1"), get("other-1", 20*ms, "10.0.0.2"),
			get("slow-3", 30*ms, "10.0.0.1"), get("other-2", 40*ms, "10.0.0.2"))
		want := []arrivalAt{{"/slow-1", 0}, {"/other-1", 20 * ms}, {"/other-2", 40 * ms}, {"/slow-2", 100 * ms}, {"/slow-3", 200 * ms}}
		if diff := cmp.Diff(want, h.arrivals(), cmp.AllowUnexported(arrivalAt{})); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if s.Held != 2 || s.Lateness.Max != 170 {
			t.Errorf("%d held, lateness %v", s.Held, s.Lateness)
		}
	})
}

func TestMaxPaceKeepsSoManyRequestsOnTheirWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(100 * ms) })
		var exchanges []*traffic.Exchange
		for i := range 12 {
			exchanges = append(exchanges, get(fmt.Sprint(i), time.Duration(i)*time.Hour, fmt.Sprintf("10.0.0.%d", i)))
		}
		// A queue shorter than the recording: here the schedule waits for the target.
		s := play(t.Context(), t, h, Options{Pace: Pace{Max: true}, Concurrency: 4, Queue: 2}, exchanges...)
		var times []time.Duration
		for _, a := range h.arrivals() {
			times = append(times, a.at)
		}
		want := slices.Concat(slices.Repeat([]time.Duration{0}, 4), slices.Repeat([]time.Duration{100 * ms}, 4), slices.Repeat([]time.Duration{200 * ms}, 4))
		if !slices.Equal(times, want) {
			t.Errorf("arrivals %v", times)
		}
		if s.Completed != 12 || s.Lateness.Max != 0 || s.Skipped[SkipBacklog] != 0 {
			t.Errorf("summary %+v", s)
		}
	})
}

func TestWhatCannotWaitIsCounted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options Options
		sent    int64
		backlog int64
	}{
		{"by number", Options{Queue: 3}, 4, 6},
		{"by bytes", Options{Memory: 3000}, 3, 7}, // each holds 1 KiB and its heads
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) })
				test.options.Concurrency = 1
				test.options.Pace = Pace{Rate: 10}
				var exchanges []*traffic.Exchange
				for i := range 10 {
					exchanges = append(exchanges, get(fmt.Sprint(i), 0, fmt.Sprintf("10.0.0.%d", i)))
				}
				s := play(t.Context(), t, h, test.options, exchanges...)
				if s.Sent != test.sent || s.Skipped[SkipBacklog] != test.backlog || s.Schedule.Max != 0 {
					t.Errorf("summary %+v", s)
				}
			})
		})
	}
}

func TestWhatIsNotSentHasAReason(t *testing.T) {
	t.Parallel()
	head := "GET /x HTTP/1.1\r\nHost: h\r\n"
	with := func(change func(x *traffic.Exchange)) *traffic.Exchange {
		x := recorded("x", 0, "10.0.0.1", head, "")
		change(x)
		return x
	}
	cut := func(x *traffic.Exchange) { x.Request.Length = 5 }
	token := func(x *traffic.Exchange) {
		x.Request.Head = []byte(head + "Authorization: Bearer redacted-0123456789ab\r\n")
	}
	for _, test := range []struct {
		name    string
		x       *traffic.Exchange
		options Options
		want    Skip
	}{
		{"what reads", with(func(*traffic.Exchange) {}), Options{}, ""},
		{"what writes", with(func(x *traffic.Exchange) { x.Method = "POST" }), Options{}, SkipWrite},
		{"what writes, asked for", with(func(x *traffic.Exchange) { x.Method = "POST" }), Options{Writes: true}, ""},
		{"an unknown method", with(func(x *traffic.Exchange) { x.Method = "PURGE" }), Options{}, SkipWrite},
		{"a body that was cut", with(cut), Options{}, SkipCut},
		{"a body that was cut, asked for", with(cut), Options{Cut: true}, ""},
		{"a client that left", with(func(x *traffic.Exchange) { x.Request.Whole = false }), Options{}, SkipCut},
		{"nothing kept", with(func(x *traffic.Exchange) { x.Request = nil }), Options{}, SkipNotKept},
		{"a tunnel", with(func(x *traffic.Exchange) { x.Primary.Status = 101 }), Options{}, SkipUpgrade},
		{"a CONNECT", with(func(x *traffic.Exchange) { x.Method = "CONNECT" }), Options{}, SkipUpgrade},
		{"not asked for", with(func(*traffic.Exchange) {}), Options{Filter: func(*traffic.Exchange) bool { return false }}, SkipFilter},
		{"a token", with(token), Options{NoTokens: true}, SkipRedacted},
		{"a token, if that is fine", with(token), Options{}, ""},
		{"no token", with(func(*traffic.Exchange) {}), Options{NoTokens: true}, ""},
		{"no request", with(func(x *traffic.Exchange) { x.Request.Head = []byte("nonsense\r\n") }), Options{}, SkipInvalid},
		{"a broken host", with(func(x *traffic.Exchange) { x.Request.Head = []byte("GET / HTTP/1.1\r\nHost: a b\r\n") }), Options{}, SkipInvalid},
		{"a broken trailer", with(func(x *traffic.Exchange) { x.Request.Trailer = []byte("Content-Length: 1\r\n") }), Options{}, SkipInvalid},
		{"a broken field", with(func(x *traffic.Exchange) { x.Request.Head = []byte(head + "a b: c\r\n") }), Options{}, SkipInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHouse(t, nil)
				s := play(t.Context(), t, h, test.options, test.x)
				if test.want == "" && s.Sent != 1 || test.want != "" && s.Skipped[test.want] != 1 {
					t.Errorf("summary %+v", s)
				}
			})
		})
	}
}

func TestAReplayEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	exchanges := func() []*traffic.Exchange {
		var all []*traffic.Exchange
		for i := range 10 {
			all = append(all, get(fmt.Sprint(i), time.Duration(i)*time.Second, "10.0.0.1"))
		}
		return all
	}
	for _, test := range []struct {
		name    string
		options Options
		after   time.Duration // until it is interrupted
		end     End
		sent    int64
		took    float64
	}{
		{"by the limit", Options{Limit: 3}, time.Hour, EndLimit, 3, 2.5},
		{"by the time", Options{For: 5 * time.Second}, time.Hour, EndTime, 5, 4.5},
		{"by a signal, between two", Options{}, 3700 * ms, EndInterrupt, 4, 3.7},
		{"by a signal, while one waits for its answer", Options{}, 3300 * ms, EndInterrupt, 4, 3.5},
		{"by the end", Options{}, time.Hour, EndAll, 10, 9.5},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(500 * ms) })
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				s := play(ctx, t, h, test.options, exchanges()...)
				if s.End != test.end || s.Sent != test.sent || s.Completed != test.sent || s.Seconds != test.took {
					t.Errorf("summary %+v", s)
				}
			})
		})
	}
}

func TestWhatWaitsWhenAReplayIsInterruptedIsCounted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pace             Pace
		stopped, backlog int64
	}{
		{Pace{Rate: 1000}, 3, 3}, // 2 are sent at once, 5 wait, of which 2 are sent after a second
		{Pace{Max: true}, 6, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := openHouse(t, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
			ctx, cancel := context.WithTimeout(t.Context(), 1500*ms)
			defer cancel()
			var exchanges []*traffic.Exchange
			for i := range 10 { // half of them of one session
				exchanges = append(exchanges, get(fmt.Sprint(i), 0, fmt.Sprintf("10.0.0.%d", i%2*i)))
			}
			s := play(ctx, t, h, Options{Pace: test.pace, Concurrency: 2, Queue: 5}, exchanges...)
			if s.End != EndInterrupt || s.Completed != 4 || s.Skipped[SkipStopped] != test.stopped || s.Skipped[SkipBacklog] != test.backlog {
				t.Errorf("%v: summary %+v", test.pace, s)
			}
		})
	}
}

func TestARecordingCanBeSentSeveralTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, nil)
		sink := &shelf{}
		source := Repeat(func() (Source, error) {
			return &tape{get("b", 200*ms, "10.0.0.1"), get("a", 0, "10.0.0.1"), get("c", 400*ms, "10.0.0.1")}, nil
		}, 3)
		playSource(t.Context(), t, h, Options{Sink: sink}, source)
		want := []arrivalAt{
			{"/a", 0}, {"/b", 200 * ms}, {"/c", 400 * ms}, {"/a", 600 * ms}, {"/b", 800 * ms}, {"/c", 1000 * ms},
			{"/a", 1200 * ms}, {"/b", 1400 * ms}, {"/c", 1600 * ms},
		}
		if diff := cmp.Diff(want, h.arrivals(), cmp.AllowUnexported(arrivalAt{})); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		var ids []string
		for _, x := range sink.exchanges {
			ids = append(ids, x.ID)
		}
		if want := []string{"a", "b", "c", "a-2", "b-2", "c-2", "a-3", "b-3", "c-3"}; !slices.Equal(ids, want) {
			t.Errorf("ids %v", ids)
		}
	})
}

func TestAnEmptyRecordingIsNotReadForEver(t *testing.T) {
	t.Parallel()
	opened := 0
	source := Repeat(func() (Source, error) { opened++; return &tape{}, nil }, 1_000_000)
	if _, err := source.Next(); err != io.EOF || opened != 1 {
		t.Errorf("%v after it was opened %d times", err, opened)
	}
}

func TestARecordingThatBreaksOffIsReportedAfterWhatWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, nil)
		r, err := New(Options{Target: target(t, TargetOptions{Dial: h.dial})})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Run(t.Context(), &brokenTape{tape{get("a", 0, "10.0.0.1")}})
		if err != io.ErrUnexpectedEOF || s.End != EndError || s.Completed != 1 {
			t.Errorf("%v, %+v", err, s)
		}
		r.options.Target.Close()
	})
}

// brokenTape breaks off at its end.
type brokenTape struct{ tape }

// Next implements Source.
func (b *brokenTape) Next() (*traffic.Exchange, error) {
	x, err := b.tape.Next()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return x, err
}

func TestProgressSaysHowFarItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, func(_ http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			if r.URL.Path == "/0" {
				panic(http.ErrAbortHandler)
			}
		})
		r, err := New(Options{Target: target(t, TargetOptions{Dial: h.dial}), Pace: Pace{Rate: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Run(t.Context(), &tape{get("0", 0, "10.0.0.1"), get("1", 0, "10.0.0.1"), get("2", 0, "10.0.0.2"), recorded("p", 0, "10.0.0.3", "POST /p HTTP/1.1\r\n", "")})
		}()
		time.Sleep(500 * ms)
		if got, want := r.Progress(), (Progress{Read: 4, Skipped: 1, Waiting: 1, Sending: 2}); got != want {
			t.Errorf("underway: %+v", got)
		}
		<-done
		if got, want := r.Progress(), (Progress{Read: 4, Skipped: 1, Sent: 3, Failed: 1}); got != want {
			t.Errorf("at the end: %+v", got)
		}
		r.options.Target.Close()
	})
}

func TestASinkThatIsBehindIsNotGivenMore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options Options
		refused int64
		took    float64
	}{
		{"at a rate the rest is refused", Options{Pace: Pace{Rate: 10}, Ahead: 3}, 7, 0.9},
		{"by bytes too", Options{Pace: Pace{Rate: 10}, Memory: 4000}, 7, 0.9},
		{"at max it is waited for", Options{Pace: Pace{Max: true}, Ahead: 3}, 0, 15}, // 3 at a time, the tenth is put down when it comes
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHouse(t, nil)
				test.options.Sink = slowSink(5 * time.Second)
				var exchanges []*traffic.Exchange
				for i := range 10 {
					exchanges = append(exchanges, get(fmt.Sprint(i), 0, "10.0.0.1"))
				}
				s := play(t.Context(), t, h, test.options, exchanges...)
				if s.Refused != test.refused || s.Completed != 10 || s.Seconds != test.took {
					t.Errorf("summary %+v", s)
				}
				synctest.Wait()
				time.Sleep(time.Minute)
			})
		})
	}
}

// slowSink releases each exchange after so long.
type slowSink time.Duration

// Offer implements traffic.Sink.
func (s slowSink) Offer(x *traffic.Exchange) bool {
	time.AfterFunc(time.Duration(s), x.Release)
	return true
}

func TestWhatIsReadAheadIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, nil)
		var read atomic.Int64
		source := sourceFunc(func() (*traffic.Exchange, error) {
			n := read.Add(1)
			if n > 1000 {
				return nil, io.EOF
			}
			return recorded("x", time.Duration(n)*time.Hour, "10.0.0.1", "POST /x HTTP/1.1\r\nHost: h\r\n", strings.Repeat("x", 1<<20)), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		playSource(ctx, t, h, Options{Writes: true}, source)
		// The sorter looks ahead over 32 MiB, 16 MiB and one more are ready, one each is
		// in the hands of reader and scheduler, and one was sent.
		if n := read.Load(); n < 40 || n > 32+17+3 {
			t.Errorf("%d were read", n)
		}
	})
}

// sourceFunc is a Source.
type sourceFunc func() (*traffic.Exchange, error)

// Next implements Source.
func (f sourceFunc) Next() (*traffic.Exchange, error) { return f() }

func TestWhatTheSinkGetsIsLikeAMirrorsExchange(t *testing.T) {
	t.Parallel()
	for _, untimed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := openHouse(t, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(20 * ms)
				io.WriteString(w, "now")
			})
			sink := &shelf{}
			time.Sleep(time.Hour)
			begun := time.Now()
			play(t.Context(), t, h, Options{Sink: sink, Names: Names{Route: "r", Mirror: "m", Primary: "then", Shadow: "now"}, Untimed: untimed},
				get("a", 0, "10.0.0.1"), get("b", 5*ms, "10.0.0.1"))
			x := sink.byID(t, "b") // it waited for a
			if x.Route != "r" || x.Rule != 0 || !x.Start.Equal(begun.Add(5*ms)) || x.Path != "/b" {
				t.Errorf("exchange %+v", x)
			}
			want := []time.Duration{1 * ms, 11 * ms, 11 * ms}
			if untimed {
				want = []time.Duration{0, 0, 0}
			}
			if p := x.Primary; p.Backend != "then" || p.Status != 200 || !slices.Equal([]time.Duration{p.Start, p.First, p.End}, want) {
				t.Errorf("primary %+v", p)
			}
			if len(x.Copies) != 1 {
				t.Fatalf("copies %+v", x.Copies)
			}
			c := x.Copies[0]
			if c.Backend != "now" || c.Mirror != "m" || c.Fate != traffic.Completed || !c.Compare || string(c.Answer.Body) != "now" {
				t.Errorf("copy %+v", c)
			}
			if got := []time.Duration{c.Start, c.First, c.End}; !slices.Equal(got, []time.Duration{15 * ms, 35 * ms, 35 * ms}) {
				t.Errorf("times %v", got)
			}
		})
	}
}

func TestTokensInPlaceOfSecretsAreCounted(t *testing.T) {
	t.Parallel()
	redactor, err := redact.New(config.Redact{})
	if err != nil {
		t.Fatal(err)
	}
	secrets := func(head, body string) *traffic.Exchange {
		x := recorded("x", 0, "10.0.0.1", head, body)
		redactor.Exchange(x)
		return x
	}
	exchanges := func() []*traffic.Exchange {
		return []*traffic.Exchange{
			secrets("GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abc\r\n", ""),
			secrets("GET /b?password=abc HTTP/1.1\r\nHost: h\r\n", ""),
			secrets("POST /c HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n", `{"password": "abc"}`),
			secrets("GET //b?password=abc HTTP/1.1\r\nHost: h\r\n", ""),
			secrets("GET /d HTTP/1.1\r\nHost: h\r\nX-Public: abc\r\n", ""),
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, nil)
		if s := play(t.Context(), t, h, Options{Writes: true}, exchanges()...); s.Tokens != 4 || s.Sent != 5 {
			t.Errorf("%d of %d with tokens", s.Tokens, s.Sent)
		}
		set := target(t, TargetOptions{Dial: h.dial, Headers: []Header{{"Authorization", "Bearer new"}}})
		if s := play(t.Context(), t, h, Options{Target: set, Writes: true, NoTokens: true}, exchanges()...); s.Tokens != 0 || s.Sent != 2 || s.Skipped[SkipRedacted] != 3 {
			t.Errorf("with a new authorization %d of %d with tokens, skipped %v", s.Tokens, s.Sent, s.Skipped)
		}
	})
}
