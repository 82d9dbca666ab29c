package proxy

import (
	"bufio"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// rpcHead is the head of a call with more lines.
func rpcHead(path, lines string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n" + lines + "\r\n"
}

// rpcMessage is a message of a call.
func rpcMessage(content string) string {
	return string([]byte{0, 0, 0, byte(len(content) >> 8), byte(len(content))}) + content
}

// chunk is one chunk of a body.
func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

// rpcAnswer answers a call with one message and a status.
func rpcAnswer(lines string) func(*message) (string, bool) {
	return func(*message) (string, bool) {
		return "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(rpcMessage("hi")) + "0\r\n" + lines + "\r\n", false
	}
}

func TestACallThatTheProxyAnswersGetsAnAnswerOfGRPC(t *testing.T) {
	refused := refusing(t)
	for _, test := range []struct {
		name, rule, request, answer string
		status                      traffic.GRPCStatus
		source                      traffic.Source
	}{
		{"no route", "        matches: [{path: {value: /other}}]", rpcHead("/shop.Cart/Get", ""), "", "UNIMPLEMENTED", traffic.Client},
		{"connection refused", "", rpcHead("/shop.Cart/Get", ""), "refuse", "UNAVAILABLE", traffic.Primary},
		{"broken answer", "", rpcHead("/shop.Cart/Get", ""), "hello", "UNAVAILABLE", traffic.Primary},
		{"no answer", "        timeouts: {backend: 20ms}", rpcHead("/shop.Cart/Get", ""), "", "DEADLINE_EXCEEDED", traffic.Primary},
		{"no answer in the client's time", "        timeouts: {request: 10s}", rpcHead("/shop.Cart/Get", "grpc-timeout: 20m\r\n"), "", "DEADLINE_EXCEEDED", traffic.Primary},
		{"no answer in the rule's time", "        timeouts: {request: 20ms}", rpcHead("/shop.Cart/Get", "grpc-timeout: 10S\r\n"), "", "DEADLINE_EXCEEDED", traffic.Primary},
		{"broken body", "", rpcHead("/shop.Cart/Get", "") + "x\r\n", "", "INTERNAL", traffic.Client},
	} {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, log := scripted(t), newLog()
				address := primary.address()
				if test.answer == "refuse" {
					address = refused
				}
				s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\"}\n"+plain(address, test.rule))
				c := dial(t, addr)
				send(t, c, test.request)
				if !strings.HasSuffix(test.request, "x\r\n") {
					send(t, c, "0\r\n\r\n")
				}
				if test.answer == "hello" {
					p := primary.next(t)
					head(t, bufio.NewReader(p))
					send(t, p, test.answer)
					p.Close()
				}
				m, err := readAnswer(bufio.NewReader(c), "POST")
				if err != nil {
					t.Fatal(err)
				}
				x := log.next(t)
				number := map[traffic.GRPCStatus]string{"UNIMPLEMENTED": "12", "UNAVAILABLE": "14", "DEADLINE_EXCEEDED": "4", "INTERNAL": "13"}[test.status]
				if m.start != "HTTP/1.1 200 OK" || m.value("Content-Type") != "application/grpc" || m.value("Content-Length") != "0" ||
					m.value("grpc-status") != number || m.value("grpc-message") != x.Error {
					t.Errorf("got %q %q, want status %s", m.start, m.lines, number)
				}
				if x.Status != 200 || x.GRPC.Status != test.status || x.Source != test.source || x.Error == "" || x.Primary.GRPC.Status != "" {
					t.Errorf("handed over %+v", x)
				}
				if l := live(s); l.GRPC[test.status] != 1 || l.Codes[200] != 1 || l.Errors[test.source] != 1 {
					t.Errorf("counted %v, %v, %v", l.GRPC, l.Codes, l.Errors)
				}
			})
		})
	}
}

