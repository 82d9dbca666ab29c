package http3

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestRequestsAreAnsweredAndCopied(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	c := h.client(t, nil)
	for _, row := range []struct{ method, body, want, framing string }{
		{"GET", "", "hello GET 0", "/0"},
		{"POST", "four", "hello POST 4", "/4"},
		{"PUT", "", "hello PUT 0", "/0"},
		{"DELETE", "", "hello DELETE 0", "/0"},
	} {
		var body io.Reader
		if row.body != "" {
			body = strings.NewReader(row.body)
		}
		resp, got := ask(t, c, row.method, h.url+"/open", body)
		if got != row.want || resp.StatusCode != 200 || resp.Proto != "HTTP/3.0" {
			t.Errorf("%s: got %q %d %s, want %q", row.method, got, resp.StatusCode, resp.Proto, row.want)
		}
		if f := resp.Header.Get("x-framing"); f != row.framing && (f != "chunked/-1" || row.method != "PUT") {
			t.Errorf("%s: the primary got a body framed as %q, want %q", row.method, f, row.framing)
		}
		if p := resp.Header.Get("x-proto"); p != "https" {
			t.Errorf("%s: the primary heard of %q, want https", row.method, p)
		}
		if f := resp.Header.Get("x-for"); f != "127.0.0.1" {
			t.Errorf("%s: the primary heard of client %q, want 127.0.0.1", row.method, f)
		}
		if a := resp.Header.Get("alt-svc"); a != "" {
			t.Errorf("%s: an answer over HTTP/3 tells of HTTP/3: %q", row.method, a)
		}
	}
	if m := h.books(t, 4); m.Selected != 4 || m.Completed != 4 {
		t.Errorf("got %d copies selected and %d completed, want 4 and 4", m.Selected, m.Completed)
	}
	snap := h.Snapshot()
	if snap.Clients != 1 || snap.Accepted != 1 {
		t.Errorf("got %d clients of %d, want one connection", snap.Clients, snap.Accepted)
	}
	for _, x := range h.ledger.exchanges() {
		if x.Protocol != "HTTP/3.0" || x.Client.String() != "127.0.0.1" {
			t.Errorf("the access log says %q of %s, want HTTP/3.0 of 127.0.0.1", x.Protocol, x.Client)
		}
	}
}

func TestBodiesArriveByteForByte(t *testing.T) {
	t.Parallel()
	want := long(16 << 20)
	same := make(chan bool, 2)
	h := open(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		same <- err == nil && bytes.Equal(got, want)
		_, _ = w.Write(want)
	}, discard)
	for name, body := range map[string]io.Reader{
		"announced": bytes.NewReader(want),
		"in chunks": io.MultiReader(bytes.NewReader(want)),
	} {
		resp, got := ask(t, h.client(t, nil), "POST", h.url+"/open", body)
		if resp.StatusCode != 200 || got != string(want) {
			t.Errorf("%s: got %d and %d bytes, want 200 and the same %d", name, resp.StatusCode, len(got), len(want))
		}
		if !<-same {
			t.Errorf("%s: the primary got other bytes", name)
		}
	}
	if m := h.books(t, 2); m.Selected != 2 {
		t.Errorf("got %d copies selected, want 2", m.Selected)
	}
}

func TestTrailersTravelBothWays(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body "+r.Trailer.Get("x-checked"))
		w.Header().Set("X-Sum", "42")
	}, discard)
	r, err := http.NewRequest("POST", h.url+"/open", io.MultiReader(strings.NewReader("abc")))
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-Checked": {"yes"}}
	resp, err := h.client(t, nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != "body yes" {
		t.Errorf("got %q, %v, want the body with the request's trailer", got, err)
	}
	if sum := resp.Trailer.Get("x-sum"); sum != "42" {
		t.Errorf("got trailers %v, want x-sum: 42", resp.Trailer)
	}
	// What is captured is what came, as it would by other versions.
	for deadline := time.Now().Add(10 * time.Second); h.Snapshot().Capture.Taken == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was captured: %+v", h.Snapshot().Capture)
		}
	}
	x := h.captured.exchanges()[0]
	defer x.Release()
	asked, told := x.Request, x.Primary.Answer
	if !strings.HasPrefix(string(asked.Head), "POST /open HTTP/1.1\r\n") || string(asked.Body) != "abc" || !asked.Whole || strings.ToLower(string(asked.Trailer)) != "x-checked: yes\r\n" {
		t.Errorf("captured of the request %q %q %q", asked.Head, asked.Body, asked.Trailer)
	}
	if string(told.Body) != "body yes" || !told.Whole || strings.ToLower(string(told.Trailer)) != "x-sum: 42\r\n" || !x.Copies[0].Answer.Whole {
		t.Errorf("captured of the answers %q %q, and %+v", told.Body, told.Trailer, x.Copies[0])
	}
}

func TestAnswersWithoutBodies(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/open/head":
			w.Header().Set("Content-Length", "1234")
		case "/open/204":
			w.WriteHeader(204)
		case "/open/304":
			w.Header().Set("ETag", `"a"`)
			w.WriteHeader(304)
		case "/open/empty":
			w.Header().Set("Content-Length", "0")
		}
	}, discard)
	c := h.client(t, nil)
	for _, row := range []struct {
		method, path string
		status       int
		length       int64
	}{{"HEAD", "/open/head", 200, 1234}, {"GET", "/open/204", 204, 0}, {"GET", "/open/304", 304, -1}, {"GET", "/open/empty", 200, 0}} {
		resp, got := ask(t, c, row.method, h.url+row.path, nil)
		if resp.StatusCode != row.status || got != "" || resp.ContentLength != row.length {
			t.Errorf("%s %s: got %d, length %d and %q, want %d, length %d and nothing", row.method, row.path, resp.StatusCode, resp.ContentLength, got, row.status, row.length)
		}
	}
}

