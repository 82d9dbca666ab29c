package proxy

import (
	"bufio"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestAnExchangeJoinsAllOutcomesAndIsHandedOverOnce(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, slow, log := record(t, fine), scripted(t), newLog()
		quick, dead := record(t, fine), refusing(t)
		yaml := "accessLog: {path: \"-\"}\n" + withMirrors(primary.address(), []string{quick.address(), dead, slow.address(), quick.address(), quick.address()},
			"writes: copy", "writes: copy", "writes: copy", "percent: 100", "writes: copy, body: {limit: 3}")
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
		ask(t, addr, "POST /a?b=c HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r1\r\nUser-Agent: ua\r\nContent-Length: 4\r\n\r\nbody")
		sh := slow.next(t)
		sr := bufio.NewReader(sh)
		head(t, sr)
		expect(t, sr, "body")
		select {
		case x := <-log.got:
			t.Fatalf("got %+v before the last outcome was in", x)
		default:
		}
		send(t, sh, "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nnot today")
		x := log.next(t)
		want := &traffic.Exchange{
			ID: "r1", Listener: "web", Route: "shop", Method: "POST", Host: "shop", Path: "/a", Query: "b=c", Protocol: "HTTP/1.1",
			Status: 200, BytesIn: 4, BytesOut: 2, UserAgent: "ua",
			Primary: traffic.Outcome{Backend: "v1", Endpoint: primary.address(), Status: 200, Bytes: 2},
			Copies: []traffic.Outcome{
				{Backend: "s0", Endpoint: quick.address(), Mirror: "m0", Fate: traffic.Completed, Status: 200, Bytes: 2},
				{Backend: "s1", Endpoint: dead, Mirror: "m1", Fate: traffic.Failed, Reason: traffic.FailConnect, Source: traffic.Shadow},
				{Backend: "s2", Endpoint: slow.address(), Mirror: "m2", Fate: traffic.Completed, Status: 503, Bytes: 9},
				{Backend: "s3", Mirror: "m3", Fate: traffic.Skipped, Reason: traffic.SkipWrite},
				{Backend: "s4", Mirror: "m4", Fate: traffic.Dropped, Reason: traffic.DropBodyLimit},
			},
		}
		if diff := cmp.Diff(want, x,
			cmpopts.IgnoreFields(traffic.Exchange{}, "Start", "Duration", "Client"),
			cmpopts.IgnoreFields(traffic.Outcome{}, "Queued", "Connect", "Start", "First", "End", "Error")); diff != "" {
			t.Errorf("(- want, + got)\n%s", diff)
		}
		if !x.Client.IsLoopback() || time.Since(x.Start) > time.Minute || x.Duration <= 0 {
			t.Errorf("got client %v, start %v, duration %v", x.Client, x.Start, x.Duration)
		}
		for _, o := range append([]traffic.Outcome{x.Primary}, x.Copies[:3]...) {
			if o.Connect <= 0 || o.Status > 0 && !(o.Queued+o.Connect <= o.Start && o.Start < o.First && o.First <= o.End) || o.Status == 0 && o.Start != 0 {
				t.Errorf("%s%s: ready at %v, connected in %v, started at %v, answered at %v, ended at %v", o.Backend, o.Mirror, o.Queued, o.Connect, o.Start, o.First, o.End)
			}
		}
		if x.Primary.End > x.Duration || x.Copies[2].End < x.Duration || x.Copies[1].Error == "" {
			t.Errorf("got %+v, and a request of %v", x, x.Duration)
		}
		select {
		case again := <-log.got:
			t.Errorf("got %+v as well", again)
		default:
		}
	})
}

func TestEveryEndOfARequestIsHandedOver(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\n\r\n"
	tests := []struct {
		name, rule, request, answer string
		status                      int
		source                      traffic.Source
		reason                      string
		primary                     int // status, 0 for none
	}{
		{"answered", "", get, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, traffic.None, "", 404},
		{"breaks off", "", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12", 200, traffic.Primary, "unexpected EOF", 200},
		{"garbage", "", get, "hello", 502, traffic.Primary, "malformed status line", 0},
		{"no answer", "        timeouts: {backend: 20ms}", get, "", 504, traffic.Primary, "the primary did not answer in time", 0},
		{"no route", "        matches: [{path: {value: /api}}]", get, "", 404, traffic.Client, "no route matches", 0},
		{"upload breaks off", "", "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nContent-Length: 9\r\n\r\n12", "", 499, traffic.Client, "the client left in the middle of its request", 0},
		{"bad chunk", "", "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nTransfer-Encoding: chunked\r\n\r\nx", "", 400, traffic.Client, "invalid chunk size", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, log := scripted(t), newLog()
				_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\"}\n"+plain(primary.address(), test.rule))
				c := dial(t, addr)
				send(t, c, test.request)
				if test.answer != "" {
					p := primary.next(t)
					head(t, bufio.NewReader(p))
					send(t, p, test.answer)
					p.Close()
				} else if strings.Contains(test.name, "upload") {
					c.CloseWrite()
				}
				x := log.next(t)
				if x.ID != "r1" || x.Status != test.status || x.Source != test.source || !strings.Contains(x.Error, test.reason) || (x.Error == "") != (test.reason == "") {
					t.Errorf("got %d, %v, %q, want %d, %v, %q", x.Status, x.Source, x.Error, test.status, test.source, test.reason)
				}
				if x.Primary.Status != test.primary || (x.Primary.Source == traffic.Primary) != (test.source == traffic.Primary) {
					t.Errorf("the primary's part is %+v, want status %d", x.Primary, test.primary)
				}
			})
		})
	}
}

func TestOnlyAPartOfTheExchangesIsHandedOverIfAskedFor(t *testing.T) {
	primary := record(t, fine)
	for percent, bounds := range map[string][2]int{"0": {0, 0}, "50": {400, 600}, "100": {1000, 1000}} {
		log := newLog()
		s, addr := serveWith(t, Options{Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\", percent: "+percent+"}\n"+plain(primary.address(), ""))
		ask(t, addr, numbered(1000, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n")...)
		s.Drain(context.Background()) // the last one ends after its answer has arrived
		// Of 1,000 at 50 %, 100 more or less than 500 are 6.3 standard deviations:
		// false failure once in 3·10^9 runs.
		if n := len(log.got); n < bounds[0] || n > bounds[1] {
			t.Errorf("%s %%: got %d of 1000, want %d to %d", percent, n, bounds[0], bounds[1])
		}
	}
}
