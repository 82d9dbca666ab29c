package compare

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestOutcomesThatAreNoPair(t *testing.T) {
	t.Parallel()
	const good, failing = "HTTP/1.1 200 OK\n\nx", "HTTP/1.1 500 Internal Server Error\n\nx"
	failed := func(r traffic.Reason) func(*traffic.Outcome, *traffic.Outcome) {
		return func(_, s *traffic.Outcome) { s.Fate, s.Reason, s.Answer, s.Status = traffic.Failed, r, nil, 0 }
	}
	for name, test := range map[string]struct {
		primary string
		change  func(p, s *traffic.Outcome)
		want    Class
	}{
		"a pair":                 {good, func(_, _ *traffic.Outcome) {}, Match},
		"the copy was dropped":   {good, func(_, s *traffic.Outcome) { s.Fate = traffic.Dropped; s.Reason = traffic.DropMemory }, Infra},
		"the copy was skipped":   {good, func(_, s *traffic.Outcome) { s.Fate = traffic.Skipped }, Infra},
		"nobody was there":       {good, failed(traffic.FailConnect), Infra},
		"no trust":               {good, failed(traffic.FailTLS), Infra},
		"too late":               {good, failed(traffic.FailTimeout), ShadowError},
		"reset":                  {good, failed(traffic.FailReset), ShadowError},
		"no HTTP":                {good, failed(traffic.FailProtocol), ShadowError},
		"both too late or worse": {failing, failed(traffic.FailTimeout), Infra},
		"too late to be sent": {good, func(_, s *traffic.Outcome) {
			s.Fate, s.Reason, s.Answer, s.Start = traffic.Failed, traffic.FailTimeout, nil, 0
		}, Infra},
		"the primary was not captured": {good, func(p, _ *traffic.Outcome) { p.Answer = nil }, Infra},
		"the shadow was not captured":  {good, func(_, s *traffic.Outcome) { s.Answer = nil }, Infra},
		"the client left":              {good, func(p, _ *traffic.Outcome) { p.Source = traffic.Client }, Infra},
		"the primary broke off":        {good, func(p, _ *traffic.Outcome) { p.Answer.Whole = false }, Infra},
		"the shadow was cut off":       {good, func(_, s *traffic.Outcome) { s.Answer.Whole = false }, Infra},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary, shadow := answered(test.primary), answered(test.primary)
			shadow.Fate = traffic.Completed
			test.change(&primary, &shadow)
			got := New(nil).Compare(&traffic.Exchange{}, &primary, &shadow, Options{})
			if got.Class != test.want {
				t.Errorf("%s, want %s", got.Class, test.want)
			}
			if want := test.want == ShadowError; want != (len(got.Differences) == 1) {
				t.Errorf("differences %v", got.Differences)
			}
		})
	}
}

// What a shadow that gave no answer looks like.
func TestNoAnswerIsADifference(t *testing.T) {
	t.Parallel()
	primary := answered("HTTP/1.1 200 OK\n\nx")
	shadow := traffic.Outcome{Fate: traffic.Failed, Reason: traffic.FailTimeout, Start: 1}
	got := written(New(nil).Compare(&traffic.Exchange{}, &primary, &shadow, Options{}))
	if want := "shadow_error\nmissing status: number 200 (number) -> absent timeout\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestStatusesOfGRPC(t *testing.T) {
	t.Parallel()
	call := func(status traffic.GRPCStatus) *traffic.Outcome {
		o := answered("HTTP/2 200\nContent-Type: application/grpc\n\n")
		o.Fate, o.GRPC.Status = traffic.Completed, status
		return &o
	}
	for _, test := range []struct {
		primary, shadow traffic.GRPCStatus
		want            Class
	}{
		{"OK", "OK", Match},
		{"OK", traffic.GRPCInternal, ShadowError},
		{"NOT_FOUND", traffic.GRPCUnavailable, ShadowError},
		{"OK", "NOT_FOUND", StatusDiff},
		{traffic.GRPCInternal, "OK", StatusDiff},
		{traffic.GRPCInternal, traffic.GRPCUnavailable, StatusDiff},
	} {
		primary, shadow := call(test.primary), call(test.shadow)
		shadow.Answer.Head = append(shadow.Answer.Head, "Date: x\r\n"...)
		primary.Answer.Head = append(primary.Answer.Head, "Date: y\r\n"...)
		if got := New(nil).Compare(&traffic.Exchange{Method: "POST"}, primary, shadow, Options{}); got.Class != test.want {
			t.Errorf("%s and %s: %s, want %s", test.primary, test.shadow, got.Class, test.want)
		}
	}
}