func TestInterimAnswersArrive(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("X-Last", "yes")
		_, _ = io.WriteString(w, "done")
	}, discard)
	var hints []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 {
			hints = append(hints, h.Get("link"))
		}
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/open", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client(t, nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if len(hints) != 1 || hints[0] != "</a.css>" || resp.StatusCode != 200 || resp.Header.Get("link") != "" || resp.Header.Get("x-last") != "yes" {
		t.Errorf("got hints %q and %d %v, want one hint, and 200 without it", hints, resp.StatusCode, resp.Header)
	}
}

func TestClientThatLeavesCutsTheRequestAndItsCopy(t *testing.T) {
	t.Parallel()
	arrived, gone := make(chan string, 2), make(chan string, 2)
	watch := func(who string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			arrived <- who
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				gone <- who
			}
		}
	}
	h := open(t, watch("primary"), watch("shadow"))
	ctx, cancel := context.WithCancel(context.Background())
	body, feed := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, "POST", h.url+"/open", body)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		resp, err := h.client(t, nil).Do(r)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	if _, err := feed.Write(long(100)); err != nil {
		t.Fatal(err)
	}
	<-arrived
	<-arrived
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the client has left", err)
	}
	feed.Close()
	for range 2 {
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("a backend waits for a client that has left")
		}
	}
	if m := h.books(t, 1); m.Dropped[traffic.DropClientGone] != 1 {
		t.Errorf("the copy was booked as %v, want client_gone", m.Dropped)
	}
}

func TestAnswerThatIsCutOffIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]string{"announced": "1000000", "in chunks": ""} {
		h := open(t, func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = w.Write(long(50_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, discard)
		resp, err := h.client(t, nil).Get(h.url + "/open")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		var reset *http3.Error
		if !errors.As(err, &reset) || !reset.Remote || reset.ErrorCode != http3.ErrCodeInternalError {
			t.Errorf("%s: got %v, want a reset of the stream", name, err)
		}
	}
}

func TestEarlyAnswerStopsTheUpload(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(413)
	}, discard)
	c := h.client(t, nil)
	body, feed := io.Pipe()
	stopped := make(chan error, 1)
	go func() {
		part, err := long(1<<16), error(nil)
		for err == nil {
			_, err = feed.Write(part)
		}
		stopped <- err
	}()
	resp, _ := ask(t, c, "POST", h.url+"/open", body)
	if resp.StatusCode != 413 {
		t.Errorf("got %d, want 413", resp.StatusCode)
	}
	body.Close()
	<-stopped
	if resp, _ := ask(t, c, "GET", h.url+"/moved", nil); resp.StatusCode != 302 || resp.Header.Get("location") != "https://elsewhere.example.com"+h.address[strings.LastIndex(h.address, ":"):]+"/moved" {
		t.Errorf("the connection is of no more use: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestHeadsOverTheBoundAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	c := h.client(t, nil)
	for name, row := range map[string]struct {
		target, field string
		want          int
	}{
		"fields":    {"/open", strings.Repeat("x", 70<<10), 431},
		"target":    {"/open?" + strings.Repeat("x", 17<<10), "", 414},
		"all fits":  {"/open?" + strings.Repeat("x", 15<<10), strings.Repeat("x", 40<<10), 200},
		"two words": {"/open%20HTTP/1.1", "", 404},
	} {
		r, err := http.NewRequest("GET", h.url+row.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-long", row.field)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.want {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, row.want)
		}
	}
	counted := map[int]uint64{}
	for _, l := range h.Snapshot().Live {
		for code, n := range l.Codes {
			counted[code] += n
		}
	}
	for _, code := range []int{200, 404, 414, 431} {
		if counted[code] != 1 {
			t.Errorf("%d answers of %d are in the books, want 1", counted[code], code)
		}
	}
}

func TestManyStreamsOfOneConnection(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	c := h.client(t, nil)
	ask(t, c, "GET", h.url+"/open", nil) // the handshake
	var all sync.WaitGroup
	for range 300 { // more than may be open at once
		all.Go(func() {
			resp, err := c.Post(h.url+"/open", "", strings.NewReader("four"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "hello POST 4" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	all.Wait()
	if m := h.books(t, 301); m.Selected != 301 {
		t.Errorf("got %d copies selected, want 301", m.Selected)
	}
	if snap := h.Snapshot(); snap.Clients != 1 || snap.Accepted != 1 {
		t.Errorf("got %d clients of %d, want one connection", snap.Clients, snap.Accepted)
	}
}

func TestSourcesAndIdentitiesMatch(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	if resp, _ := ask(t, h.client(t, nil), "GET", h.url+"/here", nil); resp.StatusCode != 200 {
		t.Errorf("sources: got %d, want 200", resp.StatusCode)
	}
	if resp, _ := ask(t, h.client(t, nil), "GET", h.url+"/members", nil); resp.StatusCode != 404 {
		t.Errorf("nobody: got %d, want 404", resp.StatusCode)
	}
	cook := h.authority.Leaf(t, "spiffe://house/cook").Pair
	c := h.client(t, func(c *tls.Config) { c.Certificates = []tls.Certificate{cook} })
	if resp, _ := ask(t, c, "GET", h.url+"/members", nil); resp.StatusCode != 200 {
		t.Errorf("cook: got %d, want 200", resp.StatusCode)
	}
}