func TestStatusesOfCallsAreReadFromHeadOrTrailer(t *testing.T) {
	const trailersOnly = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n"
	for _, test := range []struct {
		name   string
		answer func(*message) (string, bool)
		want   traffic.GRPCCall
	}{
		{"trailers", rpcAnswer("grpc-status: 0\r\n"), traffic.GRPCCall{Status: "OK"}},
		{"trailers with a message", rpcAnswer("Grpc-Status: 5\r\nGrpc-Message: no%20such cart\r\n"), traffic.GRPCCall{Status: "NOT_FOUND", Message: "no such cart"}},
		{"trailers only", func(*message) (string, bool) {
			return trailersOnly + "grpc-status: 7\r\ngrpc-message: no\r\n\r\n", false
		}, traffic.GRPCCall{Status: "PERMISSION_DENIED", Message: "no"}},
		{"no status", rpcAnswer(""), traffic.GRPCCall{Status: "UNKNOWN"}},
		{"a number that nobody knows", rpcAnswer("grpc-status: 99\r\n"), traffic.GRPCCall{Status: "UNKNOWN"}},
		{"no gRPC at all", func(*message) (string, bool) { return "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false }, traffic.GRPCCall{Status: "UNAVAILABLE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow, log := record(t, test.answer), record(t, test.answer), newLog()
				s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}},
					"accessLog: {path: \"-\"}\n"+mirrored(primary.address(), shadow.address(), "            grpcMethods: [shop.Cart/Get]"))
				c := dial(t, addr)
				send(t, c, rpcHead("/shop.Cart/Get", "")+chunk(rpcMessage("hello"))+"0\r\n\r\n")
				got, err := readAnswer(bufio.NewReader(c), "POST")
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := test.answer(nil)
				if sent := strings.Contains(strings.ToLower(raw), "\r\n0\r\ngrpc-status"); sent != (len(got.trailer) > 0) {
					t.Errorf("the client got the trailers %q of %q", got.trailer, raw)
				}
				x := log.next(t)
				if diff := cmp.Diff([]traffic.GRPCCall{test.want, test.want, test.want}, []traffic.GRPCCall{x.GRPC, x.Primary.GRPC, x.Copies[0].GRPC}); diff != "" {
					t.Errorf("(- want, + got)\n%s", diff)
				}
				m := books(t, s)
				if l := live(s); l.GRPC[test.want.Status] != 1 || m.GRPC[test.want.Status] != 1 || m.Completed != 1 {
					t.Errorf("counted %v and %v, want one %s", l.GRPC, m.GRPC, test.want.Status)
				}
			})
		})
	}
}

// logged collects log lines.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestCallsAreCopiedIfTheyAreNamed(t *testing.T) {
	for _, test := range []struct {
		mirror string
		copied string // of the calls below
	}{
		{"percent: 100", "plain"},
		{"grpcMethods: [shop.Cart/Get]", "get plain"},
		{"grpcMethods: [shop.Cart/*]", "get put plain"},
		{"grpcMethods: [shop.Cart/Put, other.Cart/Get]", "put other plain"},
		{"writes: copy", "get put other web odd plain"},
		{"writes: copy, match: {grpc: {service: shop.Cart}}", "get put odd"},
		{"writes: copy, match: {grpc: {}}", "get put other odd"},
	} {
		t.Run(test.mirror, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow, log := record(t, fine), record(t, fine), &logged{}
				s, addr := serveWith(t, Options{Driver: d, Log: slog.New(slog.NewTextHandler(log, nil))}, withMirrors(primary.address(), []string{shadow.address()}, test.mirror))
				call := func(path, id string) string { return rpcHead(path, "x-request-id: "+id+"\r\n") + "0\r\n\r\n" }
				ask(t, addr, call("/shop.Cart/Get", "get"), call("/shop.Cart/Put", "put"), call("/other.Cart/Get", "other"),
					strings.Replace(call("/shop.Cart/Get", "web"), "grpc+proto", "grpc-web", 1), call("/shop.Cart/Get/x", "odd"),
					"GET /shop.Cart/Get HTTP/1.1\r\nHost: h\r\nx-request-id: plain\r\n\r\n")
				m := settled(s)["m0"]
				var copied []string
				for _, id := range []string{"get", "put", "other", "web", "odd", "plain"} {
					if len(shadow.of(id)) > 0 {
						copied = append(copied, id)
					}
				}
				if got := strings.Join(copied, " "); got != test.copied {
					t.Errorf("copied %q, want %q", got, test.copied)
				}
				if m.Selected+sumOf(m.Skipped) != 6 || m.Completed != m.Selected {
					t.Errorf("%d selected, %d completed, skipped %v", m.Selected, m.Completed, m.Skipped)
				}
				const line = `msg="a gRPC call was not copied, because it may write; name the methods that only read on the mirror to copy them" route=shop mirror=m0 method=`
				if m.Skipped[traffic.SkipWrite] > 1 {
					for !strings.Contains(log.String(), line) {
					}
				}
				if n := strings.Count(log.String(), line); n > 1 {
					t.Errorf("%d lines:\n%s", n, log.String())
				}
				if test.mirror == "percent: 100" && !strings.Contains(log.String(), `method=shop.Cart/Get add="grpcMethods: [shop.Cart/Get]"`) {
					t.Errorf("logged:\n%s", log.String())
				}
			})
		})
	}
}

