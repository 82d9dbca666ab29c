package replay

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// overheard connects to a server that keeps what it is told, answers so and
// hangs up.
func overheard(answer string, told chan<- string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r := bufio.NewReader(theirs)
			var head strings.Builder
			length := 0
			for {
				line, err := r.ReadString('\n')
				head.WriteString(line)
				fmt.Sscanf(line, "Content-Length: %d", &length)
				if err != nil || line == "\r\n" {
					break
				}
			}
			body := make([]byte, length)
			io.ReadFull(r, body)
			io.WriteString(theirs, answer)
			told <- head.String() + string(body)
		}()
		return ours, nil
	}
}

func TestARequestIsSentAsItWasRecorded(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, test := range []struct {
		name    string
		head    string
		body    string
		options TargetOptions
		want    string
	}{
		{
			name: "fields stay, those of the connection do not",
			head: "GET /a?b=c&d HTTP/1.1\r\nHost: shop.example.com\r\nX-B: 1\r\nx-b:  2 \r\nConnection: keep-alive, x-hop\r\nX-Hop: gone\r\n" +
				"Keep-Alive: 5\r\nTE: gzip\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\nExpect: 100-continue\r\nAccept-Encoding: br\r\n",
			want: "GET /a?b=c&d HTTP/1.1\r\nHost: shop.example.com\r\nAccept-Encoding: br\r\nX-B: 1\r\nX-B: 2\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name: "what redaction left of an encoding",
			head: "POST /form HTTP/1.1\nHost: h\ncontent-unpacked: gzip\n", body: "a=b",
			want: "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-Understudy-Copy: replay\r\n\r\na=b",
		},
		{
			name: "a body has its length",
			head: "POST /form HTTP/1.1\nHost: h\nUser-Agent: test\n", body: "a=b",
			want: "POST /form HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nContent-Length: 3\r\nX-Understudy-Copy: replay\r\n\r\na=b",
		},
		{
			name: "odd paths are not made neat",
			head: "GET /a/../b//c;d/%zz/%41|é HTTP/1.1\r\nHost: h\r\n",
			want: "GET /a/../b//c;d/%zz/%41|é HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name: "nor is an empty query lost",
			head: "GET /a? HTTP/1.1\r\nHost: h\r\n",
			want: "GET /a? HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name: "two slashes are no host",
			head: "GET //evil.example.com/a HTTP/1.1\r\nHost: h\r\n",
			want: "GET //evil.example.com/a HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name: "nor is an absolute form",
			head: "GET http://evil.example.com:81/a?b HTTP/1.1\r\nHost: h\r\n",
			want: "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name: "the whole server",
			head: "OPTIONS * HTTP/1.1\r\nHost: h\r\n",
			want: "OPTIONS * HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name:    "the target's own host",
			head:    "GET / HTTP/1.1\r\nHost: shop.example.com\r\n",
			options: TargetOptions{OwnHost: true},
			want:    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
		{
			name:    "headers are set and left out",
			head:    "GET / HTTP/1.1\r\nHost: h\r\nauthorization: token\r\nauthorization: other\r\ncookie: a=b\r\nx-understudy-copy: shop\r\n",
			options: TargetOptions{Headers: []Header{{"Authorization", "Bearer new"}, {"Cookie", ""}, {"X-New", "1"}}},
			want:    "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer new\r\nX-New: 1\r\nX-Understudy-Copy: replay\r\n\r\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 1)
			test.options.Dial = overheard(ok, told)
			to := target(t, test.options)
			defer to.Close()
			o := to.send(t.Context(), &traffic.Message{Head: []byte(test.head), Body: []byte(test.body)}, time.Now())
			if o.Fate != traffic.Completed || o.Status != 200 {
				t.Fatalf("outcome %+v", o)
			}
			if diff := cmp.Diff(test.want, <-told); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAnswerIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	to := target(t, TargetOptions{Body: 10, Dial: overheard("HTTP/1.1 404 Nope\r\nX-B: 2\r\nContent-Length: 12\r\nx-a: 1\r\nContent-Encoding: gzip\r\n\r\n0123456789ab", make(chan string, 1))})
	defer to.Close()
	o := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
	want := &traffic.Message{
		Head: []byte("HTTP/1.1 404 Nope\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\nX-A: 1\r\nX-B: 2\r\n"),
		Body: []byte("0123456789"), Length: 12, Hash: xxhash.Sum64String("0123456789ab"), Whole: true,
	}
	if diff := cmp.Diff(want, o.Answer); diff != "" || o.Status != 404 || o.Bytes != 12 {
		t.Errorf("status %d, %d bytes, answer (-want +got):\n%s", o.Status, o.Bytes, diff)
	}
}

func TestWhereAnAnswerEndsItsLimit(t *testing.T) {
	t.Parallel()
	to := target(t, TargetOptions{Body: 10, Dial: overheard("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", make(chan string, 1))})
	defer to.Close()
	o := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
	if o.Answer.Cut() || o.Answer.Hash != 0 || string(o.Answer.Body) != "0123456789" {
		t.Errorf("answer %+v", o.Answer)
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	t.Parallel()
	told := make(chan string, 2)
	to := target(t, TargetOptions{Dial: overheard("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/next\r\nContent-Length: 0\r\n\r\n", told)})
	defer to.Close()
	o := to.send(t.Context(), &traffic.Message{Head: []byte("GET /first HTTP/1.1\r\n")}, time.Now())
	<-told
	if o.Status != 302 || len(told) != 0 {
		t.Errorf("status %d; asked again: %d", o.Status, len(told))
	}
}

func TestTimesAreSinceARequestWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(30 * ms)
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			time.Sleep(50 * ms)
			io.WriteString(w, "late")
		})
		to := target(t, TargetOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(7 * ms)
			return h.dial(ctx, network, address)
		}})
		defer to.Close()
		due := time.Now()
		time.Sleep(100 * ms)
		first := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, due)
		got := []time.Duration{first.Connect, first.Start, first.First, first.End}
		if want := []time.Duration{7 * ms, 107 * ms, 137 * ms, 187 * ms}; !slices.Equal(got, want) {
			t.Errorf("connect, start, first, end: %v, want %v", got, want)
		}
		again := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
		got = []time.Duration{again.Connect, again.Start, again.First, again.End}
		if want := []time.Duration{0, 0, 30 * ms, 80 * ms}; !slices.Equal(got, want) {
			t.Errorf("on the same connection: %v, want %v", got, want)
		}
	})
}