// cutAt is an outcome of which so many bytes of the body were kept.
func cutAt(kept int, head, body string) *traffic.Outcome {
	o := answered(head + "\n\n" + body)
	o.Fate = traffic.Completed
	o.Answer.Body = o.Answer.Body[:min(kept, len(body))]
	if kept < len(body) {
		o.Answer.Hash = xxhash.Sum64String(body)
	}
	return &o
}

func TestBodiesThatWereNotKeptWhole(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\nContent-Type: application/json"
	long := `{"a":1,"items":["first","second","third"],"z":` + strings.Repeat("9", 100) + `}`
	replace := func(old, by string) string { return strings.Replace(long, old, by, 1) }
	for name, test := range map[string]struct {
		shadow string
		want   string
	}{
		"the same":               {long, "match cut\n"},
		"before the cut":         {replace("first", "1st"), "diff cut\nvalue body.items[*] at body.items[0]: string first (word) -> string 1st\n"},
		"one of other length":    {replace(`"a":1`, `"a":10`), "diff cut\nvalue body.a: number 1 (number) -> number 10 (number) delta 9 similar\n"},
		"after the cut":          {replace("999}", "998}"), "diff cut\nvalue body: bytes  -> bytes \n"},
		"shorter, after the cut": {replace("9999}", "9}"), "diff cut\nlength body: bytes  -> bytes  delta -3\n"},
		"broken off":             {long[:60], "diff cut\ntype body: object {\"a\":1,\"items\":[\"first\",\"second\",\"third\"]} -> string " + long[:60] + "\nlength body: bytes  -> bytes  delta -87\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary, shadow := cutAt(40, head, long), cutAt(40, head, test.shadow)
			if name == "broken off" {
				shadow = cutAt(100, head, test.shadow)
			}
			got := written(New(nil).Compare(&traffic.Exchange{}, primary, shadow, Options{}))
			if got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// Of bodies with content encodings, what lies beyond the cut was made by a
// compressor: its length and hash say nothing of the content.
func TestEncodedBodiesThatWereNotKeptWhole(t *testing.T) {
	t.Parallel()
	const body = `{"a":1,"items":["first","second","third"],"z":1}`
	for name, test := range map[string]struct {
		primary, shadow string // a field of the head
		want            string
	}{
		"both":    {"Content-Unpacked: gzip", "Content-Unpacked: gzip", "match cut\n"},
		"one":     {"X: 1", "X: 1\nContent-Unpacked: br", "diff cut\nextra header.content-encoding: absent -> string br (word)\n"},
		"neither": {"X: 1", "X: 1", "diff cut\nlength body: bytes  -> bytes  delta 9\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const head = "HTTP/1.1 200 OK\nContent-Type: application/json\n"
			primary, shadow := cutAt(30, head+test.primary, body), cutAt(30, head+test.shadow, body)
			shadow.Answer.Length += 9
			shadow.Answer.Hash++
			got := New(nil).Compare(&traffic.Exchange{}, primary, shadow, Options{})
			if got := written(got); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// What is noise before the cut makes lengths and hashes differ, and says nothing
// of what follows.
func TestNoiseBeforeTheCut(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\nContent-Type: application/json"
	body := func(id string, filler int) string {
		return `{"id":"` + id + `","l":[` + strings.Repeat(`"x",`, filler) + `"x"]}`
	}
	demoted := Options{Demoted: func(path string) bool { return path == "body.id" }}
	for _, test := range []struct {
		filler int
		want   Class
	}{{200, NoiseOnly}, {201, NoiseOnly}, {300, Diff}} {
		primary, shadow := cutAt(100, head, body("order-17", 200)), cutAt(100, head, body("order-4711", test.filler))
		if got := New(nil).Compare(&traffic.Exchange{}, primary, shadow, demoted); got.Class != test.want || !got.Cut {
			t.Errorf("%d: %s", test.filler, written(got))
		}
	}
}

// A comparer is used again and again, and holds on to nothing.
func TestResultsHoldNothingOfTheAnswers(t *testing.T) {
	t.Parallel()
	c := New(nil)
	primary := answered("HTTP/1.1 200 OK\nContent-Type: application/json\n\n{\"a\":\"first\"}")
	shadow := answered("HTTP/1.1 200 OK\nContent-Type: application/json\n\n{\"a\":\"other\"}")
	shadow.Fate = traffic.Completed
	first := c.Compare(&traffic.Exchange{}, &primary, &shadow, Options{})
	before := written(first)
	for _, m := range []*traffic.Message{primary.Answer, shadow.Answer} {
		copy(m.Body, bytes.Repeat([]byte{'#'}, len(m.Body)))
		copy(m.Head, bytes.Repeat([]byte{'#'}, len(m.Head)))
	}
	c.Compare(&traffic.Exchange{}, &shadow, &primary, Options{})
	if after := written(first); after != before {
		t.Errorf("before %safter %s", before, after)
	}
}