// of returns what has come with that x-request-id.
func (s *recorder) of(id string) []*message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[id]
}

func TestACopyOfACallIsCutBetweenMessages(t *testing.T) {
	const limit = "body: {limit: 20, overLimit: truncate}, writes: copy"
	ten := rpcMessage("12345") // 10 bytes
	tests := []struct {
		name    string
		parts   []string // of the body
		want    string   // what the shadow gets
		trailer bool     // that says that it was cut
	}{
		{"fits", []string{ten, ten}, ten + ten, false},
		{"third message", []string{ten, ten, ten}, ten + ten, true},
		{"all at once", []string{ten + ten + ten}, ten + ten, true},
		{"second too long", []string{ten, rpcMessage("123456")}, ten, true},
		{"first too long", []string{rpcMessage("1234567890123456")}, "", true},
		{"in small pieces", strings.Split(ten+ten+ten, ""), ten + ten, true},
		{"empty messages", []string{rpcMessage("") + rpcMessage("") + ten, rpcMessage("")}, rpcMessage("") + rpcMessage("") + ten, true},
		{"half a message at the end", []string{ten, ten[:8]}, ten + ten[:8], false},
		{"half a prefix at the end", []string{ten, ten[:3]}, ten + ten[:3], false},
	}
	for _, test := range tests {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, ", known length ", known), func(t *testing.T) {
				drivers(t, func(t *testing.T, d loop.Driver) {
					primary, shadow := record(t, rpcAnswer("grpc-status: 0\r\n")), record(t, rpcAnswer("grpc-status: 0\r\n"))
					s, addr := serve(t, d, withMirrors(primary.address(), []string{shadow.address()}, limit))
					c := dial(t, addr)
					whole := strings.Join(test.parts, "")
					text := rpcHead("/shop.Cart/Get", "x-request-id: r\r\n")
					if known {
						text = strings.Replace(text, "Transfer-Encoding: chunked", fmt.Sprint("Content-Length: ", len(whole)), 1)
					}
					send(t, c, text)
					for _, part := range test.parts {
						if !known {
							part = chunk(part)
						}
						send(t, c, part)
					}
					if !known {
						send(t, c, "0\r\n\r\n")
					}
					if _, err := readAnswer(bufio.NewReader(c), "POST"); err != nil {
						t.Fatal(err)
					}
					if m := settled(s)["m0"]; m.Completed != 1 {
						t.Fatalf("dropped %v, failed %v", m.Dropped, m.Failed)
					}
					got := shadow.of("r")[0]
					if got.body != test.want || strings.Contains(strings.Join(got.trailer, "|"), "x-understudy-body: truncated") != test.trailer {
						t.Errorf("the shadow got %q and %q, want %q", got.body, got.trailer, test.want)
					}
					if live := primary.of("r")[0]; live.body != whole {
						t.Errorf("the primary got %q, want %q", live.body, whole)
					}
				})
			})
		}
	}
}

func TestACopyOfACallHasNoMoreTimeThanTheClient(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow, log := record(t, rpcAnswer("grpc-status: 0\r\n")), scripted(t), newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}},
			"accessLog: {path: \"-\"}\n"+mirrored(primary.address(), shadow.address(), "            writes: copy\n            timeout: 1h\n            backoff: {failures: 1}"))
		ask(t, addr, rpcHead("/shop.Cart/Get", "grpc-timeout: 30m\r\n")+"0\r\n\r\n")
		if got := head(t, bufio.NewReader(shadow.next(t))); !strings.Contains(got, "\r\ngrpc-timeout: 30m\r\n") {
			t.Errorf("the shadow got %q, want the client's timeout in it", got)
		}
		o := log.next(t).Copies[0]
		m := books(t, s)
		if o.Error != "no whole answer within the client's grpc-timeout" || m.Failed[traffic.FailTimeout] != 1 || m.Breaker != "closed" {
			t.Errorf("got %q, failed %v, and a breaker that is %s", o.Error, m.Failed, m.Breaker)
		}
	})
}