func TestWhatGoesWrongHasAReason(t *testing.T) {
	t.Parallel()
	head := []byte("GET / HTTP/1.1\r\n")
	raw := func(answer string) func(context.Context, string, string) (net.Conn, error) {
		return overheard(answer, make(chan string, 1))
	}
	for _, test := range []struct {
		name   string
		dial   func(context.Context, string, string) (net.Conn, error)
		reason traffic.Reason
		status int
	}{
		{"refused", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: io.EOF}
		}, traffic.FailConnect, 0},
		{"hangs up", raw(""), traffic.FailReset, 0},
		{"hangs up in the head", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), traffic.FailReset, 0},
		{"hangs up in the body", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), traffic.FailReset, 200},
		{"is no HTTP", raw("hello, who is there?\r\n\r\n"), traffic.FailProtocol, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			to := target(t, TargetOptions{Dial: test.dial})
			defer to.Close()
			o := to.send(t.Context(), &traffic.Message{Head: head}, time.Now())
			if o.Fate != traffic.Failed || o.Reason != test.reason || o.Status != test.status || o.Source != traffic.Shadow || o.Error == "" {
				t.Errorf("outcome %+v", o)
			}
			if o.Answer != nil && o.Answer.Whole {
				t.Error("the answer is said to be whole")
			}
		})
	}
}

func TestATargetThatDoesNotAnswerInTimeFails(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"} {
		synctest.Test(t, func(t *testing.T) {
			to := target(t, TargetOptions{Timeout: 2 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					r := bufio.NewReader(theirs)
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					io.WriteString(theirs, answer)
					io.Copy(io.Discard, r) // until the other side has enough
				}()
				return ours, nil
			}})
			defer to.Close()
			o := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
			if o.Fate != traffic.Failed || o.Reason != traffic.FailTimeout || o.End != 2*time.Second {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestHTTP2InClearCarriesCalls(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Write(append(body, r.Proto+" "+r.Host+r.URL.Path+" "+r.Header.Get("Te")...))
		w.Header().Set("Grpc-Status", "5")
		w.Header().Set("Grpc-Message", "no%20such thing")
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	to := target(t, TargetOptions{URL: server.URL, HTTP2: true})
	defer to.Close()
	o := to.send(t.Context(), &traffic.Message{
		Head: []byte("POST /shop.Shop/Find HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nContent-Type: application/grpc\r\n"), Body: []byte("abc "),
	}, time.Now())
	if string(o.Answer.Body) != "abc HTTP/2.0 shop/shop.Shop/Find trailers" || !bytes.HasPrefix(o.Answer.Head, []byte("HTTP/1.1 200 OK\r\n")) {
		t.Errorf("answer %s%s", o.Answer.Head, o.Answer.Body)
	}
	if want := (traffic.GRPCCall{Status: "NOT_FOUND", Message: "no such thing"}); o.GRPC != want {
		t.Errorf("the call ended with %v", o.GRPC)
	}
	if want := "Grpc-Message: no%20such thing\r\nGrpc-Status: 5\r\n"; string(o.Answer.Trailer) != want {
		t.Errorf("trailer %q", o.Answer.Trailer)
	}
}