func TestAnImpatientClientDoesNotEjectAnEndpoint(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, strings.Replace(plain(primary.address(), ""), `"]}`, `"], health: {failures: 1, eject: 1h}}`, 1))
		ask(t, addr, rpcHead("/shop.Cart/Get", "grpc-timeout: 1n\r\n")+"0\r\n\r\n")
		if e := s.Snapshot().Endpoints[0]; e.Ejected || e.Failures != 0 {
			t.Errorf("got %+v", e)
		}
	})
}

// hangUp closes each connection to s at once; there need not be any.
func hangUp(s *script) {
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for {
		select {
		case c := <-s.conns:
			c.Close()
		default:
			return
		}
	}
}

// Servers know the client's time as well, and give up a call that is over it. Who is
// first makes no difference, to the client, to the endpoint or to the mirror.
func TestACallThatIsGivenUpInTheEnd(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow, log := scripted(t), scripted(t), newLog()
		cfg := mirrored(primary.address(), shadow.address(), "            writes: copy\n            timeout: 1h\n            backoff: {failures: 1}")
		cfg = strings.ReplaceAll(cfg, `"]}`, `"], health: {failures: 1, eject: 1h}}`)
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\"}\n"+cfg)
		c := dial(t, addr)
		send(t, c, rpcHead("/shop.Cart/Get", "grpc-timeout: 0n\r\n"))
		hangUp(primary)
		hangUp(shadow)
		got, err := readAnswer(bufio.NewReader(c), "POST")
		if err != nil || got.value("grpc-status") != "4" {
			t.Errorf("got %+v, %v, want status 4", got, err)
		}
		x := log.next(t)
		if o := x.Copies[0]; x.GRPC.Status != traffic.GRPCDeadlineExceeded || o.Error != "no whole answer within the client's grpc-timeout" && o.Reason != traffic.DropClientGone {
			t.Errorf("handed over %+v", x)
		}
		for _, e := range s.Snapshot().Endpoints {
			if e.Ejected || e.Failures != 0 {
				t.Errorf("got %+v", e)
			}
		}
		if m := books(t, s); m.Breaker != "closed" {
			t.Errorf("the breaker is %s", m.Breaker)
		}
	})
}

func TestAnAnswerThatTakesTooLongEndsWithAStatus(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, log := scripted(t), newLog()
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\"}\n"+plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, rpcHead("/shop.Cart/Watch", "grpc-timeout: 300m\r\n")+"0\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk(rpcMessage("hi")))
		got, err := readAnswer(bufio.NewReader(c), "POST")
		if err != nil || got.body != rpcMessage("hi") || !strings.Contains(strings.Join(got.trailer, "|"), "grpc-status: 4") {
			t.Errorf("got %q with %q, %v, want the message and status 4", got.body, got.trailer, err)
		}
		if x := log.next(t); x.GRPC.Status != traffic.GRPCDeadlineExceeded || x.Status != 200 || x.Source != traffic.Primary {
			t.Errorf("handed over %+v", x)
		}
	})
}

func TestRulesMatchCalls(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		backends := map[string]*recorder{}
		var definitions []string
		for _, name := range []string{"exact", "service", "method", "any", "rest"} {
			backends[name] = record(t, fine)
			definitions = append(definitions, fmt.Sprintf("{name: %s, endpoints: [%q]}", name, backends[name].address()))
		}
		_, addr := serve(t, d, `
listeners: [{name: web, address: "127.0.0.1:0"}]
routes:
  - name: shop
    rules:
      - {matches: [{grpc: {method: Get}}], backends: [{name: method}]}
      - {matches: [{grpc: {}}], backends: [{name: any}]}
      - {matches: [{grpc: {service: shop.Cart}}], backends: [{name: service}]}
      - {matches: [{grpc: {service: shop.Cart, method: Get}}], backends: [{name: exact}]}
      - {backends: [{name: rest}]}
backends: [`+strings.Join(definitions, ", ")+"]\n")
		want := map[string]string{"/shop.Cart/Get": "exact", "/shop.Cart/Put": "service", "/other.Cart/Get": "method", "/other.Cart/Put": "any"}
		for path, name := range want {
			ask(t, addr, rpcHead(path, "x-request-id: call"+path+"\r\n")+"0\r\n\r\n", "POST "+path+" HTTP/1.1\r\nHost: h\r\nx-request-id: plain"+path+"\r\nContent-Length: 0\r\n\r\n")
			if len(backends[name].of("call"+path)) != 1 || len(backends["rest"].of("plain"+path)) != 1 {
				t.Errorf("the call %s did not go to %s, or a request that is no call not to the rest", path, name)
			}
		}
	})
}
